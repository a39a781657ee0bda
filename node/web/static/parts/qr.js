// QR codes (ISO/IEC 18004): byte mode, versions 1 to 40, error correction levels L and M.

const LEVELS = {
  L: {
    bits: 1, // in the format information
    parity: [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28, 28, 28, 30, 30, 26, 28, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30],
    blocks: [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8, 8, 9, 9, 10, 12, 12, 12, 13, 14, 15, 16, 17, 18, 19, 19, 20, 21, 22, 24, 25],
  },
  M: {
    bits: 0,
    parity: [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28],
    blocks: [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16, 17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31, 33, 35, 37, 38, 40, 43, 45, 47, 49],
  },
};
const MASKS = [
  (x, y) => (x + y) % 2 === 0,
  (x, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/**
 * The code of a text, in the smallest version that holds it.
 * @param {string} text
 * @param {"L"|"M"} level
 * @param {number|null} mask 0 to 7; null: the one with the lowest penalty
 * @returns {boolean[][]} rows of modules, true is dark; without the quiet zone of four modules around
 * @throws {RangeError} it is too long for a QR code
 */
export function qrCode(text, level = "M", mask = null) {
  const bytes = new TextEncoder().encode(text);
  const version = smallest(bytes.length, level);
  const drawn = frame(version);
  place(drawn, interleaved(codewords(bytes, version, level), version, level));
  const tries = mask === null ? MASKS.map((_, index) => index) : [mask];
  const candidates = tries.map((index) => masked(drawn, index, level));
  const penalties = candidates.map(penalty);
  return candidates[penalties.indexOf(Math.min(...penalties))];
}

function smallest(length, level) {
  for (let version = 1; version <= 40; version += 1) {
    if (4 + (version < 10 ? 8 : 16) + 8 * length <= 8 * dataWords(version, level)) return version;
  }
  throw new RangeError(`${length} bytes are too many for a QR code`);
}

const sizeOf = (version) => 17 + 4 * version;

/** Modules that carry data or parity, as whole bytes. */
function allWords(version) {
  let modules = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const count = Math.floor(version / 7) + 2;
    modules -= (25 * count - 10) * count - 55;
    if (version >= 7) modules -= 36;
  }
  return Math.floor(modules / 8);
}

function dataWords(version, level) {
  const { parity, blocks } = LEVELS[level];
  return allWords(version) - parity[version - 1] * blocks[version - 1];
}

function codewords(bytes, version, level) {
  const capacity = dataWords(version, level);
  const bits = [];
  const push = (value, length) => { for (let bit = length - 1; bit >= 0; bit -= 1) bits.push((value >> bit) & 1); };
  push(4, 4); // byte mode
  push(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) push(byte, 8);
  push(0, Math.min(4, 8 * capacity - bits.length));
  push(0, (8 - (bits.length % 8)) % 8);
  const words = [];
  for (let at = 0; at < bits.length; at += 8) words.push(bits.slice(at, at + 8).reduce((word, bit) => 2 * word + bit, 0));
  for (let pad = 0xec; words.length < capacity; pad ^= 0xfd) words.push(pad);
  return words;
}

/** Data in blocks with their parity, a byte of each in turn. */
function interleaved(words, version, level) {
  const [parity, count] = [LEVELS[level].parity[version - 1], LEVELS[level].blocks[version - 1]];
  const short = Math.floor(words.length / count);
  const divisor = generator(parity);
  const blocks = [];
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    const length = short + (index >= count - (words.length % count) ? 1 : 0);
    const data = words.slice(at, at + length);
    blocks.push({ data, parity: remainder(data, divisor) });
    at += length;
  }
  const result = [];
  for (let index = 0; index <= short; index += 1) for (const { data } of blocks) if (index < data.length) result.push(data[index]);
  for (let index = 0; index < parity; index += 1) for (const block of blocks) result.push(block.parity[index]);
  return result;
}

/** Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. */
function times(a, b) {
  let product = 0;
  for (let bit = 7; bit >= 0; bit -= 1) product = (product << 1) ^ (product & 0x80 ? 0x11d : 0) ^ ((b >> bit) & 1 ? a : 0);
  return product & 0xff;
}

/** Coefficients of (x - 1)(x - 2)(x - 4)..., without the leading one. */
function generator(degree) {
  const result = [...new Array(degree - 1).fill(0), 1];
  let root = 1;
  for (let step = 0; step < degree; step += 1) {
    for (let index = 0; index < degree; index += 1) result[index] = times(result[index], root) ^ (result[index + 1] ?? 0);
    root = times(root, 2);
  }
  return result;
}

function remainder(data, divisor) {
  const result = new Array(divisor.length).fill(0);
  for (const byte of data) {
    const factor = byte ^ result.shift();
    result.push(0);
    divisor.forEach((coefficient, index) => { result[index] ^= times(coefficient, factor); });
  }
  return result;
}

/** A symbol with all that does not depend on what it says; null: not yet filled. */
function frame(version) {
  const size = sizeOf(version);
  const modules = Array.from({ length: size }, () => new Array(size).fill(null));
  const fixed = Array.from({ length: size }, () => new Array(size).fill(false));
  const set = (x, y, dark) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    modules[y][x] = dark;
    fixed[y][x] = true;
  };
  for (let index = 0; index < size; index += 1) {
    set(6, index, index % 2 === 0);
    set(index, 6, index % 2 === 0);
  }
  const square = (cx, cy, radius, dark) => {
    for (let y = -radius; y <= radius; y += 1) for (let x = -radius; x <= radius; x += 1) set(cx + x, cy + y, dark(Math.max(Math.abs(x), Math.abs(y))));
  };
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(x, y, 4, (ring) => ring !== 2 && ring !== 4);
  const middles = alignment(version);
  const last = middles.length - 1;
  middles.forEach((x, column) => middles.forEach((y, row) => {
    const finder = (column === 0 && row === 0) || (column === 0 && row === last) || (column === last && row === 0);
    if (!finder) square(x, y, 2, (ring) => ring !== 1);
  }));
  const symbol = { version, size, modules, fixed, set };
  writeFormat(symbol, 0, 0); // reserves the modules
  if (version >= 7) writeVersion(symbol);
  return symbol;
}

function alignment(version) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = Math.floor((version * 8 + count * 3 + 5) / (count * 4 - 4)) * 2;
  const middles = Array.from({ length: count - 1 }, (_, index) => sizeOf(version) - 7 - index * step);
  return [6, ...middles.reverse()];
}

function bch(value, divisor, bits) {
  let rest = value;
  for (let step = 0; step < bits; step += 1) rest = (rest << 1) ^ ((rest >> (bits - 1)) * divisor);
  return (value << bits) | rest;
}

function writeFormat({ set, size }, levelBits, mask) {
  const bits = bch((levelBits << 3) | mask, 0x537, 10) ^ 0x5412;
  const bit = (index) => ((bits >> index) & 1) === 1;
  for (let index = 0; index <= 5; index += 1) set(8, index, bit(index));
  set(8, 7, bit(6));
  set(8, 8, bit(7));
  set(7, 8, bit(8));
  for (let index = 9; index < 15; index += 1) set(14 - index, 8, bit(index));
  for (let index = 0; index < 8; index += 1) set(size - 1 - index, 8, bit(index));
  for (let index = 8; index < 15; index += 1) set(8, size - 15 + index, bit(index));
  set(8, size - 8, true);
}

function writeVersion({ version, set, size }) {
  const bits = bch(version, 0x1f25, 12);
  for (let index = 0; index < 18; index += 1) {
    const dark = ((bits >> index) & 1) === 1;
    const [far, near] = [size - 11 + (index % 3), Math.floor(index / 3)];
    set(far, near, dark);
    set(near, far, dark);
  }
}

/** Bits go up and down in pairs of columns, from the right. */
function place({ size, modules, fixed }, words) {
  let index = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step += 1) {
      const y = ((right + 1) & 2) === 0 ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (fixed[y][x]) continue;
        modules[y][x] = index < words.length * 8 && ((words[index >> 3] >> (7 - (index & 7))) & 1) === 1;
        index += 1;
      }
    }
  }
}

function masked({ size, modules, fixed }, mask, level) {
  const rows = modules.map((row, y) => row.map((dark, x) => (fixed[y][x] ? dark : dark !== MASKS[mask](x, y))));
  const set = (x, y, dark) => { rows[y][x] = dark; };
  writeFormat({ set, size }, LEVELS[level].bits, mask);
  return rows;
}

function penalty(rows) {
  const size = rows.length;
  const columns = rows.map((_, x) => rows.map((row) => row[x]));
  let points = 0;
  for (const line of [...rows, ...columns]) points += runs(line) + finders(line);
  for (let y = 1; y < size; y += 1) {
    for (let x = 1; x < size; x += 1) if (new Set([rows[y][x], rows[y - 1][x], rows[y][x - 1], rows[y - 1][x - 1]]).size === 1) points += 3;
  }
  const dark = rows.flat().filter(Boolean).length;
  return points + 10 * Math.floor(Math.abs((dark * 100) / (size * size) - 50) / 5);
}

function runs(line) {
  let points = 0;
  for (let at = 0; at < line.length;) {
    let end = at;
    while (end < line.length && line[end] === line[at]) end += 1;
    if (end - at >= 5) points += end - at - 2;
    at = end;
  }
  return points;
}

/** Patterns that look like a corner's: 1011101 with four light modules on a side. */
function finders(line) {
  const text = line.map(Number).join("");
  let points = 0;
  for (const pattern of ["10111010000", "00001011101"]) {
    for (let at = text.indexOf(pattern); at >= 0; at = text.indexOf(pattern, at + 1)) points += 40;
  }
  return points;
}
