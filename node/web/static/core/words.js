/** Bytes as one word with a checksum, in base32 (docs/spec/storage.md section 8). */

import { digest } from "./blake3.js";
import { concat, equal } from "./bytes.js";
import { LinkError } from "./errors.js";

const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";
const CHECKSUM_BYTES = 4;

function base32(data) {
  let word = "", bits = 0, value = 0;
  for (const byte of data) {
    value = ((value << 8) | byte) & 0xffff;
    for (bits += 8; bits >= 5; ) word += LETTERS[(value >>> (bits -= 5)) & 31];
  }
  return bits ? word + LETTERS[(value << (5 - bits)) & 31] : word;
}

/** @returns {string} `payload` and its checksum, lower case; `label` says what the word is for */
export function wordOf(label, payload) {
  return base32(concat(payload, checksum(label, payload)));
}

/**
 * The payload of a word in either case, alone or after `scheme`.
 *
 * @param {string} what it is called in the error
 * @throws {LinkError} mistyped or cut short; the text never repeats it
 */
export function payloadOf(label, scheme, text, what) {
  const word = (text.slice(0, scheme.length).toLowerCase() === scheme ? text.slice(scheme.length) : text).toLowerCase();
  if (!/^[a-z2-7]*$/.test(word)) {
    throw new LinkError(`the ${what} is mistyped or cut short: it holds other than a to z and 2 to 7`);
  }
  const data = new Uint8Array(Math.floor((word.length * 5) / 8));
  let bits = 0, value = 0, at = 0;
  for (const letter of word) {
    value = ((value << 5) | LETTERS.indexOf(letter)) & 0xffff;
    bits += 5;
    if (bits >= 8) data[at++] = (value >>> (bits -= 8)) & 0xff;
  }
  if (base32(data) !== word) throw new LinkError(`the ${what} has a mistyped character at its end, or is cut short`);
  const payload = data.subarray(0, -CHECKSUM_BYTES);
  if (!equal(checksum(label, payload), data.subarray(-CHECKSUM_BYTES))) {
    throw new LinkError(`the ${what} is mistyped or cut short: its checksum does not match`);
  }
  return payload;
}

function checksum(label, payload) {
  return digest(label, payload).subarray(0, CHECKSUM_BYTES);
}
