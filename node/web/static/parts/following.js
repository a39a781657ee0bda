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

/** Whether the node has told all of them since the page was opened; else the error that it told instead, or null. */
export const reading = { done: false, error: null };

async function reload() {
  try {
    const found = (await get("/v1/transfers")).transfers;
    Object.assign(reading, { done: true, error: null });
    for (const id of [...known.keys()]) if (!found.some((one) => one.id === id)) forget(id);
    found.forEach(keep);
  } catch (error) {
    reading.error = error;
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
  const before = known.get(one.id);
  known.set(one.id, one);
  if (before?.state !== one.state) samples.delete(one.id); // they were of something else
  const bytes = counted(one);
  if (bytes === null) return;
  const now = performance.now() / 1000;
  const kept = recent(one, now);
  kept.push([now, bytes]);
  samples.set(one.id, kept);
}

/** What tells how fast it goes: bytes that the node has, then those that others have confirmed. */
const counted = (one) => ({ receiving: one.received_bytes, running: one.confirmed_bytes })[one.state] ?? null;

const recent = (one, now) => (samples.get(one.id) ?? []).filter(([at]) => now - at <= WINDOW_SECONDS);

/**
 * How fast a transfer goes, of what was received or confirmed in the last 10 seconds.
 * @returns {{rate: number, left: number|null}|null} bytes per second and seconds left of this stage; null: not known
 */
export function pace(one, now = performance.now() / 1000) {
  const kept = recent(one, now);
  if (kept.length < 2) return null;
  const [[from, before], [, after]] = [kept[0], kept[kept.length - 1]];
  if (now - from < MIN_SECONDS) return null;
  const rate = (after - before) / (now - from);
  return { rate, left: rate > 0 ? (one.total_bytes - after) / rate : null };
}
