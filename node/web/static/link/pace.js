// How fast something goes, of what was counted not long ago.

const LEAST_MS = 200;

/** Bytes a second over the last `windowMs` milliseconds. */
export class Pace {
  #samples = [];

  constructor(windowMs) {
    this.windowMs = windowMs;
  }

  /** @param {number} bytes so far, in all */
  count(bytes, now = performance.now()) {
    this.#samples.push([now, bytes]);
    while (this.#samples[0][0] < now - this.windowMs) this.#samples.shift();
  }

  /** What was before a pause tells nothing of what comes after it. */
  forget() {
    this.#samples = [];
  }

  /** Bytes a second; null: not known. */
  get rate() {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    return !first || last[0] - first[0] < LEAST_MS ? null : (1000 * (last[1] - first[1])) / (last[0] - first[0]);
  }
}
