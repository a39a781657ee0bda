// How safe a deposit is now: which of its chunks answer, by claimed country. Works with a verify link as well.

import { hex } from "../core/bytes.js";
import { ApiError } from "../parts/api.js";
import { fill, h } from "../parts/dom.js";
import { bar, count, country, list } from "../parts/format.js";

const AT_ONCE = 3;
/** A round over a large deposit takes long; its segments lie alike, so that some of them tell enough. */
const MOST_SEGMENTS = 200;

/**
 * Count live chunks and tell of them in `place`.
 * @param {HTMLElement} place
 * @param {Deposit} deposit
 * @param {{signal: AbortSignal, t: Function}} context
 */
export async function checking(place, deposit, { signal, t }) {
  const ids = sample([deposit.link.root, ...deposit.index.map(({ id }) => id)], MOST_SEGMENTS);
  const found = [];
  const left = ids.values();
  const told = h("div", { role: "status" });
  fill(place, told);
  const work = async () => {
    for (const id of left) {
      found.push(await holders(id, signal));
      fill(told, h("p.muted", {}, t("checkingNow", { done: found.length, all: ids.length })), bar(t("check"), [["done", found.length / ids.length]]));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const all = deposit.index.length + 1;
  fill(told, verdict(found, t), ids.length < all ? h("p.small.muted", {}, t("sampled", { asked: count(ids.length), all: count(all) })) : null);
}

/** The first, the last, and evenly what lies between. */
function sample(ids, most) {
  if (ids.length <= most) return ids;
  return Array.from({ length: most }, (_, at) => ids[Math.round((at * (ids.length - 1)) / (most - 1))]);
}

async function holders(id, signal) {
  const answer = await fetch(`/v1/segments/${hex(id)}/holders`, { cache: "no-store", credentials: "omit", signal });
  const said = await answer.json();
  if (!answer.ok) throw new ApiError(answer.status, said.error);
  return said;
}

function verdict(found, t) {
  const live = ({ holders: all }) => new Set(all.filter((one) => one.live).map(({ index }) => index)).size;
  const margin = (one) => live(one) - (one.k ?? 0);
  const weakest = found.reduce((least, one) => (margin(one) < margin(least) ? one : least));
  const values = { live: live(weakest), k: weakest.k ?? "?", n: weakest.n ?? "?" };
  const state = weakest.k === null || margin(weakest) < 0 ? "lost" : found.every((one) => live(one) === one.n) ? "healthy" : "weak";
  const chunks = {};
  for (const one of found.flatMap(({ holders: all }) => all.filter((holder) => holder.live))) {
    chunks[one.country ?? ""] = (chunks[one.country ?? ""] ?? 0) + 1;
  }
  const named = Object.entries(chunks).sort((one, other) => other[1] - one[1]).map(([code, number]) => `${code === "" ? t("noWhere") : country(code)} ${number}`);
  return [
    h(`p.notice.${{ lost: "bad", weak: "warn", healthy: "good" }[state]}`, {}, t(state, values)),
    named.length ? h("p.small.muted", {}, t("claimed", { countries: list(named) })) : null,
  ];
}
