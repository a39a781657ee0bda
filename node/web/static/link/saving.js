// Downloads of this page: files and folders, opened on their way to the browser's own download folder.

import { bytesOf } from "../core/bytes.js";
import { canStream, offer } from "./streams.js";
import { zip, zipSize } from "./zip.js";

/** Without a service worker a file goes through the browser's memory, and so it has a limit. */
const MAX_MEMORY_BYTES = 512 * 1024 * 1024;
const RATE_MS = 10000;

/**
 * A download. `changed` hears of every change: of `bytes` (opened, verified and taken by the browser), `size`, `state`
 * ("waiting" for the browser, "running", "paused", "done", "failed", "cancelled"), `error`, and `waiting`, why the node is waited for.
 */
export class Saving {
  #controller = new AbortController();
  #resume = null;
  #offered = null;
  #samples = [];

  constructor(name, size, read, changed) {
    this.name = name;
    this.size = size;
    this.bytes = 0;
    this.state = "waiting";
    this.error = null;
    this.#read = read;
    this.#changed = changed;
  }

  #read;
  #changed;

  /** Hand it to the browser. @throws Error: this browser cannot take it */
  async begin(type) {
    if (!canStream()) {
      await this.#throughMemory(type);
      return;
    }
    const { name, size } = this;
    this.#offered = await offer({ name, size, type, attachment: true, read: (start, stop, signal) => this.#parts(start, stop, signal) });
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
        this.#sample();
        this.#changed();
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
    this.#changed();
  }

  #end() {
    this.#controller.abort();
    setTimeout(() => this.#offered?.close(), 1000);
  }

  #sample() {
    const now = performance.now();
    this.#samples.push([now, this.bytes]);
    while (this.#samples[0][0] < now - RATE_MS) this.#samples.shift();
  }

  /** Bytes a second over the last ten seconds; null: not known. */
  get rate() {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    return this.state !== "running" || !first || last[0] - first[0] < 200 ? null : (1000 * (last[1] - first[1])) / (last[0] - first[0]);
  }

  pause() {
    if (this.state !== "running") return;
    this.#resume = Promise.withResolvers ? Promise.withResolvers() : withResolvers();
    this.#become("paused");
  }

  resume() {
    if (this.state !== "paused") return;
    this.#samples = [];
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
    this.#changed();
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
export function savingFile(deposit, entry, name, changed) {
  return new Saving(name, entry.size, (start, stop, signal) => deposit.read(entry, start, stop, { signal }), changed);
}

/**
 * The download of a folder as a .zip.
 * @param {Deposit} deposit
 * @param {Entry[]} entries the folder's, in the manifest's order
 * @param {number} cut bytes of their paths that are left out
 */
export function savingFolder(deposit, entries, cut, name, changed) {
  const members = entries.map((entry) => ({
    path: entry.path.slice(cut), kind: entry.kind, mtime: entry.mtime, executable: entry.executable,
    size: entry.kind === "symlink" ? bytesOf(entry.target).length : entry.size, entry,
  })).filter(({ path }) => path);
  const size = zipSize(members);
  return new Saving(`${name}.zip`, size, (start, stop, signal) => {
    if (start !== 0 || stop !== size) throw new Error("a folder comes from its beginning to its end");
    return zip(members, contents(deposit, members, signal));
  }, changed);
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
