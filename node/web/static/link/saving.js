// Downloads of this page: files and folders, opened on their way to the browser's own download folder.

import { bytesOf } from "../core/bytes.js";
import { Pace } from "./pace.js";
import { canStream, offer } from "./streams.js";
import { zip, zipSize } from "./zip.js";

/** Without a service worker a file goes through the browser's memory, and so it has a limit. */
const MAX_MEMORY_BYTES = 512 * 1024 * 1024;
const RATE_MS = 10000;

/**
 * A download. `onchange` is called at every change: of `bytes` (opened, verified and taken by the browser), `state` ("waiting"
 * for the browser, "running", "paused", "done", "failed", "cancelled"), `error`, and `waits`: why the node is waited for, or null.
 */
export class Saving {
  kind = "saving";
  bytes = 0;
  state = "waiting";
  error = null;
  waits = null;
  onchange = () => {};
  #controller = new AbortController();
  #resume = null;
  #offered = null;
  #pace = new Pace(RATE_MS);
  #read;
  #ranges;

  /**
   * @param {string} name of the file that is saved
   * @param {number} size bytes
   * @param {(start: number, stop: number, signal: AbortSignal) => AsyncIterable<Uint8Array>} read
   * @param {{ranges?: boolean}} options ranges: whether it can be read from any place
   */
  constructor(name, size, read, { ranges = true } = {}) {
    this.name = name;
    this.size = size;
    this.#read = read;
    this.#ranges = ranges;
  }

  /** Hand it to the browser. Never throws: where this browser cannot take it, `state` and `error` say so. */
  async begin(type) {
    try {
      await (canStream() ? this.#throughWorker(type) : this.#throughMemory(type));
    } catch (error) {
      if (["cancelled", "failed"].includes(this.state)) return;
      this.error = error;
      this.#become("failed");
      this.#end();
    }
  }

  /** Why the node is waited for, or null. */
  wait(waits) {
    this.waits = waits;
    this.onchange();
  }

  async #throughWorker(type) {
    const { name, size } = this;
    const read = (start, stop, signal) => this.#parts(start, stop, signal);
    this.#offered = await offer({ name, size, type, attachment: true, ranges: this.#ranges, read });
    if (this.#controller.signal.aborted) {
      this.#offered.close();
      return;
    }
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.title = name;
    frame.src = this.#offered.url;
    document.body.append(frame);
    this.#controller.signal.addEventListener("abort", () => frame.remove());
  }

  async #throughMemory(type) {
    if (this.size > MAX_MEMORY_BYTES) throw new Error("this browser can save no file as large as this from a page");
    const parts = [];
    for await (const part of this.#parts(0, this.size, this.#controller.signal)) parts.push(new Blob([part])); // a copy
    const url = URL.createObjectURL(new Blob(parts, { type }));
    const link = document.createElement("a");
    link.href = url;
    link.download = this.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }

  async *#parts(start, stop, signal) {
    const both = AbortSignal.any([signal, this.#controller.signal]);
    this.bytes = start;
    this.#become("running");
    try {
      for await (const part of this.#read(start, stop, both)) {
        while (this.#resume) await this.#resume.promise;
        both.throwIfAborted();
        const { length } = part;
        yield part; // and when the next is asked for, the browser has taken it
        this.bytes += length;
        this.waits = null; // who waited for the node may have been another reader, who is gone
        this.#pace.count(this.bytes);
        this.onchange();
      }
      this.#become("done");
      this.#end();
    } catch (error) {
      if (this.#controller.signal.aborted) throw error;
      if (signal.aborted) this.#become("cancelled"); // in the browser's own list of downloads
      else {
        this.error = error;
        this.#become("failed");
      }
      this.#end();
      throw error;
    }
  }

  #become(state) {
    this.state = state;
    this.onchange();
  }

  #end() {
    this.#controller.abort();
    setTimeout(() => this.#offered?.close(), 1000);
  }

  /** Bytes a second over the last ten seconds; null: not known. */
  get rate() {
    return this.state === "running" ? this.#pace.rate : null;
  }

  pause() {
    if (this.state !== "running") return;
    this.#resume = Promise.withResolvers ? Promise.withResolvers() : withResolvers();
    this.#become("paused");
  }

  resume() {
    if (this.state !== "paused") return;
    this.#pace.forget();
    this.#resume.resolve();
    this.#resume = null;
    this.#become("running");
  }

  cancel() {
    if (!["waiting", "running", "paused"].includes(this.state)) return;
    this.state = "cancelled";
    this.#controller.abort(new DOMException("cancelled", "AbortError"));
    this.#resume?.resolve();
    this.#resume = null;
    this.#offered?.close();
    this.onchange();
  }
}

function withResolvers() {
  const made = {};
  made.promise = new Promise((resolve) => {
    made.resolve = resolve;
  });
  return made;
}

/** The download of one file. */
export function savingFile(deposit, entry, name) {
  return new Saving(name, entry.size, (start, stop, signal) => deposit.read(entry, start, stop, { signal }));
}

/**
 * The download of a folder as a .zip.
 * @param {Deposit} deposit
 * @param {Entry[]} entries the folder's, in the manifest's order
 * @param {number} cut bytes of their paths that are left out
 */
export function savingFolder(deposit, entries, cut, name) {
  const members = entries.map((entry) => ({
    path: entry.path.slice(cut), kind: entry.kind, mtime: entry.mtime, executable: entry.executable,
    size: entry.kind === "symlink" ? bytesOf(entry.target).length : entry.size, entry,
  })).filter(({ path }) => path);
  const size = zipSize(members);
  return new Saving(`${name}.zip`, size, (start, stop, signal) => zip(members, contents(deposit, members, signal)), { ranges: false });
}

/** Reads members one after another; small files that lie side by side are fetched together. */
function contents(deposit, members, signal) {
  const runs = deposit.readRuns(members.filter(({ kind, size }) => kind === "file" && size), { signal });
  return async function* read(member) {
    if (member.kind === "symlink") {
      yield bytesOf(member.entry.target).slice();
      return;
    }
    for (let left = member.size; left > 0; ) {
      const { value, done } = await runs.next();
      if (done) return;
      left -= value.data.length;
      yield value.data.slice(); // whoever takes it keeps it, and its memory has other files in it
    }
  };
}
