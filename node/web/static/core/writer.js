/**
 * Publishing from the page: cut, sealed and signed here, so that the node it goes to stays blind
 * (docs/spec/storage.md sections 5 and 6, docs/spec/web.md).
 */

import { bigEndian, byteString, bytesOf, concat, equal, hex, utf8 } from "./bytes.js";
import { CoreError, SourceError } from "./errors.js";
import { Identity } from "./identity.js";
import { signLease } from "./lease.js";
import { formatLink, verifyLink } from "./links.js";
import { Entry, MAX_INLINE_BYTES, decodeManifest, encodeManifest, makeRoot, spillParts } from "./manifest.js";
import { inlinePool } from "./pool.js";
import { pathProblem } from "./paths.js";
import { persist } from "./retry.js";
import { rootKey, verifyKey } from "./seal.js";
import { SEGMENT_BYTES, blockHash } from "./segment.js";

/** A file this long shares no segment with another. */
const LARGE_FILE_BYTES = 1024 * 1024;
/** Segments being read, sealed or placed at a time. */
const SEGMENTS_AHEAD = 2;
/** In front of the sealed blocks: the descriptor and the lease, each after its length. */
const HEAD_ROOM = 2 + 2048 + 2 + 1024;

const random = (size) => crypto.getRandomValues(new Uint8Array(size));

/**
 * @typedef {object} File
 * @property {string} path relative, with "/" between components; the first is the name of what is published
 * @property {number} size bytes
 * @property {number} [mtime] seconds since 1970 UTC
 * @property {(start: number, stop: number) => Promise<Uint8Array>} read bytes start to stop, stop excluded
 *
 * @typedef {object} Told
 * @property {number} totalBytes of all files
 * @property {number} sealedBytes of them, sealed
 * @property {number} placedBytes of them, of which the node says that they are placed
 * @property {number} chunks in all segments sent so far
 * @property {number} placed of these chunks, held by nodes
 * @property {Record<string, number>} countries chunks placed by claimed country
 */

/**
 * Publishes files as one deposit.
 *
 * @param {File[]} files at least one
 * @param {object} terms
 * @param {(data: Uint8Array, options: object) => Promise<object>} terms.post as `httpPost` of http.js gives
 * @param {Uint8Array} terms.network network id
 * @param {number} terms.expiry of the lease, seconds since 1970 UTC
 * @param {{k: number, n: number}} [terms.shares] any k of n chunks rebuild a segment
 * @param {boolean} [terms.spreadCountries]
 * @param {string[]} [terms.avoid] claimed countries that get no chunk
 * @param {object} [terms.pool] of pool.js
 * @param {Uint8Array} [terms.secret] convergence secret, 32 bytes: fresh, if nothing else is wanted
 * @param {Identity} [terms.identity] who signs the leases: a fresh one, if nothing else is wanted
 * @param {(told: Told) => void} [terms.onProgress]
 * @param {(told: object|null) => void} [terms.onWait] as of retry.js
 * @param {AbortSignal} [terms.signal]
 * @returns {Promise<{link: string, verifyLink: string, root: string, segments: number, told: Told}>}
 * @throws {SourceError} a path cannot be published, or a file cannot be read or changed meanwhile
 * @throws {Network} no node answers; as Refused: it does not want the deposit; as NotFound, Integrity, Unsupported
 */
export async function publish(files, terms) {
  const run = await Run.of(terms);
  const { entries, sources } = entriesOf(files);
  const pieces = [...cut(entries)];
  layOut(entries, pieces);
  const totalBytes = entries.reduce((sum, entry) => sum + entry.size, 0);
  const isInline = totalBytes <= MAX_INLINE_BYTES;
  run.tell({ totalBytes });
  const content = { entries, segments: [], inline: new Uint8Array() };
  if (isInline) content.inline = concat(...(await Promise.all(pieces.map((each) => readPieces(each, sources)))));
  else content.segments = await run.storeAll(pieces.map((each) => () => readPieces(each, sources)), true);
  const encoded = encodeManifest(content);
  checkReads(encoded, content);
  const spill = await run.storeAll(spillParts(encoded).map((part) => async () => part), false);
  const made = await makeRoot(run.secret, encoded, content.segments, spill);
  const { id } = await run.store(made.plaintext, rootKey(verifyKey(made.readKey)));
  const link = { kind: "read", root: id, key: made.readKey };
  run.tell({ sealedBytes: totalBytes, placedBytes: totalBytes });
  return { link: formatLink(link), verifyLink: formatLink(verifyLink(link)), root: hex(id), segments: run.sent.size, told: run.told };
}

/** What nobody could read must not be called published: the bytes are read again before anything depends on them. */
function checkReads(encoded, { entries, segments, inline }) {
  const read = decodeManifest(encoded);
  const fields = ["raw", "number", "mtimeNs", "size", "segment", "offset"];
  const sameEntries = read.entries.length === entries.length
    && entries.every((entry, at) => fields.every((field) => entry[field] === read.entries[at][field]));
  const sameSegments = read.segments.length === segments.length
    && segments.every(({ id, length, key }, at) => equal(id, read.segments[at].id) && length === read.segments[at].length && equal(key, read.segments[at].key));
  if (!sameEntries || !sameSegments || !equal(inline, read.inline)) throw new Error("a bug: the table of contents cannot be read again");
}

/** The entries of the files and of all folders on their paths, in order; and by entry, the file. */
function entriesOf(files) {
  const found = new Map();
  const sources = new Map();
  for (const file of files) {
    const raw = byteString(utf8(file.path));
    const mtimeNs = BigInt(Math.round(1000 * (file.mtime ?? 0))) * 1_000_000n;
    const problem = found.has(raw) ? "its path is another's too" : pathProblem(raw);
    if (problem !== null) throw new SourceError(`${file.path} cannot be published: ${problem}`);
    const entry = new Entry({ raw, number: 0, size: file.size, mtimeNs });
    found.set(raw, entry);
    sources.set(entry, file);
    for (let slash = raw.lastIndexOf("/"); slash > 0; slash = raw.lastIndexOf("/", slash - 1)) {
      const folder = found.get(raw.slice(0, slash)) ?? new Entry({ raw: raw.slice(0, slash), number: 1 });
      if (folder.kind === "file") throw new SourceError(`${folder.path} cannot be published: it is a file and a folder`);
      if (mtimeNs > folder.mtimeNs) folder.mtimeNs = mtimeNs; // a page does not learn a folder's own time
      found.set(folder.raw, folder);
    }
  }
  if (!found.size) throw new SourceError("there is nothing to publish");
  const entries = [...found.values()].sort((one, other) => (one.raw < other.raw ? -1 : 1));
  return { entries, sources };
}

/** The pieces of each segment, in order: `{entry, offset, size}`. */
function* cut(entries) {
  let pack = [], packed = 0;
  for (const entry of entries.filter(({ size }) => size)) {
    const large = entry.size >= LARGE_FILE_BYTES;
    if (pack.length && (large || packed + entry.size > SEGMENT_BYTES)) {
      yield pack;
      [pack, packed] = [[], 0];
    }
    if (large) {
      for (let offset = 0; offset < entry.size; offset += SEGMENT_BYTES) {
        yield [{ entry, offset, size: Math.min(SEGMENT_BYTES, entry.size - offset) }];
      }
      continue;
    }
    pack.push({ entry, offset: 0, size: entry.size });
    packed += entry.size;
    // A cut that depends on the path alone: one inserted file changes one pack, not all that follow.
    if (packed >= LARGE_FILE_BYTES && blockHash(bytesOf(entry.raw))[0] === 0) {
      yield pack;
      [pack, packed] = [[], 0];
    }
  }
  if (pack.length) yield pack;
}

/** Has the entries say where their bytes begin. */
function layOut(entries, segments) {
  segments.forEach((pieces, segment) => {
    let at = 0;
    for (const { entry, offset, size } of pieces) {
      if (!offset) Object.assign(entry, { segment, offset: at });
      at += size;
    }
  });
}

async function readPieces(pieces, sources) {
  const content = new Uint8Array(pieces.reduce((sum, { size }) => sum + size, 0));
  let at = 0;
  for (const { entry, offset, size } of pieces) {
    content.set(await readPiece(sources.get(entry), offset, size), at);
    at += size;
  }
  return content;
}

async function readPiece(file, offset, size) {
  let data;
  try {
    data = await file.read(offset, offset + size);
  } catch (error) {
    if (error instanceof CoreError || error.name === "AbortError") throw error;
    throw new SourceError(`${file.path} cannot be read: it changed, or is gone`, { cause: error });
  }
  if (data.length !== size) throw new SourceError(`${file.path} changed while it was being published`);
  return data;
}

/** One publish under way. */
class Run {
  /** Ids of segments that have been sent: bytes that come again are sent once. */
  sent = new Map();
  told = { totalBytes: 0, sealedBytes: 0, placedBytes: 0, chunks: 0, placed: 0, countries: {} };

  static async of({ secret = random(32), identity, pool = inlinePool(), shares = { k: 8, n: 12 }, ...terms }) {
    const signer = identity ?? (await Identity.of(random(32)));
    const waiting = { onWait: terms.onWait };
    const own = { deposit: random(16), sequence: Date.now() };
    return Object.assign(new Run(), { secret, identity: signer, pool, shares, ...own, waiting, terms });
  }

  tell(change) {
    Object.assign(this.told, change);
    this.terms.onProgress?.({ ...this.told });
  }

  /** Stores segments, two at a time; each is a function that gives its plaintext. Returns their references, in order. */
  async storeAll(plaintexts, isContent) {
    const refs = [];
    let next = 0, failed = false;
    const work = async () => {
      while (next < plaintexts.length && !failed) {
        const number = next++;
        refs[number] = await this.store(await plaintexts[number](), undefined, isContent);
      }
    };
    const workers = Array.from({ length: SEGMENTS_AHEAD }, () =>
      work().catch((error) => {
        failed = true;
        throw error;
      }),
    );
    const ended = (await Promise.allSettled(workers)).find(({ status }) => status === "rejected");
    if (ended !== undefined) throw ended.reason;
    return refs;
  }

  /** Seals and sends a segment, unless the same one has been sent. Its plaintext is given away. */
  async store(plaintext, key, isContent = false) {
    this.terms.signal?.throwIfAborted();
    const content = isContent ? plaintext.length : 0;
    const input = { plaintext, secret: this.secret.slice(), key, shares: this.shares, room: HEAD_ROOM };
    const sealed = await this.pool.run("seal", input, [plaintext.buffer]);
    this.tell({ sealedBytes: this.told.sealedBytes + content });
    const name = hex(sealed.id);
    if (!this.sent.has(name)) this.sent.set(name, this.#send(sealed));
    const { n, placed, countries } = await this.sent.get(name);
    this.#count(n, placed, countries, content);
    return { id: sealed.id, length: sealed.length, key: sealed.key };
  }

  #count(n, placed, countries, content) {
    const sum = { ...this.told.countries };
    for (const [country, chunks] of Object.entries(countries ?? {})) sum[country] = (sum[country] ?? 0) + chunks;
    const { told } = this;
    const counted = { chunks: told.chunks + n, placed: told.placed + placed, countries: sum };
    this.tell({ ...counted, placedBytes: told.placedBytes + content });
  }

  async #send({ id, length, descriptor, data }) {
    const { network, expiry, spreadCountries, avoid, post, signal } = this.terms;
    const { deposit, sequence } = this;
    const wanted = { network, deposit, segment: id, size: length, sequence, expiry, spreadCountries, avoid };
    const lease = await signLease(this.identity, wanted);
    const head = concat(bigEndian(descriptor.length, 2), descriptor, bigEndian(lease.length, 2), lease);
    data.set(head, HEAD_ROOM - head.length);
    return persist(() => post(data.subarray(HEAD_ROOM - head.length), { signal }), this.waiting, signal);
  }
}
