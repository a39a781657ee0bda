// How things stand: what is in the drive, how well it is, what is under way, and the quickest ways on.

import { get } from "../../parts/api.js";
import { chooseButtons } from "../../parts/choose.js";
import { copy } from "../../parts/copy.js";
import { fill, h } from "../../parts/dom.js";
import { changed, isGoing, transfers, underWay } from "../../parts/following.js";
import { bar, count, size } from "../../parts/format.js";
import { teller } from "../../parts/i18n.js";
import { icon } from "../../parts/icons.js";
import { node } from "../../parts/live.js";
import { problem } from "../../parts/problem.js";
import texts from "../../text/home.js";

const t = teller(texts);
const MAX_FOLDERS = 30; // looked into from here; in the drive, all of them are
const MAX_LOOKS = 10;
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
    h("div.grid", {}, h("section.card.stack", { "aria-live": "polite" }, h("div.spread", {}, h("h2", {}, t("transfersTitle")), h("a.small", { href: "#/transfers" }, t("allTransfers"))), going), h("div.stack", {}, opener(go), ownKey())),
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
    if (kept.length) await wellness(health, items, whole, signal);
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

/** The health of each folder's things, one folder after another. What was not counted is never said to be whole. */
async function wellness(place, items, whole, signal) {
  const folders = ["", ...items.filter((item) => item.kind === "folder").map((item) => item.path)].slice(0, MAX_FOLDERS);
  const counted = { well: 0, unwell: 0, unknown: 0 };
  for (const folder of folders) {
    const { found, waiting } = await counting(folder, signal);
    for (const one of found) counted[one.state === "unknown" ? "unknown" : one.healthy ? "well" : "unwell"] += 1;
    counted.unknown += waiting.length;
    if (counted.unwell) showWellness(place, counted, whole);
  }
  showWellness(place, counted, whole);
}

/** Asks again, as long as the node has not counted all; what it has not in the end is waiting. */
async function counting(folder, signal) {
  for (let looks = 1; ; looks += 1) {
    const { items, waiting } = await get(`/v1/drive/health?path=${encodeURIComponent(folder)}`, { signal });
    if (waiting.length === 0 || looks === MAX_LOOKS) return { found: Object.values(items), waiting };
  }
}

function showWellness(place, { well, unwell, unknown }, whole) {
  const [dot, text] = unwell ? ["span.dot.warn", t("unwell", { count: unwell })]
    : unknown ? ["span.dot", t("unknown", { count: unknown })]
    : whole ? ["span.dot.good", t("healthy")] : ["span.dot", t("healthySome", { count: well })];
  fill(place, h("a.row", { href: "#/drive" }, h(dot), text));
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

/** Others seal links to it. */
function ownKey() {
  const { key } = node.account;
  return h("section.card.stack", {}, h("h2", {}, t("keyTitle")), h("p.muted", {}, t("keyWhat")), h("code.mono", {}, key),
    h("div", {}, h("button.button.small", { type: "button", onclick: () => copy(key, t("keyCopied")) }, icon("copy", 18), t("copy"))));
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
