/**
 * Manifests and roots: what a deposit holds, and the two seals around it (docs/spec/storage.md section 5).
 *
 * A manifest comes from a stranger: every rule is checked when it is read, and when it is made.
 */

import { digest } from "./blake3.js";
import { bigEndian, byteString, bytesOf, concat, equal } from "./bytes.js";
import { Integrity, Malformed } from "./errors.js";
import { bin, decode, encode, flag, int64, list, struct, uint } from "./msgpack.js";
import { pathProblem, targetProblem } from "./paths.js";
import { commitment, manifestKey, openParts, readKey, sealParts } from "./seal.js";
import { SEGMENT_BYTES } from "./segment.js";

export const MAX_INLINE_BYTES = 65536;
const MAX_INLINE_MANIFEST_BYTES = 1048576;
const MAX_MANIFEST_BYTES = 268435456;
const MAX_ENTRIES = 1048576;
const MAX_SEGMENTS = 262144;
const MAX_SPILL = MAX_MANIFEST_BYTES / SEGMENT_BYTES;
const KINDS = ["file", "folder", "symlink"];
const IN_ROOT = 0, IN_SEGMENTS = 1;
const decoder = new TextDecoder();

/** A file, folder or symbolic link of a deposit. What its kind has no use for is zero or empty. */
export class Entry {
  /**
   * @param {object} fields
   * @param {string} fields.raw path, as a byte string; components separated by "/"
   * @param {number} fields.number 0 file, 1 folder, 2 symbolic link
   * @param {boolean} [fields.executable] of a file
   * @param {bigint} [fields.mtimeNs] nanoseconds since 1970 UTC
   * @param {number} [fields.size] bytes of a file
   * @param {number} [fields.segment] which of the manifest's segments a file begins in
   * @param {number} [fields.offset] where in that segment, or in the inline content, it begins
   * @param {string} [fields.target] of a symbolic link, as a byte string; never followed
   */
  constructor({ raw, number, executable = false, mtimeNs = 0n, size = 0, segment = 0, offset = 0, target = "" }) {
    Object.assign(this, { raw, number, executable, mtimeNs, size, segment, offset, target });
  }

  /** The path as text. Bytes that are no UTF-8 show as U+FFFD: compare `raw`. */
  get path() {
    return /^[\x00-\x7f]*$/.test(this.raw) ? this.raw : decoder.decode(bytesOf(this.raw));
  }

  /** @returns {"file"|"folder"|"symlink"} */
  get kind() {
    return KINDS[this.number];
  }

  /** Seconds since 1970 UTC, with a fraction. */
  get mtime() {
    return Number(this.mtimeNs) / 1e9;
  }
}

/** Bytes kept as a byte string. */
function rawText(minimum, maximum) {
  const { read, write } = bin(minimum, maximum);
  return { read: (reader) => byteString(read(reader)), write: (writer, value) => write(writer, bytesOf(value)) };
}

const ENTRY = struct(
  {
    raw: rawText(1, 4096), number: uint(2), executable: flag, mtimeNs: int64, size: uint(Number.MAX_SAFE_INTEGER),
    segment: uint(2 ** 32), offset: uint(SEGMENT_BYTES), target: rawText(0, 4096),
  },
  (fields) => new Entry(fields),
);
const SEGMENT = struct({ id: bin(32), length: uint(SEGMENT_BYTES), key: bin(32) });
const MANIFEST = struct({
  version: uint(255),
  entries: list(MAX_ENTRIES, ENTRY),
  segments: list(MAX_SEGMENTS, SEGMENT),
  inline: bin(0, MAX_INLINE_BYTES),
});
const ROOT = struct({
  version: uint(255), index: bin(1, SEGMENT_BYTES), commitment: bin(32), part: bin(1, SEGMENT_BYTES),
});
const INDEX = struct({ segments: list(MAX_SEGMENTS, struct({ id: bin(32), length: uint(SEGMENT_BYTES) })) });
const PART = struct({ indexHash: bin(32), where: uint(IN_SEGMENTS), payload: bin(1, MAX_INLINE_MANIFEST_BYTES) });
const SPILL = struct({ segments: list(MAX_SPILL, SEGMENT) });

/**
 * @typedef {{id: Uint8Array, length: number, key: Uint8Array}} SegmentRef
 * @typedef {{entries: Entry[], segments: SegmentRef[], inline: Uint8Array}} Manifest
 */

/** @returns {Uint8Array} the manifest's bytes; throws Malformed if it breaks a rule */
export function encodeManifest({ entries, segments = [], inline = new Uint8Array() }) {
  checkEntries({ entries, segments, inline });
  return checkedSize(encode(MANIFEST, { version: 1, entries, segments, inline }));
}

/** @returns {Manifest} inverse of `encodeManifest`; throws Malformed */
export function decodeManifest(data) {
  const { version, ...manifest } = decode(MANIFEST, checkedSize(data));
  checkVersion("manifest", version);
  checkEntries(manifest);
  return manifest;
}

function checkedSize(data) {
  if (data.length <= MAX_MANIFEST_BYTES) return data;
  throw new Malformed(`a manifest has at most ${MAX_MANIFEST_BYTES} bytes, got ${data.length}`);
}

function checkVersion(what, version) {
  if (version !== 1) throw new Malformed(`a ${what} of version ${version} is not known here`);
}

/** Every rule that goes beyond the shape of single fields. Entries are named by number: a path is private. */
function checkEntries({ entries, segments, inline }) {
  if (!entries.length) throw new Malformed("a deposit has at least one entry");
  if (segments.length && inline.length) throw new Malformed("content is either inline or in segments");
  if (segments.some((ref) => !ref.length)) throw new Malformed("a segment has at least 1 byte");
  const starts = [0];
  for (const length of segments.length ? segments.map((ref) => ref.length) : [inline.length]) {
    starts.push(starts.at(-1) + length);
  }
  const folders = new Set();
  let previous = "", pieces = 0;
  entries.forEach((entry, number) => {
    const slash = entry.raw.lastIndexOf("/");
    let problem = pathProblem(entry.raw);
    if (entry.raw <= previous) problem ??= "it is a duplicate, or out of order";
    if (slash > 0 && !folders.has(entry.raw.slice(0, slash))) problem ??= "it stands in no folder";
    problem ??= kindProblem(entry, starts);
    if (problem !== null) throw new Malformed(`a manifest breaks the rules: entry ${number}: ${problem}`);
    previous = entry.raw;
    if (entry.kind === "folder") folders.add(entry.raw);
    pieces += entry.size ? piecesOf(entry, starts) : 0;
  });
  // Else a small manifest whose files all lie in all segments would keep a reader busy for ever.
  if (pieces > entries.length + starts.length - 1) throw new Malformed("its files share too many bytes");
}

function kindProblem(entry, starts) {
  const { kind, target, executable, size, segment, offset } = entry;
  if (kind !== "symlink" && target) return "only a symbolic link has a target";
  if (kind === "file") return extentProblem(entry, starts);
  if (executable || size || segment || offset) return "only a file has content";
  return kind === "symlink" ? targetProblem(entry.raw, target) : null;
}

function extentProblem({ size, segment, offset }, starts) {
  if (!size) return segment || offset ? "an empty file begins nowhere" : null;
  if (segment + 1 >= starts.length) return `it begins in segment ${segment} of ${starts.length - 1}`;
  const begin = starts[segment] + offset;
  const outside = begin >= starts[segment + 1] || begin + size > starts.at(-1);
  return outside ? `its ${size} bytes do not lie in the content` : null;
}

/** How many segments a file lies in. */
function piecesOf({ size, segment, offset }, starts) {
  const last = starts[segment] + offset + size - 1;
  let low = segment, high = starts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (starts[middle] <= last) low = middle + 1;
    else high = middle;
  }
  return low - segment;
}

/**
 * Where bytes `start` to `stop` (excluded) of a file lie, in order. Only for a manifest with segments.
 *
 * @returns {{segment: number, offset: number, length: number}[]} runs of bytes of the manifest's segments
 */
export function extents(entry, segments, start = 0, stop = entry.size) {
  const found = [];
  let skip = entry.offset + start, left = Math.min(stop, entry.size) - start;
  for (let segment = entry.segment; left > 0; segment++) {
    const { length } = segments[segment];
    if (skip < length) {
      const part = Math.min(left, length - skip);
      found.push({ segment, offset: skip, length: part });
      left -= part;
    }
    skip = Math.max(0, skip - length);
  }
  return found;
}

/** The distinct segments, in order of first use. */
function indexOf(...uses) {
  const found = new Map();
  for (const { id, length } of uses.flat()) found.set(`${byteString(id)} ${length}`, { id, length });
  return [...found.values()];
}

function indexHash(index) {
  return digest("index", concat(...index.flatMap(({ id, length }) => [id, bigEndian(length, 4)])));
}

/** Whether two indexes name the same segments, in the same order. */
function sameIndex(one, other) {
  return one.length === other.length && equal(indexHash(one), indexHash(other));
}

/** @returns {Uint8Array[]} the segments' plaintexts of an encoded manifest too large for the root; none if it fits */
export function spillParts(encoded) {
  const parts = [];
  if (encoded.length > MAX_INLINE_MANIFEST_BYTES) {
    for (let at = 0; at < encoded.length; at += SEGMENT_BYTES) parts.push(encoded.slice(at, at + SEGMENT_BYTES));
  }
  return parts;
}

/**
 * Builds the root of a deposit, which is then sealed as any segment, under rootKey(verifyKey(readKey)).
 *
 * @param {Uint8Array} secret the depositor's convergence secret, 32 bytes
 * @param {Uint8Array} encoded the manifest
 * @param {SegmentRef[]} segments the manifest's
 * @param {SegmentRef[]} spill what `spillParts` of the manifest were sealed in, if there were any
 * @returns {Promise<{plaintext: Uint8Array, readKey: Uint8Array}>}
 */
export async function makeRoot(secret, encoded, segments, spill) {
  const listed = indexOf(spill, segments);
  const index = encode(INDEX, { segments: listed });
  const payload = spill.length ? encode(SPILL, { segments: spill }) : encoded;
  const where = spill.length ? IN_SEGMENTS : IN_ROOT;
  const part = encode(PART, { indexHash: indexHash(listed), where, payload });
  const read = readKey(secret, index, part);
  const key = manifestKey(read);
  const root = { version: 1, index, commitment: commitment(key), part: await sealParts(key, part) };
  return { plaintext: encode(ROOT, root), readKey: read };
}

function decodeRoot(plaintext) {
  const root = decode(ROOT, plaintext);
  checkVersion("root", root.version);
  const { segments } = decode(INDEX, root.index);
  const ids = new Set(segments.map(({ id }) => byteString(id)));
  if (ids.size !== segments.length || segments.some(({ length }) => !length)) {
    throw new Malformed("an index names a segment twice, or an empty one");
  }
  return { root, index: segments };
}

/** @returns {{id: Uint8Array, length: number}[]} the segments of a root, for the holder of a verify link */
export function openIndex(plaintext) {
  return decodeRoot(plaintext).index;
}

/**
 * Opens a root. Nothing of the manifest itself is checked before `readManifest`.
 *
 * @param {Uint8Array} plaintext of the root segment
 * @param {Uint8Array} read the read key
 * @returns {Promise<{index: object[], spill: SegmentRef[], encoded: Uint8Array}>} where the manifest is: in `encoded`,
 *   or, joined, the plaintexts of the segments `spill`
 * @throws {Integrity} the read key is not that of the root; as Malformed: it is no root
 */
export async function openRoot(plaintext, read) {
  const { root, index } = decodeRoot(plaintext);
  const key = manifestKey(read);
  if (!equal(commitment(key), root.commitment)) throw new Integrity("the read key is not that of the root");
  const part = decode(PART, await openParts(key, root.part));
  if (!equal(part.indexHash, indexHash(index))) throw new Malformed("the manifest part belongs to another index");
  if (part.where === IN_ROOT) return { index, spill: [], encoded: part.payload };
  const { segments: spill } = decode(SPILL, part.payload);
  const known = new Set(index.map(({ id, length }) => `${byteString(id)} ${length}`));
  if (!spill.length || spill.some(({ id, length }) => !known.has(`${byteString(id)} ${length}`))) {
    throw new Malformed("the segments of the manifest are not in the index");
  }
  return { index, spill, encoded: new Uint8Array() };
}

/**
 * @param root what `openRoot` gave
 * @param {Uint8Array} encoded `root.encoded`, or what is in the segments of `root.spill`, joined
 * @returns {Manifest}
 * @throws {Malformed} it breaks a rule, or names other segments than the index
 */
export function readManifest(root, encoded) {
  const manifest = decodeManifest(encoded);
  if (!sameIndex(indexOf(root.spill, manifest.segments), root.index)) {
    throw new Malformed("the manifest names other segments than the index");
  }
  return manifest;
}
