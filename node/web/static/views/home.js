// The first thing that is seen: what this is and how to begin; with an account, how things stand.

import { takeDrops } from "../parts/choose.js";
import { fill, h } from "../parts/dom.js";
import { teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { node, on } from "../parts/live.js";
import { style } from "../parts/style.js";
import { failed, toast } from "../parts/toast.js";
import { publish } from "../parts/uploads.js";
import texts from "../text/home.js";

const t = teller(texts);

/** Gifts that were dropped before there was an account, or while it was locked. */
let kept = [];

/**
 * Show the view.
 * @param {HTMLElement} main where
 * @param {{signal: AbortSignal, go: (hash: string) => void}} context the signal ends all that the view does
 */
export async function view(main, { signal, go }) {
  await style("/views/home.css");
  if (signal.aborted) return;
  const place = h("div.view.home");
  main.append(place);
  takeDrops(signal, (gifts) => given(gifts, place), failed);
  let shown = null;
  const show = () => {
    const state = stateOf(node);
    if (state === shown) return;
    shown = state;
    render(place, state, { signal, go }).catch(failed);
  };
  on("change", signal, show);
  show();
}

function stateOf({ account }) {
  if (account === null) return "asking";
  return account.exists ? (account.unlocked ? "unlocked" : "locked") : "none";
}

async function render(place, state, context) {
  if (state === "asking") {
    fill(place, hero(), h("p.row.muted", { role: "status" }, h("span.spinner"), t("asking")));
  } else if (state === "none") {
    fill(place, hero(), keptNotice(), await begin(context));
  } else if (state === "locked") {
    const { unlockForm } = await import("./home/unlock.js");
    fill(place, hero(), keptNotice(), unlockForm(context));
  } else {
    const { summary } = await import("./home/summary.js");
    fill(place, summary({ ...context, given: (gifts) => given(gifts, place) }));
    const gifts = kept;
    kept = [];
    if (gifts.length) await given(gifts, place);
  }
}

async function given(gifts, place) {
  if (gifts.length === 0) return;
  if (node.account?.unlocked !== true) {
    kept.push(...gifts);
    place.querySelector(".kept")?.replaceWith(keptNotice());
    return;
  }
  try {
    await publish(gifts);
    toast(gifts.length === 1 ? t("begun", { name: gifts[0].name }) : t("begunMany", { count: gifts.length }));
  } catch (error) {
    failed(error);
  }
}

function keptNotice() {
  const text = kept.length ? t("waiting", { count: kept.length }) : null;
  return h("div.kept", { role: "status" }, text && h("div.notice", {}, icon("upload"), h("div", {}, text)));
}

function hero() {
  const fact = (name, drawing) => h("li", {}, icon(drawing, 22), h("div", {}, h("strong", {}, t(name)), h("div", {}, t(`${name}Text`))));
  return h("section.hero", {}, h("h1", {}, t("title")), h("p", {}, t("what")),
    h("ul", {}, fact("fact1", "lock"), fact("fact2", "network"), fact("fact3", "key")));
}

/** Two ways to begin: a new account, or one that exists elsewhere. */
async function begin(context) {
  const [{ createForm }, { restoreForm }] = await Promise.all([import("./home/create.js"), import("./home/restore.js")]);
  const forms = { create: createForm, restore: restoreForm };
  const shown = h("div");
  const tabs = Object.keys(forms).map((name) => h("button", { type: "button", onclick: () => choose(name) }, t(name)));
  const choose = (name) => {
    Object.keys(forms).forEach((other, index) => tabs[index].setAttribute("aria-pressed", String(other === name)));
    fill(shown, forms[name](context));
  };
  choose("create");
  return h("section.card.begin.stack", {}, h("div.tabs", { role: "group" }, tabs), shown);
}
