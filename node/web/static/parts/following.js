// The transfers of the node as the page knows them, and how fast they go.

import { get } from "./api.js";
import { on } from "./live.js";

const WINDOW_SECONDS = 10;
const MIN_SECONDS = 2;
const GOING = new Set(["receiving", "waiting", "running"]);

const known = new Map();
const samples = new Map();
const told = new EventTarget();

/** All of them, the newest first. */
export const transfers = () => [...known.values()].sort((a, b) => b.created - a.created || (a.id < b.id ? 1 : -1));

export const transfer = (id) => known.get(id);

/** How many have neither ended nor been paused. */
export const underWay = () => [...known.values()].filter((one) => GOING.has(one.state)).length;

export const isGoing = (one) => GOING.has(one.state);

/** Call `act` when any of them changed, until the signal. */
export function changed(signal, act) {
  told.addEventListener("changed", act, { signal });
}

/** Follow them until the signal. */
export function following(signal, act) {
  changed(signal, act);
  on("open", signal, reload);
  on("transfer", signal, (one) => {
    keep(one);
    tell();
  });
  on("gone", signal, ({ id }) => {
    forget(id);
    tell();
  });
}

async function reload() {
  try {
    const found = (await get("/v1/transfers")).transfers;
    for (const id of [...known.keys()]) if (!found.some((one) => one.id === id)) forget(id);
    found.forEach(keep);
  } catch {
    return; // the frame says that the node does not answer
  }
  tell();
}

const tell = () => told.dispatchEvent(new Event("changed"));

/** Take over what a call answered about one. */
export function took(one) {
  keep(one);
  tell();
}

function forget(id) {
  known.delete(id);
  samples.delete(id);
}

function keep(one) {
  known.set(one.id, one);
  if (one.state !== "running") {
    samples.delete(one.id);
    return;
  }
  const now = performance.now() / 1000;
  const kept = (samples.get(one.id) ?? []).filter(([at]) => now - at <= WINDOW_SECONDS);
  kept.push([now, one.confirmed_bytes]);
  samples.set(one.id, kept);
}

/**
 * How fast a transfer goes, of what was confirmed in the last 10 seconds.
 * @returns {{rate: number, left: number|null}|null} bytes per second and seconds left; null: not known
 */
export function pace(one, now = performance.now() / 1000) {
  const kept = (samples.get(one.id) ?? []).filter(([at]) => now - at <= WINDOW_SECONDS);
  if (kept.length < 2) return null;
  const [[from, before], [, after]] = [kept[0], kept[kept.length - 1]];
  if (now - from < MIN_SECONDS) return null;
  const rate = (after - before) / (now - from);
  return { rate, left: rate > 0 ? (one.total_bytes - after) / rate : null };
}
