/** Bytes: joining, comparing, and their text forms. */

const encoder = new TextEncoder();

/**
 * @param {...Uint8Array} parts
 * @returns {Uint8Array} all of them, one after another
 */
export function concat(...parts) {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Whether two byte strings are the same. */
export function equal(a, b) {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** @returns {string} lower-case hexadecimal digits */
export function hex(data) {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @returns {Uint8Array} what `hex` wrote; throws a TypeError at anything else */
export function unhex(text) {
  if (text.length % 2 || /[^0-9a-f]/i.test(text)) throw new TypeError("not hexadecimal digits");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** @returns {Uint8Array} the text in UTF-8 */
export function utf8(text) {
  return encoder.encode(text);
}

/** @returns {string} one character for each byte: compares, splits and keeps as bytes do, and takes least memory */
export function byteString(data) {
  let text = "";
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
  return text;
}

/** @returns {Uint8Array} inverse of `byteString` */
export function bytesOf(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** @returns {Uint8Array} `size` bytes of a whole number, big-endian */
export function bigEndian(value, size) {
  const out = new Uint8Array(size);
  let left = BigInt(value);
  for (let at = size - 1; at >= 0; at--, left >>= 8n) out[at] = Number(left & 0xffn);
  return out;
}
