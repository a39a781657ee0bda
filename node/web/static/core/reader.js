/**
 * Opening a link and reading any bytes of any of its files, fetched sealed from any node (docs/spec/web.md).
 *
 * The node learns which segments, and no key. Nothing is shown before it is verified: the descriptor against the
 * segment's id, hashes against the descriptor, each block against its hash and its seal.
 */

import { byteString, concat, hex, unhex, utf8 } from "./bytes.js";
import { CoreError, Integrity, LinkError, Malformed, Network, NotFound, Unsupported } from "./errors.js";
import { parseLink } from "./links.js";
import { extents, openIndex, openRoot, readManifest } from "./manifest.js";
import { newest } from "./names.js";
import { inlinePool } from "./pool.js";
import { persist } from "./retry.js";
import { rootKey, verifyKey } from "./seal.js";
import {
  BLOCK_BYTES, HASH_BYTES, MAX_HEAD_BYTES, MAX_SEALED_BYTES, SEALED_BLOCK_BYTES, SEGMENT_BYTES, readHead,
} from "./segment.js";

/** Segments in memory at a time, the one that is being used included. */
const SEGMENTS_AHEAD = 3;
/** Bytes that nobody wants are fetched with others up to so many in a row: a request costs more. */
const WIDE_BYTES = 4 * BLOCK_BYTES;
const HEADS_KEPT = 256;
const MAX_SMALL_BYTES = 4 * 1024 * 1024;
const MAX_RECORDS_BYTES = 1024 * 1024;

/**
 * @typedef {object} Source where sealed segments come from
 * @property {Function} get as `httpGet` of http.js gives: of `/v1/segments/{id}` and `/v1/names/{key}`; whoever calls it
 *   may change the bytes
 * @property {object} [pool] of pool.js: who verifies and opens; without one it is done here
 * @property {(told: object|null) => void} [onWait] as of retry.js
 * @property {Uint8Array} [network] network id, for names; without it the one that the node says it is in
 */

/**
 * Opens a link.
 *
 * @param {string} text
 * @param {Source & {signal?: AbortSignal}} options
 * @returns {Promise<Deposit>} for a verify link one without manifest, whose `index` says what segments there are
 * @throws {LinkError} mistyped, or not a link that can be opened
 * @throws {Unsupported} sealed to one account, or the browser lacks something
 * @throws {NotFound} too few chunks can be reached, or nothing is published under this name
 * @throws {Integrity} what came is not what the link promises
 * @throws {Network} no node answers
 */
export async function openLink(text, { signal, ...source }) {
  const given = parseLink(text);
  if (given.kind === "sealed") {
    throw new Unsupported("the link is sealed to one account: that account opens it in its drive");
  }
  const version = given.kind === "name" ? await newestVersion(given, source, signal) : null;
  const link = version?.link ?? given;
  const segments = new Segments(source);
  const verify = link.kind === "read" ? verifyKey(link.key) : link.key;
  const plaintext = await segments.root(link.root, rootKey(verify), signal);
  if (link.kind === "verify") return new Deposit(segments, { link, version, index: openIndex(plaintext) });
  const root = await openRoot(plaintext, link.key);
  const spilled = [];
  for (const ref of root.spill) spilled.push(await segments.blocks(ref, 0, Math.ceil(ref.length / BLOCK_BYTES), signal));
  const manifest = readManifest(root, root.spill.length ? concat(...spilled) : root.encoded);
  return new Deposit(segments, { link, version, index: root.index, manifest });
}

async function newestVersion(link, { get, onWait, network }, signal) {
  const path = `/v1/names/${hex(link.name)}`;
  const data = await persist(() => get(path, { limit: MAX_RECORDS_BYTES, signal }), { onWait }, signal);
  let answer;
  try {
    answer = JSON.parse(new TextDecoder().decode(data));
    answer = { records: answer.records.map(unhex), network: network ?? unhex(answer.network) };
  } catch (error) {
    throw new Malformed("the node's answer about the name cannot be read", { cause: error });
  }
  return newest(answer.records, link, { network: answer.network, now: Date.now() / 1000 });
}

/** What a link leads to. */
export class Deposit {
  #segments;

  constructor(segments, { link, version, index, manifest }) {
    this.#segments = segments;
    /** The read or verify link; of a name, that of the version shown. */
    this.link = link;
    /** Of a name: number, time, sequence, fork; else null. */
    this.version = version;
    /** Segments but the root: id, length. */
    this.index = index;
    /** Entries, segments, inline; undefined behind a verify link. */
    this.manifest = manifest;
  }

  /** @param {string} path  @returns {Entry} throws NotFound, and LinkError behind a verify link */
  entry(path) {
    if (this.manifest === undefined) throw new LinkError("this is a verify link: it can check the deposit, not read it");
    const raw = byteString(utf8(path));
    const found = this.manifest.entries.find((entry) => entry.raw === raw);
    if (found === undefined) throw new NotFound("there is no such path in the deposit");
    return found;
  }

  /**
   * Bytes `start` to `stop` (excluded) of a file, verified, in order: a step at a time, at most three steps in memory.
   * What is yielded is good until more is asked for, or is the caller's who transfers it before that.
   *
   * @param {Entry} entry of this deposit's manifest
   * @param {number} [start]
   * @param {number} [stop] the end of the file at most
   * @param {object} [options] as `readRuns` has them
   * @returns {AsyncGenerator<Uint8Array>} ends what is under way when it is left; throws as `openLink`
   */
  async *read(entry, start = 0, stop = entry.size, options) {
    for await (const { data } of this.readRuns([{ entry, start, stop }], options)) yield data;
  }

  /**
   * Runs of bytes of many files, as `read` does for one. What lies side by side is fetched at once: so a folder of small
   * files is read in the order of the manifest. What is yielded is good until more is asked for.
   *
   * @param {Iterable<{entry: Entry, start?: number, stop?: number}>} runs
   * @param {object} [options]
   * @param {number} [options.stepBytes] fetched at once, in whole blocks: 131,072 to 16,777,216, a whole segment
   * @param {AbortSignal} [options.signal]
   * @returns {AsyncGenerator<{entry: Entry, at: number, data: Uint8Array}>} at: where in the file; nothing for empty runs
   */
  async *readRuns(runs, { stepBytes = SEGMENT_BYTES, signal } = {}) {
    const left = new AbortController();
    const both = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
    const steps = stepsOf(this.manifest, runs, Math.max(1, Math.floor(stepBytes / BLOCK_BYTES)));
    const under = [];
    try {
      for (;;) {
        for (let step; under.length < SEGMENTS_AHEAD && (step = steps.next().value); ) {
          under.push(this.#fetched(step, both));
          under.at(-1).catch(() => {}); // whoever waits for it hears of it
        }
        if (!under.length) return;
        const slices = await under.shift();
        yield* slices;
        this.#segments.memory.give(slices[0].data.buffer);
      }
    } finally {
      left.abort();
    }
  }

  async #fetched({ segment, first, stop, slices }, signal) {
    const { segments, inline } = this.manifest;
    const count = Math.ceil(stop / BLOCK_BYTES) - first;
    const inSegment = segment !== undefined;
    const data = inSegment ? await this.#segments.blocks(segments[segment], first, count, signal) : inline;
    return slices.map(({ entry, at, offset, size }) => {
      const part = data.subarray(offset, offset + size);
      return { entry, at, data: inSegment ? part : part.slice() };
    });
  }

  /**
   * As `read`, but all at once, of at most 4 MiB; moves the heads of the segments, once each, and the needed blocks.
   *
   * @returns {Promise<Uint8Array>}
   */
  async readSmall(entry, start, stop, signal) {
    const end = Math.min(stop, entry.size, start + MAX_SMALL_BYTES);
    const parts = [];
    for await (const part of this.read(entry, start, end, { stepBytes: MAX_SMALL_BYTES, signal })) parts.push(part.slice());
    return concat(...parts);
  }
}

/** What to fetch at once, `blocks` at most: of the same segment, onwards, and without a wide gap. */
function* stepsOf({ segments, inline }, runs, blocks) {
  let step = null;
  for (const { entry, start = 0, stop = entry.size } of runs) {
    const end = Math.min(stop, entry.size);
    if (start >= end) continue;
    if (!segments.length) {
      const slice = { entry, at: start, offset: entry.offset + start, size: end - start };
      yield { first: 0, stop: inline.length, slices: [slice] };
      continue;
    }
    let at = start;
    for (const { segment, offset, length } of extents(entry, segments, start, end)) {
      for (let from = offset; from < offset + length; ) {
        const isNext = step?.segment === segment && from >= step.stop && from - step.stop <= WIDE_BYTES;
        if (!isNext || from >= (step.first + blocks) * BLOCK_BYTES) {
          if (step !== null) yield step;
          step = { segment, first: Math.floor(from / BLOCK_BYTES), stop: from, slices: [] };
        }
        step.stop = Math.min(offset + length, (step.first + blocks) * BLOCK_BYTES);
        step.slices.push({ entry, at, offset: from - step.first * BLOCK_BYTES, size: step.stop - from });
        at += step.stop - from;
        from = step.stop;
      }
    }
  }
  if (step !== null) yield step;
}

/** Memory for steps, used again and again: what is only let go of piles up by the hundred MB until it is collected. */
class Memory {
  #kept = [];

  /** @returns {ArrayBuffer} `size` bytes or more, with anything in them */
  take(size) {
    const at = this.#kept.findIndex(({ byteLength }) => byteLength >= size && byteLength < 2 * size);
    return at < 0 ? new ArrayBuffer(size) : this.#kept.splice(at, 1)[0];
  }

  /** Takes memory back, unless it is somebody else's by now. */
  give(buffer) {
    if (buffer.detached || buffer.byteLength < BLOCK_BYTES) return;
    this.#kept.push(buffer);
    if (this.#kept.length > SEGMENTS_AHEAD) this.#kept.shift();
  }
}

/** Segments of one node, opened. */
class Segments {
  /** Promises of the heads, by id. */
  #heads = new Map();

  constructor({ get, pool = inlinePool(), onWait }) {
    this.get = get;
    this.pool = pool;
    this.waiting = { onWait };
    this.memory = new Memory();
  }

  /** The plaintext of a root segment, whose length nobody knows beforehand. */
  async root(id, key, signal) {
    const { data, head } = await this.#whole(id, signal);
    return this.#open(data.subarray(head.size), head, key, 0);
  }

  /** The plaintext of `count` blocks from block `first` on. */
  async blocks(ref, first, count, signal) {
    if (!this.#heads.has(hex(ref.id)) && count * BLOCK_BYTES >= ref.length) {
      const { data, head } = await this.#whole(ref.id, signal, ref.length);
      return this.#open(data.subarray(head.size), head, ref.key, 0);
    }
    const head = await this.#head(ref, signal);
    const { layout, size } = head;
    const start = size + first * SEALED_BLOCK_BYTES;
    const end = Math.min(start + count * SEALED_BLOCK_BYTES, size + layout.sealedBytes);
    const data = await this.#fetch(ref.id, signal, end - start, [start, end - 1], (got) => got.length === end - start);
    return this.#open(data, head, ref.key, first);
  }

  async #whole(id, signal, length) {
    let head;
    const data = await this.#fetch(id, signal, MAX_SEALED_BYTES, undefined, (got) => {
      head = checkedHead(got, id, length);
      return got.length >= head.size + head.layout.sealedBytes;
    });
    this.#keep(id, Promise.resolve(head));
    return { data, head };
  }

  /** The head of a segment, which is fetched once for all that want it at a time. */
  async #head(ref, signal) {
    for (;;) {
      const found = this.#heads.get(hex(ref.id)) ?? this.#keep(ref.id, this.#fetchHead(ref, signal));
      try {
        return await found;
      } catch (error) {
        this.#heads.delete(hex(ref.id));
        if (error instanceof CoreError || signal?.aborted) throw error; // else another reader's wish ended it
      }
    }
  }

  async #fetchHead({ id, length }, signal) {
    const last = MAX_HEAD_BYTES - 1;
    const data = await this.#fetch(id, signal, MAX_HEAD_BYTES, [0, last], (got) => got.length > 2);
    return checkedHead(data, id, length);
  }

  #keep(id, head) {
    if (this.#heads.size >= HEADS_KEPT) this.#heads.delete(this.#heads.keys().next().value);
    this.#heads.set(hex(id), head);
    return head;
  }

  /** Bytes of a sealed segment; what `isWhole` calls too short is asked for again, as if the connection broke. */
  #fetch(id, signal, limit, range, isWhole) {
    const attempt = async () => {
      const into = this.memory.take(limit);
      const data = await this.get(`/v1/segments/${hex(id)}`, { range, limit, into, signal });
      if (!isWhole(data)) throw new Network("the node's answer is cut short");
      return data;
    };
    return persist(attempt, this.waiting, signal);
  }

  #open(sealed, { layout, commitment, hashes }, key, first) {
    const count = Math.ceil(sealed.length / SEALED_BLOCK_BYTES);
    const own = hashes.slice(first * HASH_BYTES, (first + count) * HASH_BYTES);
    const input = { sealed, key: key.slice(), commitment, hashes: own, first, blocks: layout.blocks };
    return this.pool.run("open", input, [sealed.buffer]);
  }
}

function checkedHead(data, id, length) {
  const head = readHead(data, id);
  if (length !== undefined && head.layout.length !== length) {
    throw new Integrity("a segment has another length than the manifest says");
  }
  return head;
}
