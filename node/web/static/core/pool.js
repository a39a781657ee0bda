/** Workers that hash, open and seal, so that the page stays responsive. */

import { Network, unpacked } from "./errors.js";
import { tasks } from "./tasks.js";

const WORKERS = 2;

/** @returns {Pool} of two workers of this page; close it when it is no longer needed */
export function workerPool() {
  return new Pool(WORKERS, () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" }));
}

/** @returns {{run: Function, close: Function}} the same work done where it is called: in workers, and without a browser */
export function inlinePool() {
  return { run: async (task, input) => (await tasks[task](input)).result, close() {} };
}

class Pool {
  #workers = [];
  #numbers = 0;

  constructor(size, spawn) {
    this.size = size;
    this.spawn = spawn;
  }

  /**
   * Runs one of tasks.js in the worker that has least to do.
   *
   * @param {string} task its name
   * @param {object} input
   * @param {Transferable[]} transfer memory in the input that is given away
   */
  run(task, input, transfer) {
    const number = ++this.#numbers;
    const one = this.#choose();
    return new Promise((resolve, reject) => {
      one.waiting.set(number, { resolve, reject });
      one.worker.postMessage({ number, task, input }, transfer);
    });
  }

  /** Ends the workers; what they had to do fails. */
  close() {
    for (const one of this.#workers) this.#drop(one, new DOMException("the page no longer needs it", "AbortError"));
  }

  #choose() {
    const least = this.#workers.toSorted((one, other) => one.waiting.size - other.waiting.size)[0];
    if (least !== undefined && (!least.waiting.size || this.#workers.length === this.size)) return least;
    const one = { worker: this.spawn(), waiting: new Map() };
    one.worker.addEventListener("message", ({ data: { number, result, error } }) => {
      const { resolve, reject } = one.waiting.get(number);
      one.waiting.delete(number);
      if (error === undefined) resolve(result);
      else reject(unpacked(error));
    });
    one.worker.addEventListener("error", () => this.#drop(one, new Network("a worker of this page could not be started")));
    this.#workers.push(one);
    return one;
  }

  #drop(one, reason) {
    one.worker.terminate();
    this.#workers = this.#workers.filter((other) => other !== one);
    for (const { reject } of one.waiting.values()) reject(reason);
  }
}
