/** Keys of segments and roots, sealing and opening of blocks (docs/spec/crypto.md sections 4 and 5). */

import { digest, plainDigest } from "./blake3.js";
import { bigEndian, concat, equal } from "./bytes.js";
import { parityCells } from "./erasure.js";
import { Integrity, Unsupported } from "./errors.js";
import {
  BLOCK_BYTES, HASH_BYTES, SEALED_BLOCK_BYTES, TAG_BYTES, blockHash, chunkId, encodeDescriptor, plan, segmentId,
} from "./segment.js";

const FORMAT = Uint8Array.of(1);

/** @returns {Uint8Array} what a descriptor says of its key, so that only that key opens it */
export const commitment = (key) => digest("commit", key);
/** @returns {Uint8Array} the verify key, which checks a deposit and reads nothing of it */
export const verifyKey = (readKey) => digest("verify", readKey);
/** @returns {Uint8Array} the segment key of the root segment */
export const rootKey = (verify) => digest("root key", verify);
/** @returns {Uint8Array} the key of the manifest part inside the root */
export const manifestKey = (readKey) => digest("manifest key", readKey);

/** @returns {Uint8Array} the convergence secret of one fresh publish; `salt` is 16 random bytes */
export function freshSecret(secret, salt) {
  return digest("fresh", secret, salt);
}

/** @returns {Uint8Array} the key of a segment: hash and seal the same buffer, which nobody changes meanwhile */
export function segmentKey(secret, plaintext) {
  return digest("segment key", secret, FORMAT, bigEndian(plaintext.length, 8), plainDigest(plaintext));
}

/** @returns {Uint8Array} the read key of the root that holds this index and this manifest part */
export function readKey(secret, index, part) {
  return digest("read", secret, digest("root plaintext", bigEndian(index.length, 8), index, part));
}

/**
 * The browser's own cryptography.
 *
 * @returns {SubtleCrypto}
 * @throws {Unsupported} the page was opened over plain http from another machine
 */
export function subtle() {
  const found = globalThis.crypto?.subtle;
  if (found === undefined) {
    throw new Unsupported("this page came over plain http, where a browser offers no encryption: open it over https");
  }
  return found;
}

/** AES-256-GCM for the blocks under one key. */
export class BlockCipher {
  #key;

  constructor(key) {
    this.#key = key;
  }

  /** @param {Uint8Array} key 32 bytes; throws Unsupported as `subtle` does */
  static async of(key) {
    return new BlockCipher(await subtle().importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]));
  }

  /** @returns {Promise<Uint8Array>} block `block` of a segment, sealed: 16 bytes longer */
  async seal(block, last, plaintext) {
    return new Uint8Array(await subtle().encrypt(parameters(block, last), this.#key, plaintext));
  }

  /** @returns {Promise<Uint8Array>} the plaintext; throws Integrity at what was not sealed so */
  async open(block, last, sealed) {
    if (sealed.length < TAG_BYTES) throw new Integrity(`a sealed block has at least ${TAG_BYTES} bytes`);
    try {
      return new Uint8Array(await subtle().decrypt(parameters(block, last), this.#key, sealed));
    } catch (error) {
      if (error.name !== "OperationError") throw error;
      throw new Integrity(`block ${block} does not open`, { cause: error });
    }
  }
}

function parameters(block, last) {
  return { name: "AES-GCM", iv: bigEndian(block, 12), additionalData: Uint8Array.of(1, last ? 1 : 0), tagLength: 128 };
}

/**
 * Checks consecutive sealed blocks against their hashes and opens them, in the memory they lie in.
 *
 * @param {Uint8Array} sealed the blocks, joined; their memory is overwritten
 * @param {object} run
 * @param {Uint8Array} run.key segment key
 * @param {Uint8Array} run.commitment of the segment's descriptor
 * @param {Uint8Array} run.hashes of these blocks, joined
 * @param {number} run.first index of the first
 * @param {number} run.blocks how many the segment has
 * @returns {Promise<Uint8Array>} their plaintext, at the beginning of the same memory
 * @throws {Integrity} the key is not the segment's, or a block is not what was promised
 */
export async function openBlocks(sealed, { key, commitment: promised, hashes, first, blocks }) {
  if (!equal(commitment(key), promised)) throw new Integrity("the key is not that of the segment");
  const cipher = await BlockCipher.of(key);
  let size = 0;
  for (let at = 0, block = first; at < sealed.length; at += SEALED_BLOCK_BYTES, block++) {
    const part = sealed.subarray(at, at + SEALED_BLOCK_BYTES);
    const hash = hashes.subarray((block - first) * HASH_BYTES, (block - first + 1) * HASH_BYTES);
    if (!equal(blockHash(part), hash)) throw new Integrity(`block ${block} does not match its hash`);
    const plaintext = await cipher.open(block, block === blocks - 1, part);
    sealed.set(plaintext, size);
    size += plaintext.length;
  }
  return sealed.subarray(0, size);
}

/** @returns {Promise<Uint8Array>} a byte string of any length, sealed block by block: the manifest part of a root */
export async function sealParts(key, plaintext) {
  return parts(plaintext, BLOCK_BYTES, await BlockCipher.of(key), "seal");
}

/** @returns {Promise<Uint8Array>} inverse of `sealParts`; throws Integrity */
export async function openParts(key, sealed) {
  return parts(sealed, SEALED_BLOCK_BYTES, await BlockCipher.of(key), "open");
}

async function parts(data, unit, cipher, work) {
  const done = [];
  const blocks = Math.max(1, Math.ceil(data.length / unit));
  for (let block = 0; block < blocks; block++) {
    done.push(await cipher[work](block, block === blocks - 1, data.subarray(block * unit, (block + 1) * unit)));
  }
  return concat(...done);
}

/**
 * Seals, hashes and codes a whole segment. Parity is hashed and let go: a node makes it again when it stores it.
 *
 * @param {Uint8Array} plaintext 1 to 16,777,216 bytes, the very buffer the key was derived from
 * @param {Uint8Array} key the segment key
 * @param {{k: number, n: number}} shares what is asked for: any k of n chunks rebuild it
 * @param {number} [room] bytes to leave free in front of the blocks
 * @returns {Promise<{id: Uint8Array, descriptor: Uint8Array, layout: Layout, hashes: Uint8Array[], data: Uint8Array}>}
 *   the block hashes of each chunk, joined; `data` has the room, then the sealed blocks in order
 */
export async function sealSegment(plaintext, key, { k, n }, room = 0) {
  const layout = plan(plaintext.length, k, n);
  const data = new Uint8Array(room + layout.sealedBytes);
  const sealed = data.subarray(room);
  const cipher = await BlockCipher.of(key);
  const columns = Array.from({ length: layout.n }, () => []);
  for (let block = 0; block < layout.blocks; block++) {
    const start = block * BLOCK_BYTES;
    const part = await cipher.seal(block, block === layout.blocks - 1, plaintext.subarray(start, start + BLOCK_BYTES));
    sealed.set(part, block * SEALED_BLOCK_BYTES);
    columns[Math.floor(block / layout.rows)].push(blockHash(part));
  }
  if (layout.k === 1) columns.fill(columns[0]);
  else for (let row = 0; row < layout.rows; row++) codeRow(layout, sealed, row, columns);
  const hashes = columns.map((column) => concat(...column));
  const ids = concat(...hashes.map((column, index) => chunkId(index, column)));
  const descriptor = encodeDescriptor(layout, commitment(key), ids);
  return { id: segmentId(descriptor), descriptor, layout, hashes, data };
}

function codeRow(layout, sealed, row, columns) {
  const cells = Array.from({ length: layout.k }, (_, index) => {
    const at = (index * layout.rows + row) * SEALED_BLOCK_BYTES;
    return row < layout.columnBlocks(index) ? sealed.subarray(at, at + SEALED_BLOCK_BYTES) : sealed.subarray(0, 0);
  });
  parityCells(cells, layout.n, SEALED_BLOCK_BYTES).forEach((cell, at) => columns[layout.k + at].push(blockHash(cell)));
}
