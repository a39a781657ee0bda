/** The layout and the public description of a segment (docs/spec/storage.md sections 1, 2 and 4). */

import { digest } from "./blake3.js";
import { concat, equal } from "./bytes.js";
import { Integrity, Malformed } from "./errors.js";
import { bin, decode, encode, struct, uint } from "./msgpack.js";

export const BLOCK_BYTES = 131072;
export const TAG_BYTES = 16;
export const SEALED_BLOCK_BYTES = BLOCK_BYTES + TAG_BYTES;
export const SEGMENT_BYTES = 128 * BLOCK_BYTES;
export const HASH_BYTES = 32;
const MAX_K = 16, MAX_N = 32;
const MAX_DESCRIPTOR_BYTES = 2048;
/** The longest head of a sealed segment as a node hands it out: lengths, descriptor, hashes of 128 blocks. */
export const MAX_HEAD_BYTES = 2 + MAX_DESCRIPTOR_BYTES + 128 * HASH_BYTES;
/** The longest sealed segment as a node hands it out. */
export const MAX_SEALED_BYTES = MAX_HEAD_BYTES + 128 * SEALED_BLOCK_BYTES;

/** Where the blocks of a segment lie: `length` bytes of plaintext in `k` data columns, n - k of parity. */
export class Layout {
  constructor(length, k, n) {
    this.length = length;
    this.k = k;
    this.n = n;
    this.blocks = Math.ceil(length / BLOCK_BYTES);
    this.rows = Math.ceil(this.blocks / k);
  }

  /** What is wrong with these numbers, or null. */
  get problem() {
    const { length, k, n } = this;
    if (!(length >= 1 && length <= SEGMENT_BYTES)) return `a segment has 1 to ${SEGMENT_BYTES} bytes, got ${length}`;
    if (!(k >= 1 && k <= MAX_K && n >= k && n <= MAX_N)) return `no segment has ${k} of ${n} chunks`;
    return k === Math.ceil(this.blocks / this.rows) ? null : "a column is empty";
  }

  /** All sealed blocks together. */
  get sealedBytes() {
    return this.length + this.blocks * TAG_BYTES;
  }

  /** Blocks of column `index`, 0 <= index < n. */
  columnBlocks(index) {
    return index >= this.k ? this.rows : Math.min((index + 1) * this.rows, this.blocks) - index * this.rows;
  }

  /** Sealed bytes of block `block`, 0 <= block < blocks. */
  blockBytes(block) {
    return block === this.blocks - 1 ? this.length - block * BLOCK_BYTES + TAG_BYTES : SEALED_BLOCK_BYTES;
  }

  /** Sealed bytes of the whole column `index`. */
  columnBytes(index) {
    const last = this.columnBlocks(index) - 1;
    const block = this.k === 1 ? last : index < this.k ? index * this.rows + last : -1;
    return last * SEALED_BLOCK_BYTES + this.blockBytes(block);
  }
}

/**
 * The layout of `length` bytes for whom asks for `k` of `n`; short segments use fewer columns.
 *
 * @throws {RangeError} impossible numbers: a mistake of the caller
 */
export function plan(length, k, n) {
  const blocks = Math.ceil(length / BLOCK_BYTES);
  const used = Math.ceil(blocks / Math.ceil(blocks / k));
  const layout = new Layout(length, used, used + n - k);
  const problem = layout.problem ?? new Layout(SEGMENT_BYTES, k, n).problem;
  if (problem !== null) throw new RangeError(problem);
  return layout;
}

const DESCRIPTOR = struct({
  version: uint(255),
  k: uint(MAX_K),
  n: uint(MAX_N),
  length: uint(SEGMENT_BYTES),
  commitment: bin(32),
  chunkIds: bin(32, 32 * MAX_N),
});

/** @returns {Uint8Array} the canonical bytes; `chunkIds` are n ids, joined */
export function encodeDescriptor({ k, n, length }, commitment, chunkIds) {
  return encode(DESCRIPTOR, { version: 1, k, n, length, commitment, chunkIds });
}

/** @returns {Uint8Array} the id of the segment that these bytes describe */
export function segmentId(descriptor) {
  return digest("segment", descriptor);
}

/**
 * Reads a descriptor from outside.
 *
 * @param {Uint8Array} data
 * @param {Uint8Array} [expect] the id of the segment it must describe, when that is known
 * @returns {{layout: Layout, commitment: Uint8Array, chunkIds: Uint8Array}}
 * @throws {Integrity} it has not this id; as Malformed: impossible numbers, or not the canonical encoding
 */
export function decodeDescriptor(data, expect) {
  if (data.length > MAX_DESCRIPTOR_BYTES) throw new Malformed(`a descriptor has at most ${MAX_DESCRIPTOR_BYTES} bytes`);
  if (expect !== undefined && !equal(segmentId(data), expect)) {
    throw new Integrity("the descriptor is not that of the segment asked for");
  }
  const { version, k, n, length, commitment, chunkIds } = decode(DESCRIPTOR, data);
  if (version !== 1) throw new Malformed(`a descriptor of version ${version} is not known here`);
  const layout = new Layout(length, k, n);
  if (layout.problem) throw new Malformed(layout.problem);
  if (chunkIds.length !== 32 * n) throw new Malformed(`${n} chunk ids have ${chunkIds.length} bytes`);
  if (!equal(encodeDescriptor(layout, commitment, chunkIds), data)) {
    throw new Malformed("a descriptor is not in its canonical encoding");
  }
  return { layout, commitment, chunkIds };
}

/** @returns {Uint8Array} the hash of one sealed or parity block */
export function blockHash(sealed) {
  return digest("block", sealed);
}

/** @returns {Uint8Array} the id of column `index` whose block hashes, joined, are `hashes` */
export function chunkId(index, hashes) {
  return digest("chunk", Uint8Array.of(index), hashes);
}

/**
 * Checks that `hashes` are the block hashes, joined, of column `index`.
 *
 * @throws {Integrity} no such column, another number of blocks, or another chunk id
 */
export function checkHashes({ layout, chunkIds }, index, hashes) {
  if (!(index >= 0 && index < layout.n)) throw new Integrity(`the segment has no chunk ${index}`);
  const right = hashes.length === layout.columnBlocks(index) * HASH_BYTES;
  if (!right || !equal(chunkId(index, hashes), chunkIds.subarray(32 * index, 32 * index + 32))) {
    throw new Integrity(`the block hashes are not those of chunk ${index}`);
  }
}

/**
 * Reads and checks the head of a sealed segment (docs/spec/web.md): u16 length, descriptor, hashes of all data blocks.
 *
 * @param {Uint8Array} data at least the head
 * @param {Uint8Array} id of the segment
 * @returns {{layout: Layout, commitment: Uint8Array, hashes: Uint8Array, size: number}} block hashes, joined, in order
 *   of blocks; size of the head, after which come the blocks
 * @throws {Integrity} not the head of this segment
 */
export function readHead(data, id) {
  const descriptorEnd = 2 + data[0] * 256 + data[1];
  if (!(descriptorEnd <= data.length)) throw new Integrity("the head of a segment is cut short");
  const descriptor = decodeDescriptor(data.subarray(2, descriptorEnd), id);
  const { layout, commitment } = descriptor;
  const size = descriptorEnd + layout.blocks * HASH_BYTES;
  if (size > data.length) throw new Integrity("the head of a segment is cut short");
  const hashes = data.slice(descriptorEnd, size); // copies: the blocks behind it go to a worker with their memory
  let at = 0;
  for (let index = 0; index < layout.k; index++) {
    const end = at + layout.columnBlocks(index) * HASH_BYTES;
    checkHashes(descriptor, index, hashes.subarray(at, end));
    at = end;
  }
  return { layout, commitment: commitment.slice(), hashes, size };
}

/** @returns {Uint8Array} inverse of `readHead`, in front of the blocks: for tests and for whoever serves segments */
export function makeHead(descriptor, hashes) {
  return concat(Uint8Array.of(descriptor.length >>> 8, descriptor.length & 0xff), descriptor, hashes);
}
