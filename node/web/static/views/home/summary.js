// How things stand: what is in the drive, how well it is, what is under way, and the quickest ways on.

import { get } from "../../parts/api.js";
import { chooseButtons } from "../../parts/choose.js";
import { fill, h } from "../../parts/dom.js";
import { changed, isGoing, transfers, underWay } from "../../parts/following.js";
import { bar, count, size } from "../../parts/format.js";
import { teller } from "../../parts/i18n.js";
import { icon } from "../../parts/icons.js";
import { problem } from "../../parts/problem.js";
import texts from "../../text/home.js";

const t = teller(texts);
const MAX_FOLDERS = 30; // looked into from here; in the drive, all of them are
const SHOWN = 4;

/** All of it. */
export function summary({ signal, go, given }) {
  const [facts, going] = [h("div"), h("div")];
  standing(facts, signal);
  const follow = () => fill(going, moving());
  changed(signal, follow);
  follow();
  let before = underWay();
  changed(signal, () => {
    if (underWay() < before) standing(facts, signal);
    before = underWay();
  });
  return [
    h("div.stack", {}, h("h1", {}, t("hello")), h("p.lead", {}, t("helloWhat"))),
    h("section.card.drop.invitation", {}, icon("upload", 40), h("div", {}, h("h2", {}, t("dropTitle")), h("p.muted", {}, t("dropMore"))), h("div.row", {}, chooseButtons(given, true))),
    facts,
    h("div.grid", {}, h("section.card.stack", { "aria-live": "polite" }, h("div.spread", {}, h("h2", {}, t("transfersTitle")), h("a.small", { href: "#/transfers" }, t("allTransfers"))), going), opener(go)),
  ];
}

async function standing(place, signal) {
  try {
    const { items, ending, whole } = await everything(signal);
    const kept = items.filter((item) => item.kind !== "folder");
    const bytes = kept.reduce((sum, item) => sum + (item.mine ? item.size ?? 0 : 0), 0);
    const sign = whole ? "" : t("atLeast");
    const health = h("dd", { "aria-live": "polite" }, kept.length ? h("span.muted", {}, t("looking")) : h("span.muted", {}, t("noDeposits")));
    const fact = (name, value) => h("div", {}, h("dt", {}, t(name)), value);
    fill(place, h("section.card", {}, h("dl.facts", {}, fact("space", h("dd", {}, sign, size(bytes))), fact("deposits", h("dd", {}, sign, count(kept.length))), fact("health", health),
      ending.length ? fact("expiring", h("dd", {}, count(ending.length))) : null)));
    if (kept.length) await wellness(health, items, signal);
  } catch (error) {
    if (!signal.aborted) fill(place, problem(error));
  }
}

/** What lies in the first folders of the drive. The node answers from its own copy. */
async function everything(signal) {
  const folders = [""];
  const items = [];
  let ending = [];
  for (let at = 0; at < Math.min(folders.length, MAX_FOLDERS); at += 1) {
    const found = await get(`/v1/drive?path=${encodeURIComponent(folders[at])}`, { signal });
    items.push(...found.items);
    folders.push(...found.items.filter((item) => item.kind === "folder").map((item) => item.path));
    if (at === 0) ending = found.ending;
  }
  return { items, ending, whole: folders.length <= MAX_FOLDERS };
}

/** The health of each folder's things, one folder after another. */
async function wellness(place, items, signal) {
  const folders = ["", ...items.filter((item) => item.kind === "folder").map((item) => item.path)].slice(0, MAX_FOLDERS);
  let [unwell, unknown] = [0, 0];
  for (const folder of folders) {
    const { items: found } = await get(`/v1/drive/health?path=${encodeURIComponent(folder)}`, { signal });
    for (const one of Object.values(found)) {
      if (one.state === "unknown") unknown += 1;
      else if (!one.healthy) unwell += 1;
    }
  }
  const text = unwell ? t("unwell", { count: unwell }) : unknown ? t("unknown", { count: unknown }) : t("healthy");
  fill(place, h("a.row", { href: "#/drive" }, h(unwell ? "span.dot.warn" : unknown ? "span.dot" : "span.dot.good"), text));
}

function moving() {
  const shown = transfers().filter(isGoing).slice(0, SHOWN);
  if (shown.length === 0) return h("p.muted", {}, t("nothingGoing"));
  return h("ul.stack", {}, shown.map((one) => {
    const done = one.state === "receiving" ? one.received_bytes : one.confirmed_bytes;
    const share = one.total_bytes ? done / one.total_bytes : 0;
    return h("li.stack.tight", {}, h("div.spread", {}, h("span.clip", {}, one.name), h("span.small.muted.number", {}, one.total_bytes === null ? "" : t("ofBytes", { done: size(done), total: size(one.total_bytes) }))),
      bar(one.name, [[one.state === "receiving" ? "part" : "done", share]]));
  }));
}

function opener(go) {
  const open = (event) => {
    event.preventDefault();
    const word = new FormData(event.target).get("link").trim();
    go(`#${word.includes("#") ? word.slice(word.indexOf("#") + 1) : word}`);
  };
  return h("form.card.stack", { onsubmit: open }, h("h2", {}, t("linkTitle")), h("div.field", {}, h("label", { for: "link" }, t("linkField")),
    h("input", { id: "link", name: "link", required: true, autocomplete: "off", spellcheck: "false", placeholder: "archipel:…" }), h("p.help", {}, t("linkHelp"))),
    h("div", {}, h("button.button", { type: "submit" }, icon("link"), t("open"))));
}
