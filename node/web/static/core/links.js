/** Links: one word that opens a deposit, or the newest deposit of a name (docs/spec/storage.md section 8). */

import { digest } from "./blake3.js";
import { concat } from "./bytes.js";
import { isPublicKey } from "./curve.js";
import { LinkError } from "./errors.js";
import { payloadOf, wordOf } from "./words.js";

export const SCHEME = "archipel:";
const ACCOUNT_SCHEME = "archipel-key:";
const MAX_TEXT = 4096;
const VERSION = 1;
const KINDS = { 1: "read", 2: "verify", 3: "name", 4: "sealed" };
const NUMBERS = { read: 1, verify: 2, name: 3 };
const HEAD_BYTES = 66;
const MIN_BOX_BYTES = 114, MAX_BOX_BYTES = 267;

/**
 * @typedef {object} Link
 * @property {"read"|"verify"|"name"|"sealed"} kind
 * @property {Uint8Array} [root] id of the root segment (read, verify)
 * @property {Uint8Array} [key] read key or verify key (read, verify), 32 bytes
 * @property {Uint8Array} [name] public key of a name (name), 32 bytes
 * @property {Uint8Array} [readKey] a name's read key (name), 32 bytes
 * @property {Uint8Array} [box] what only one account's key opens (sealed)
 * @property {string[]} [hints] addresses of nodes to join by, "host:port"
 * @property {Uint8Array} [hintBytes] the same, packed
 */

/**
 * Reads a link as a person typed or pasted it: alone, after `archipel:`, or after a gateway's `#`.
 *
 * @param {string} text
 * @returns {Link}
 * @throws {LinkError} mistyped, cut short, or of a version or kind not known here; the text never repeats it
 */
export function parseLink(text) {
  if (text.length > MAX_TEXT) throw new LinkError(`a link has at most ${MAX_TEXT} characters, got ${text.length}`);
  const stripped = text.trim().replace(/^https?:\/\/[^#]*#/i, "");
  return parsePayload(payloadOf("link", SCHEME, stripped, "link"));
}

function parsePayload(payload) {
  if (payload.length < HEAD_BYTES) throw new LinkError("the link is cut short, or is not an archipel link");
  const [version, number] = payload;
  if (version !== VERSION) throw new LinkError(`the link is of version ${version}: a newer archipel may open it`);
  const kind = KINDS[number];
  if (kind === undefined) throw new LinkError(`the link is of kind ${number}: a newer archipel may open it`);
  if (kind === "sealed") return { kind, box: sealedBox(payload.subarray(2)) };
  const first = payload.subarray(2, 34), second = payload.subarray(34, HEAD_BYTES);
  const hintBytes = payload.subarray(HEAD_BYTES);
  const hints = readHints(hintBytes);
  if (kind !== "name") return { kind, root: first, key: second, hints, hintBytes };
  if (!isPublicKey(first)) throw new LinkError("the link leads to no name there can be");
  return { kind, name: first, readKey: second, hints, hintBytes };
}

function sealedBox(box) {
  if (box.length < MIN_BOX_BYTES || box.length > MAX_BOX_BYTES) {
    throw new LinkError(`a sealed link holds ${MIN_BOX_BYTES} to ${MAX_BOX_BYTES} bytes, got ${box.length}`);
  }
  return box;
}

/** @param {Link} link  @returns {string} the link as one word, which is as secret as what it opens */
export function formatLink(link) {
  if (link.kind === "sealed") return SCHEME + wordOf("link", concat(Uint8Array.of(VERSION, 4), link.box));
  const [first, second] = link.kind === "name" ? [link.name, link.readKey] : [link.root, link.key];
  const head = Uint8Array.of(VERSION, NUMBERS[link.kind]);
  return SCHEME + wordOf("link", concat(head, first, second, link.hintBytes ?? new Uint8Array()));
}

/** @param {Link} link a read or verify link  @returns {Link} the link that checks the same deposit and reads nothing */
export function verifyLink(link) {
  return link.kind === "verify" ? link : { ...link, kind: "verify", key: digest("verify", link.key) };
}

/**
 * Reads the key of an account, to which links are sealed.
 *
 * @param {string} text
 * @returns {Uint8Array} 32 bytes
 * @throws {LinkError} mistyped, cut short, or no key there can be
 */
export function parseAccountKey(text) {
  if (text.length > MAX_TEXT) throw new LinkError(`an account key has at most ${MAX_TEXT} characters`);
  const payload = payloadOf("account key", ACCOUNT_SCHEME, text.trim(), "account key");
  if (payload[0] !== VERSION || payload.length !== 33 || !isPublicKey(payload.subarray(1))) {
    throw new LinkError("this is no account key that is known here");
  }
  return payload.subarray(1);
}

function readHints(data) {
  const hints = [];
  let at = 1;
  while (at < data.length && hints.length < 8) {
    const size = data[at++];
    if (at + size > data.length) throw new LinkError("the link holds an address that is cut short");
    hints.push(address(data.subarray(at, at + size)));
    at += size;
  }
  if (data.length && (at !== data.length || !hints.length || hints.length !== data[0])) {
    throw new LinkError("the addresses to join by are cut short, or not 1 to 8");
  }
  return hints;
}

function address(data) {
  const port = data.length >= 2 ? data.at(-2) * 256 + data.at(-1) : 0;
  const mapped = data.length === 18 && data.subarray(0, 12).every((byte, at) => byte === (at < 10 ? 0 : 0xff));
  if ((data.length !== 6 && data.length !== 18) || !port || mapped) {
    throw new LinkError("the link holds a malformed address to join by");
  }
  return data.length === 6 ? `${data.subarray(0, 4).join(".")}:${port}` : `[${ipv6(data)}]:${port}`;
}

/** RFC 5952: the longest run of zeros, of two groups or more, is left out. */
function ipv6(data) {
  const groups = Array.from({ length: 8 }, (_, at) => (data[2 * at] * 256 + data[2 * at + 1]).toString(16));
  const runs = groups.join(":").match(/\b0(:0)+\b/g) ?? [];
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), "");
  return longest ? shortened(groups.join(":"), longest) : groups.join(":");
}

function shortened(text, run) {
  const at = text.search(new RegExp(`\\b${run}\\b`));
  return `${text.slice(0, at).replace(/:$/, "")}::${text.slice(at + run.length).replace(/^:/, "")}`;
}
