// An upload through a gateway that stays blind: files sealed in this page, by a signer that exists in it alone.

import { httpPost } from "../core/http.js";
import { workerPool } from "../core/pool.js";
import { publish } from "../core/writer.js";
import { Pace } from "./pace.js";

export const KEPT_DAYS = 30;
/** Segments of 16 MiB are counted when they are placed: a shorter window would hold none on a slow line. */
const RATE_MS = 60000;

/**
 * An upload. `onchange` is called at every change: of `told` (as core/writer.js tells), `state` ("running", "done", "failed",
 * "cancelled"), `error`, `waits` (why the gateway is waited for, or null), `link` and `expiry` (seconds since 1970).
 */
export class Sending {
  kind = "sending";
  state = "running";
  error = null;
  waits = null;
  link = null;
  told = null;
  onchange = () => {};
  #cancel = new AbortController();
  #pace = new Pace(RATE_MS);

  /**
   * @param {string} name what it is called in this page
   * @param {Array<{path: string, file: File}>} files
   * @param {Uint8Array} network network id
   */
  constructor(name, files, network) {
    Object.assign(this, { name, files, network });
    this.size = files.reduce((sum, { file }) => sum + file.size, 0);
  }

  /** Bytes that are placed. */
  get bytes() {
    return this.told?.placedBytes ?? 0;
  }

  /** Bytes a second; null: not known. */
  get rate() {
    return this.state === "running" ? this.#pace.rate : null;
  }

  /** Send it all. Never throws: `state` says how it ended. */
  async begin() {
    const pool = workerPool();
    this.expiry = Math.floor(Date.now() / 1000) + KEPT_DAYS * 86400 - 3600; // our clock may be ahead of the gateway's
    this.#pace.count(0);
    try {
      const made = await publish(this.files.map(asSource), {
        post: httpPost(fetch.bind(window), "/v1/segments"), network: this.network, expiry: this.expiry, pool, signal: this.#cancel.signal,
        onProgress: (told) => { this.#pace.count(told.placedBytes); this.#set({ told }); },
        onWait: (waits) => this.#set({ waits }),
      });
      this.#set({ state: "done", link: made.link, waits: null });
    } catch (error) {
      if (!this.#cancel.signal.aborted) this.#set({ state: "failed", error, waits: null });
    } finally {
      pool.close();
    }
  }

  cancel() {
    if (this.state !== "running") return;
    this.#set({ state: "cancelled", waits: null });
    this.#cancel.abort(new DOMException("cancelled", "AbortError"));
  }

  #set(changes) {
    if (this.state === "cancelled") return;
    Object.assign(this, changes);
    this.onchange();
  }
}

function asSource({ path, file }) {
  const read = async (start, stop) => new Uint8Array(await file.slice(start, stop).arrayBuffer());
  return { path, size: file.size, mtime: file.lastModified / 1000, read };
}
