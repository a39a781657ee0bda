/**
 * Parity of a row of blocks: Reed-Solomon over GF(2^8), Cauchy matrix (docs/spec/storage.md section 3).
 *
 * Encoding only: what is lost, a node rebuilds. Four parity bytes are made at once, as one word: 4 tables in one.
 */

const POLYNOMIAL = 0x11d;
const GROUP = 4;
const tables = new Map();

/** The product of two elements of GF(2^8). */
export function multiply(a, b) {
  let product = 0;
  for (let left = b, shifted = a; left; left >>= 1, shifted = shifted & 0x80 ? (shifted << 1) ^ POLYNOMIAL : shifted << 1) {
    if (left & 1) product ^= shifted;
  }
  return product;
}

function inverse(a) {
  let found = 1;
  while (multiply(a, found) !== 1) found++;
  return found;
}

/** For each byte of data column `column`, what it adds to parity rows `first` to `first + 3`, a byte of a word each. */
function table(first, column) {
  const name = first * 32 + column;
  let found = tables.get(name);
  if (found === undefined) {
    found = new Uint32Array(256);
    for (let row = 0; row < GROUP; row++) {
      const factor = inverse((first + row) ^ column);
      for (let byte = 0; byte < 256; byte++) found[byte] |= multiply(factor, byte) << (8 * row);
    }
    tables.set(name, found);
  }
  return found;
}

/**
 * @param {Uint8Array[]} cells the k data cells of a row; where they are shorter than `size` they count as zeros
 * @param {number} n chunks in all, k to 32
 * @param {number} size bytes of a parity cell
 * @returns {Uint8Array[]} the n - k parity cells
 */
export function parityCells(cells, n, size) {
  const k = cells.length;
  const parity = [];
  const sums = new Uint32Array(size);
  for (let first = k; first < n; first += GROUP) {
    sums.fill(0);
    cells.forEach((cell, column) => add(sums, table(first, column), cell));
    for (let row = first; row < Math.min(first + GROUP, n); row++) parity.push(byteOf(sums, 8 * (row - first)));
  }
  return parity;
}

function add(sums, factors, cell) {
  for (let at = 0; at < cell.length; at++) sums[at] ^= factors[cell[at]];
}

function byteOf(sums, shift) {
  const out = new Uint8Array(sums.length);
  for (let at = 0; at < out.length; at++) out[at] = sums[at] >>> shift;
  return out;
}
