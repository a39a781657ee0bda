/** Going on when a node was away for a while. */

import { Network, NotFound } from "./errors.js";

const PATIENCE_SECONDS = 60;
/** A node that has just started knows few others: what it does not find then, it may find soon. */
const NOT_FOUND_SECONDS = 20;
const FIRST_PAUSE_SECONDS = 0.25, LONGEST_PAUSE_SECONDS = 5;

/**
 * @typedef {object} Waiting shared by the requests to one node
 * @property {(told: {cause: string, seconds: number}|null) => void} [onWait] called before each pause with the cause
 *   and how long it has been waiting, and with null once it goes on
 * @property {number} [failedAt] when the node was last found away, as performance.now()
 */

/**
 * Calls `attempt` until it no longer fails for want of a node, for at most a minute.
 *
 * @param {() => Promise<any>} attempt
 * @param {Waiting} waiting
 * @param {AbortSignal} [signal] ends it, with the signal's reason
 */
export async function persist(attempt, waiting, signal) {
  let began = null;
  for (let pause = FIRST_PAUSE_SECONDS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_SECONDS)) {
    signal?.throwIfAborted();
    try {
      const result = await attempt();
      if (began !== null) waiting.onWait?.(null);
      return result;
    } catch (error) {
      signal?.throwIfAborted();
      const now = performance.now();
      if (error instanceof Network) waiting.failedAt = now;
      const patience = patienceFor(error, now - (waiting.failedAt ?? -Infinity));
      began ??= now;
      const seconds = (now - began) / 1000;
      const next = Math.max(pause, error.retrySeconds ?? 0);
      if (seconds + next > patience) throw error;
      waiting.onWait?.({ cause: error.message, seconds });
      await sleep(next, signal);
    }
  }
}

/** Seconds that are waited for what failed so to work again; `since` the node was away, in milliseconds. */
function patienceFor(error, since) {
  if (error instanceof Network) return PATIENCE_SECONDS;
  return error instanceof NotFound && since < 1000 * PATIENCE_SECONDS ? NOT_FOUND_SECONDS : 0;
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, 1000 * seconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
