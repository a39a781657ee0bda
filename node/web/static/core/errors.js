/** What can go wrong, split by what a user can do about it. The text of each says the cause. */

/** Base of all errors of the core; nothing else comes out of it but what aborts. */
export class CoreError extends Error {
  get name() {
    return this.constructor.label;
  }
}

/** The link was mistyped, cut short, or is of a kind that cannot be opened here. */
export class LinkError extends CoreError {
  static label = "LinkError";
}

/** Too few chunks can be reached, or there is no such file in the deposit. */
export class NotFound extends CoreError {
  static label = "NotFound";
}

/** Bytes are not what the link promises. Asking the same node again is of no use. */
export class Integrity extends CoreError {
  static label = "Integrity";
}

/** Bytes break their format. */
export class Malformed extends Integrity {
  static label = "Malformed";
}

/** A signature was not made by the key that is named. */
export class BadSignature extends Malformed {
  static label = "BadSignature";
}

/** What is signed is meant for another network. */
export class WrongNetwork extends Malformed {
  static label = "WrongNetwork";
}

/** The node cannot be reached, or is busy: later it may work. `retrySeconds`: when it says to ask again, or null. */
export class Network extends CoreError {
  static label = "Network";

  constructor(message, { retrySeconds = null, ...options } = {}) {
    super(message, options);
    this.retrySeconds = retrySeconds;
  }
}

/** The node refuses: limits, its policy, its operator's denylist. */
export class Refused extends CoreError {
  static label = "Refused";
}

/** This browser, or this page, cannot do it. */
export class Unsupported extends CoreError {
  static label = "Unsupported";
}

/** A file to be published cannot be read, or changed meanwhile. */
export class SourceError extends CoreError {
  static label = "SourceError";
}

const CLASSES = [
  LinkError, NotFound, Integrity, Malformed, BadSignature, WrongNetwork, Network, Refused, Unsupported, SourceError,
];

/** An error as a worker can post it. */
export function packed(error) {
  return { label: error.name, message: error.message, stack: error.stack };
}

/** Inverse of `packed`; what is not of the core is a plain Error, and a bug. */
export function unpacked({ label, message, stack }) {
  const found = CLASSES.find((one) => one.label === label);
  const error = found === undefined ? new Error(`${label}: ${message}`) : new found(message);
  error.stack = stack;
  return error;
}

/**
 * What an HTTP status other than 2xx means.
 *
 * @param {number} status of the answer
 * @param {string} text what the node says about it
 * @param {number|null} retrySeconds its Retry-After
 */
export function errorOfStatus(status, text, retrySeconds = null) {
  if (status === 404) return new NotFound(text);
  if (status === 502) return new Integrity(text);
  if (status === 408 || status === 429 || status >= 500) return new Network(text, { retrySeconds });
  return new Refused(text);
}
