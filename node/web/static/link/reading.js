// Many files one after another; small ones that share a segment are fetched together.

import { Entry } from "../core/manifest.js";

/**
 * The bytes of files, in the manifest's order; no part belongs to two files.
 * @param {Deposit} deposit
 * @param {Entry[]} entries files with something in them
 * @param {{signal?: AbortSignal}} options
 * @returns {AsyncGenerator<Uint8Array>} parts in memory of their own
 */
export async function* readMany(deposit, entries, { signal } = {}) {
  for (const run of runs(entries)) {
    let [at, left] = [0, run[0].size];
    for await (const part of deposit.read(asOne(run), undefined, undefined, { signal })) {
      for (let from = 0; from < part.length; ) {
        const stop = Math.min(part.length, from + left);
        yield run.length === 1 ? part : part.slice(from, stop);
        left -= stop - from;
        from = stop;
        if (left === 0 && at + 1 < run.length) left = run[(at += 1)].size;
      }
    }
  }
}

/** Files that lie behind each other in one segment. */
function* runs(entries) {
  let run = [];
  for (const entry of entries) {
    const last = run.at(-1);
    if (last && (entry.segment !== last.segment || entry.offset !== last.offset + last.size)) {
      yield run;
      run = [];
    }
    run.push(entry);
  }
  if (run.length) yield run;
}

function asOne(run) {
  if (run.length === 1) return run[0];
  const { raw, segment, offset } = run[0];
  return new Entry({ raw, number: 0, segment, offset, size: run.reduce((sum, { size }) => sum + size, 0) });
}
