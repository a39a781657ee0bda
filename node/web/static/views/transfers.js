// What is on its way, in both directions, with figures that the node has confirmed.

import { worksOfThisPage } from "../link/underway.js";
import { post } from "../parts/api.js";
import { choose } from "../parts/choose.js";
import { dialog } from "../parts/dialog.js";
import { fill, h } from "../parts/dom.js";
import { changed, isGoing, reading, took, transfers } from "../parts/following.js";
import { teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { node, on } from "../parts/live.js";
import { problem } from "../parts/problem.js";
import { repeat } from "../parts/repeat.js";
import { style } from "../parts/style.js";
import { failed, toast } from "../parts/toast.js";
import { goOn, isFolder, lookAround, tryAgain, uploadsChanged } from "../parts/uploads.js";
import texts from "../text/transfers.js";
import { Entry } from "./transfers/entry.js";

const t = teller(texts);
const MOST_CARDS = 50; // of each kind
const TICK_MS = 1000; // speeds and waits change without events

/**
 * Show the view.
 * @param {HTMLElement} main where
 * @param {{signal: AbortSignal}} context the signal ends all that the view does
 */
export async function view(main, { signal }) {
  await style("/views/transfers.css");
  if (signal.aborted) return;
  const [list, said, clear] = [h("div.stack"), h("p.hidden-label", { role: "status" }), h("div")];
  main.append(h("div.view", {}, h("div.head", {}, h("h1", {}, t("title")), clear), said, list));
  list.before(worksOfThisPage(signal, { headed: true }));
  const entries = new Map();
  const acts = actsOf(signal);
  const show = () => render(list, clear, entries, acts);
  changed(signal, show);
  uploadsChanged(signal, show);
  on("change", signal, show);
  on("transfer", signal, announcer(said));
  repeat(signal, async () => {
    await lookAround().catch(() => null); // the frame says that the node does not answer; it is done again
    show();
    return TICK_MS;
  });
  show();
}

function render(list, clear, entries, acts) {
  const all = transfers();
  const going = all.filter((one) => isGoing(one) || one.state === "paused" || one.state === "failed");
  const over = all.filter((one) => !going.includes(one));
  for (const id of [...entries.keys()]) if (!all.some((one) => one.id === id)) entries.delete(id);
  const card = (one) => {
    if (!entries.has(one.id)) entries.set(one.id, new Entry(acts));
    return entries.get(one.id).show(one);
  };
  const some = (ones, kind) => [...ones.slice(0, MOST_CARDS).map(card), ...(ones.length > MOST_CARDS ? [others(list, kind, ones.length - MOST_CARDS)] : [])];
  const wanted = [...some(going, "going"), ...(over.length ? [heading(list)] : []), ...some(over, "over")];
  if (all.length === 0) wanted.push(nothing(list));
  if (wanted.length !== list.children.length || wanted.some((node, index) => list.children[index] !== node)) arrange(list, wanted);
  if ((over.length > 0) !== clear.hasChildNodes()) {
    fill(clear, over.length ? h("button.button", { type: "button", onclick: () => acts.clear() }, t("clear")) : null);
  }
}

/** In order, moving no more than has to be: what has the focus keeps it. */
function arrange(list, wanted) {
  for (const child of [...list.children]) if (!wanted.includes(child)) child.remove();
  wanted.forEach((node, index) => { if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null); });
}

/** How many more there are than cards. */
function others(list, kind, count) {
  const line = list.querySelector(`[data-more="${kind}"]`) ?? h("p.muted", { "data-more": kind });
  line.textContent = t("moreCards", { count });
  return line;
}

const heading = (list) => list.querySelector("h2.over") ?? h("h2.over", {}, t("over"));

/** That there is nothing is said only when the node has said so. */
function nothing(list) {
  const state = reading.done ? "none" : reading.error?.message ?? "reading";
  const before = list.firstElementChild;
  if (before?.dataset.state === state) return before;
  const made = reading.done ? empty() : reading.error ? problem(reading.error) : h("p.row.muted", {}, h("span.spinner"), t("reading"));
  made.dataset.state = state;
  return made;
}

function empty() {
  const way = node.account?.unlocked ? h("a.button", { href: "#/drive" }, t("toDrive")) : h("a.button", { href: "#/" }, t("toHome"));
  return h("section.empty.card.flat", {}, icon("transfers", 44), h("h2", {}, t("none")), h("p", {}, t("noneWhat")), way);
}

/** Screen readers hear of beginnings and ends, not of each figure. */
function announcer(said) {
  const before = new Map(transfers().map((one) => [one.id, one.state]));
  return ({ id, state, name }) => {
    if (before.get(id) === state) return;
    before.set(id, state);
    if (["done", "failed", "paused", "running"].includes(state)) said.textContent = t(`said-${state}`, { name });
  };
}

function actsOf(signal) {
  const act = (what) => async (one) => {
    try {
      const now = await post(`/v1/transfers/${one.id}/${what}`);
      if (what !== "forget") took(now);
    } catch (error) {
      failed(error);
    }
  };
  const acts = { pause: act("pause"), resume: act("resume"), cancel: act("cancel"), forget: act("forget"), tryAgain: (one) => tryAgain(one.id) };
  acts.clear = async () => {
    for (const one of transfers()) if (["done", "cancelled"].includes(one.state)) await acts.forget(one);
  };
  acts.chooseAgain = (one) => again(one, signal);
  return acts;
}

/** The page was loaded anew and has not the files any more: the browser gives them only if somebody chooses them. */
async function again(one, signal) {
  const gifts = await choose({ folder: isFolder(one.id), many: false });
  if (gifts.length === 0) return;
  try {
    const wrong = await goOn(one.id, gifts);
    if (wrong.length === 0) toast(t("goesOn", { name: one.name }));
    else dialog(t("notTheSame"), () => [h("p", {}, t("notTheSameWhat")), h("ul.stack.wrong", {}, wrong.slice(0, 20).map((path) => h("li.mono", {}, path)))], { signal });
  } catch (error) {
    failed(error);
  }
}
