/** `get` and `post` as reader.js and writer.js want them, out of a `fetch` that is handed in. */

import { Integrity, Network, errorOfStatus } from "./errors.js";

const MAX_TEXT_BYTES = 65536;
/** A node gathers a segment before it sends the first byte of it. */
const IDLE_SECONDS = 60;
const POST_SECONDS = 600;
/** Without cookies, and past the browser's cache, which makes requests for parts of one thing wait for each other. */
const PLAIN = { cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer", redirect: "error" };

/**
 * @param {typeof fetch} fetch
 * @param {{base?: string, onBytes?: (count: number) => void}} [options] what stands before paths; who hears of bytes
 * @returns {(path: string, options: {range?: [number, number], limit: number, into?: ArrayBuffer, signal?: AbortSignal})
 *   => Promise<Uint8Array>} range: first and last byte, both included; limit: bytes there may be at most; into: memory
 *   of that size to use, which is given away. Throws Network (also after 60 s
 *   without a byte), NotFound, Integrity, Refused, or the signal's reason
 */
export function httpGet(fetch, { base = "", onBytes } = {}) {
  return async (path, { range, limit, into, signal }) => {
    const watch = new Watch(IDLE_SECONDS, signal);
    try {
      const headers = range ? { Range: `bytes=${range[0]}-${range[1]}` } : {};
      const answer = await fetch(base + path, { ...PLAIN, headers, signal: watch.signal });
      if (!answer.ok) throw await failure(answer, watch);
      if (range?.[0] && answer.status !== 206) throw new Integrity("the node sends all where a part was asked for");
      return await body(answer, limit, watch, { into, onBytes });
    } catch (error) {
      throw watch.translated(error);
    } finally {
      watch.end();
    }
  };
}

/**
 * @param {typeof fetch} fetch
 * @param {string} url where segments are posted to
 * @param {() => Record<string, string>} [headers] more of them, such as the session's
 * @returns {(data: Uint8Array, options: {signal?: AbortSignal}) => Promise<object>} the answer's JSON. Throws as `httpGet`
 */
export function httpPost(fetch, url, headers = () => ({})) {
  return async (data, { signal }) => {
    const watch = new Watch(POST_SECONDS, signal);
    try {
      // As a Blob: of bytes Chromium makes its copy while the page stands still, a second for a segment.
      const request = { ...PLAIN, method: "POST", body: new Blob([data]), signal: watch.signal };
      const answer = await fetch(url, { ...request, headers: { "Content-Type": "application/octet-stream", ...headers() } });
      if (!answer.ok) throw await failure(answer, watch);
      return JSON.parse(new TextDecoder().decode(await body(answer, MAX_TEXT_BYTES, watch)));
    } catch (error) {
      throw watch.translated(error);
    } finally {
      watch.end();
    }
  };
}

/** Ends a request that stands still, or that is no longer wanted. */
class Watch {
  #controller = new AbortController();
  #stop = () => this.#controller.abort();

  constructor(seconds, outer) {
    this.seconds = seconds;
    this.outer = outer;
    this.signal = this.#controller.signal;
    outer?.throwIfAborted();
    outer?.addEventListener("abort", this.#stop);
    this.moved();
  }

  moved() {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.#stop, 1000 * this.seconds);
  }

  end() {
    clearTimeout(this.timer);
    this.outer?.removeEventListener("abort", this.#stop);
  }

  translated(error) {
    if (this.outer?.aborted) return this.outer.reason;
    if (this.signal.aborted) return new Network(`the node has sent nothing for ${this.seconds} s`, { cause: error });
    // What fetch and streams throw when a connection fails; a SyntaxError is an answer that is no JSON.
    const failed = error instanceof TypeError || error instanceof SyntaxError;
    return failed ? new Network("the node cannot be reached, or the connection broke", { cause: error }) : error;
  }
}

async function body(answer, limit, watch, { into, onBytes = () => {} } = {}) {
  const promised = lengthOf(answer) ?? limit;
  if (promised > limit) throw new Integrity(`the node sends ${promised} bytes where ${limit} are the most`);
  let data = new Uint8Array(into?.byteLength >= promised ? into : new ArrayBuffer(promised));
  let size = 0;
  const read = reading(answer.body);
  while (size < promised) {
    const { done, memory, count } = await read(data, size, promised);
    data = memory;
    if (done) break;
    watch.moved();
    size += count;
    onBytes(count);
  }
  if (size === limit && lengthOf(answer) === null) throw new Integrity(`the node sends ${limit} bytes or more`);
  return data.subarray(0, size);
}

/** Bytes that the answer says it has; null when it does not, or says it of their compressed form. */
function lengthOf({ headers }) {
  const length = headers.get("Content-Length");
  return length === null || headers.has("Content-Encoding") ? null : Number(length);
}

/**
 * Reads on into the memory that is there, where the browser can: the pieces that a plain reader makes pile up until they
 * are collected. Either way memory changes hands: go on with the one that is returned.
 */
function reading(stream) {
  let reader;
  try {
    reader = stream.getReader({ mode: "byob" });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    reader = stream.getReader();
    return async (data, size, promised) => {
      const { done, value } = await reader.read();
      if (done) return { done, memory: data };
      if (size + value.length > promised) throw new Integrity(`the node sends more than ${promised} bytes`);
      data.set(value, size);
      return { done, memory: data, count: value.length };
    };
  }
  return async (data, size, promised) => {
    const { done, value } = await reader.read(data.subarray(size, promised));
    return { done, memory: new Uint8Array(value.buffer), count: value.length };
  };
}

async function failure(answer, watch) {
  const after = Number(answer.headers.get("Retry-After"));
  let text = `the node answers with status ${answer.status}`;
  try {
    const { error } = JSON.parse(new TextDecoder().decode(await body(answer, MAX_TEXT_BYTES, watch)));
    if (typeof error?.text === "string") text = error.text;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return errorOfStatus(answer.status, text, after > 0 ? after : null);
}
