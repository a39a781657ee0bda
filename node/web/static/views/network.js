// The network by claimed country: who is there, where my chunks are, and what if a country vanished.

import { get } from "../parts/api.js";
import { fill, h } from "../parts/dom.js";
import { bar, count, country, relative, size } from "../parts/format.js";
import { teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { on } from "../parts/live.js";
import { problem } from "../parts/problem.js";
import { repeat } from "../parts/repeat.js";
import { style } from "../parts/style.js";
import { worldMap } from "../parts/worldmap.js";
import texts from "../text/network.js";

const t = teller(texts);
const SOON_MS = 1200;
const LATER_MS = 30000;
const LISTED = 8;

/**
 * Show the view.
 * @param {HTMLElement} main where
 * @param {{signal: AbortSignal}} context the signal ends all that the view does
 */
export async function view(main, { signal }) {
  await style("/views/network.css");
  const place = Object.fromEntries(["head", "facts", "readout", "losing", "drive", "table"].map((name) => [name, h("div", {})]));
  const state = { network: null, mine: null, closed: null, chosen: null, by: "nodes", pointed: null };
  const map = await worldMap({
    label: t("mapLabel"),
    choose: (code) => choose(code === state.chosen ? null : code),
    point: (code) => { state.pointed = code; fill(place.readout, readout(state)); },
  });
  if (signal.aborted) return;
  const tabs = h("div.tabs", { role: "group", "aria-label": t("colouredBy") }, ["nodes", "chunks"].map((by) =>
    h("button", { type: "button", "data-by": by, onclick: () => { state.by = by; render(); } }, t(by === "nodes" ? "byNodes" : "byChunks"))));
  place.readout.className = "readout muted";
  place.losing.setAttribute("aria-live", "polite");
  main.append(h("div.view.network", {}, h("div.stack", {}, h("h1", {}, t("title")), h("p.lead", {}, t("lead"))), place.head, place.facts,
    h("section.card.atlas", { "aria-label": t("map") }, h("div.spread", {}, place.readout, tabs), map.element, place.losing),
    place.drive, h("section.card.stack", {}, h("h2", {}, t("tableTitle")), place.table)));

  function choose(code) {
    state.chosen = code;
    render();
  }

  function render() {
    if (signal.aborted || state.network === null) return;
    const claims = byCountry(state);
    for (const tab of tabs.children) tab.setAttribute("aria-pressed", String(tab.dataset.by === state.by));
    fill(place.facts, facts(state.network));
    fill(place.readout, readout(state));
    map.show({
      figures: new Map([...claims].map(([code, claim]) => [code, state.by === "nodes" ? claim.nodes : claim.chunks])),
      told: (code) => said(code, claims.get(code), state),
      chosen: state.chosen,
      own: state.network.own.country,
    });
    fill(place.losing, state.chosen === null ? null : losing(state, claims.get(state.chosen), () => choose(null)));
    fill(place.drive, driveCard(state));
    keepFocus(place.table, () => fill(place.table, table(state, claims, choose)));
  }

  repeat(signal, async () => {
    try {
      state.network = await get("/v1/network", { signal });
      fill(place.head);
      render();
      return state.network.counting ? SOON_MS : LATER_MS;
    } catch (error) {
      if (!signal.aborted) fill(place.head, problem(error));
      return LATER_MS / 3;
    }
  });
  const again = repeat(signal, async () => {
    try {
      state.mine = await get("/v1/network/deposits", { signal });
      state.closed = null;
    } catch (error) {
      if (signal.aborted) return LATER_MS;
      state.mine = null;
      state.closed = error;
    }
    render();
    return state.mine?.counting ? SOON_MS : LATER_MS;
  });
  on("change", signal, again);
  on("account", signal, again);
}

/** Claims and my chunks of each claimed country; my chunks may be with nodes that are not known here. */
function byCountry({ network, mine }) {
  const found = new Map();
  const at = (code) => {
    if (!found.has(code)) found.set(code, { nodes: 0, storing: 0, free_bytes: 0, chunks: 0 });
    return found.get(code);
  };
  for (const [code, claim] of Object.entries(network.countries)) Object.assign(at(code), claim);
  for (const deposit of mine?.deposits ?? []) {
    for (const [code, chunks] of Object.entries(deposit.countries)) at(code).chunks += chunks;
  }
  return new Map([...found].sort(([one, a], [other, b]) => b.nodes - a.nodes || b.chunks - a.chunks || (one < other ? -1 : 1)));
}

/** What becomes of each of my deposits without a country. */
function without(mine, code) {
  const found = { lost: [], degraded: [], untouched: [], unsure: [] };
  for (const deposit of mine.deposits) {
    const fate = deposit.state === "lost" ? "lost" : deposit.survives === null ? "unsure"
      : deposit.survives.not_country.includes(code) ? "lost" : deposit.countries[code] ? "degraded" : "untouched";
    found[fate].push(deposit);
  }
  return found;
}

/** The figures of a country in one line; those of my chunks where they are known. */
function said(code, claim, { mine }) {
  const there = t("said", { country: country(code), nodes: t("nodeCount", { count: claim.nodes }), room: size(claim.free_bytes) });
  return mine === null ? there : there + t("mineThere", { chunks: t("chunkCount", { count: claim.chunks }) });
}

function readout(state) {
  const code = state.pointed ?? state.chosen;
  if (code === null || state.network === null) return t("pick");
  const claim = byCountry(state).get(code);
  return claim === undefined ? t("nobody", { country: country(code) }) : said(code, claim, state);
}

function facts(network) {
  const claims = [...Object.values(network.countries), network.unknown];
  const sum = (name) => claims.reduce((total, claim) => total + claim[name], 0);
  const own = network.own.country ? t("ownAt", { country: country(network.own.country) }) : t("ownNowhere");
  const figures = [
    [t("nodes"), count(network.nodes)], [t("storing"), count(sum("storing"))],
    [t("countries"), count(Object.keys(network.countries).length)], [t("room"), size(sum("free_bytes"))],
  ];
  return h("div.card", {}, h("dl.facts", {}, figures.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))),
    h("div", {}, h("dt", {}, t("own")), h("dd.plain", {}, own, network.own.storing ? null : h("span.badge.warn", {}, t("notStoring"))))),
  h("p.muted.small.foot", {}, network.counting ? t("asking", { asked: network.asked, contacts: network.contacts }) : t("asked", { when: relative(network.counted) }),
    network.silent ? ` · ${t("silent", { count: network.silent })}` : null));
}

function losing(state, claim, close) {
  const code = state.chosen;
  const cross = h("button.button.quiet.icon.small", { type: "button", "aria-label": t("close"), onclick: close }, icon("cross"));
  const gone = t("andNodes", { nodes: t("nodeCount", { count: claim?.nodes ?? 0 }), room: size(claim?.free_bytes ?? 0) });
  return h("div.losing", {}, h("div.spread", {}, h("h2", {}, t("vanished", { country: country(code) })), cross),
    h("p.muted", {}, gone), state.mine === null ? closedNote(state) : fates(state.mine, code));
}

function fates(mine, code) {
  const found = without(mine, code);
  const all = mine.deposits.length;
  if (all === 0) return h("p", {}, mine.counting ? t("survey", mine) : t("empty"));
  const there = mine.deposits.some((deposit) => deposit.countries[code]);
  const verdict = found.lost.length ? h("p.notice.bad", {}, icon("warning"), h("strong", {}, t("someLost", { count: found.lost.length })))
    : there ? h("p.notice.good", {}, icon("check"), h("strong", {}, t("allStay"))) : h("p.notice", {}, icon("info"), t("noneThere"));
  const shares = [["good", found.untouched], ["part", found.degraded], ["bad", found.lost]].map(([kind, some]) => [kind, some.length / all]);
  const legend = ["untouched", "degraded", "lost", "unsure"].filter((fate) => found[fate].length)
    .map((fate) => h("li.row", {}, h(`span.key.${fate}`, {}), t("legend", { what: t(fate), count: count(found[fate].length) })));
  return [verdict, bar(t("vanished", { country: country(code) }), shares), h("ul.row.small", {}, legend),
    [...found.lost, ...found.degraded].length ? casualties([...found.lost, ...found.degraded], code, found.lost) : null,
    there ? h("p.muted.small", {}, t("repaired")) : null];
}

function casualties(some, code, lost) {
  const rows = some.slice(0, LISTED).map((deposit) => h("li.spread", {},
    h("span.row", {}, h(`span.dot.${lost.includes(deposit) ? "bad" : "warn"}`, {}), h("span.path", {}, deposit.path)),
    h("span.muted.small.number", {}, lost.includes(deposit) ? `${t("lost")} · ` : null, t("loses", { chunks: deposit.countries[code] ?? 0, all: deposit.chunks }))));
  return h("ul.casualties", {}, rows, some.length > LISTED ? h("li.muted.small", {}, t("more", { count: some.length - LISTED })) : null);
}

/** Why nothing is said of the drive. */
function closedNote({ closed }) {
  if (closed === null) return h("span.spinner", { role: "status" });
  if (![3, 4].includes(closed.exit)) return problem(closed);
  return h("div.notice", {}, icon("lock"), h("div", {}, t(closed.exit === 3 ? "noAccount" : "locked"), " ", h("a", { href: "#/home" }, t("goHome"))));
}

function driveCard(state) {
  const { mine } = state;
  if (mine === null) return h("section.card.stack", {}, h("h2", {}, t("drive")), closedNote(state));
  const all = mine.deposits.length;
  const with_ = (name) => mine.deposits.filter((deposit) => deposit.state === name).length;
  const safe = mine.deposits.filter((deposit) => deposit.survives !== null && deposit.survives.nodes >= 0 && deposit.survives.not_country.length === 0).length;
  const figures = [["total", all], ["whole", with_("whole")], ["weak", with_("weak")], ["gone", with_("lost")], ["unsure", with_("unknown")]];
  const told = mine.counting ? t("survey", mine) : mine.counted ? t("counted", { when: relative(mine.counted) }) : null;
  return h("section.card.stack", {}, h("div.spread", {}, h("h2", {}, t("drive")), h("span.muted.small", { role: "status" }, told)),
    mine.counting && mine.total ? bar(told, [["done", mine.done / mine.total]]) : null,
    mine.trouble ? h("p.notice.warn", {}, icon("warning"), h("span", {}, t("stale", { why: mine.trouble }))) : null,
    all === 0 ? h("p.muted", {}, mine.counting ? null : t("empty")) : [
      h("dl.facts", {}, figures.filter(([key, value]) => value || key !== "unsure").map(([key, value]) => h("div", {}, h("dt", {}, t(key)), h("dd", {}, count(value))))),
      h("p", {}, t("anyText", { count: safe, all })),
    ],
    mine.left_out ? h("p.muted.small", {}, t("leftOut", { count: mine.left_out })) : null);
}

function table(state, claims, choose) {
  const { network, mine, chosen } = state;
  const rows = [...claims].map(([code, claim]) => h("tr", { "aria-selected": String(code === chosen) },
    h("th", { scope: "row" }, h("button.link", { type: "button", "data-code": code, "aria-pressed": String(code === chosen), title: t("whatIf"),
      onclick: () => choose(code === chosen ? null : code) }, h("span.code.mono", {}, code), h("span", {}, country(code)))),
    h("td.number", {}, count(claim.nodes)), h("td.number.wide", {}, count(claim.storing)), h("td.number.wide", {}, size(claim.free_bytes)),
    h("td.number", {}, mine === null ? "–" : count(claim.chunks)), h("td", {}, loss(mine, code))));
  if (network.unknown.nodes) {
    rows.push(h("tr", {}, h("th.muted", { scope: "row" }, t("unknown")), h("td.number", {}, count(network.unknown.nodes)),
      h("td.number.wide", {}, count(network.unknown.storing)), h("td.number.wide", {}, size(network.unknown.free_bytes)),
      h("td.number", {}, mine === null ? "–" : count(mine.deposits.reduce((sum, deposit) => sum + deposit.unclaimed, 0))), h("td", {})));
  }
  const heads = [["country", ""], ["nodes", "number"], ["storing", "number.wide"], ["free", "number.wide"], ["mine", "number"], ["loss", ""]];
  return h("div.scroll", { role: "region", tabindex: 0, "aria-label": t("tableTitle") }, h("table.table", {}, h("thead", {}, h("tr", {}, heads.map(([key, kind]) =>
    h(kind ? `th.${kind}` : "th", { scope: "col" }, t(key))))), h("tbody", {}, rows)));
}

function loss(mine, code) {
  if (mine === null || mine.deposits.length === 0) return h("span.muted", {}, mine === null ? t("notCounted") : "–");
  const lost = without(mine, code).lost.length;
  if (lost) return h("span.badge.bad", {}, t("loseCount", { count: lost }));
  return mine.deposits.some((deposit) => deposit.countries[code]) ? h("span.badge.good", {}, t("stays")) : h("span.muted", {}, t("nothing"));
}

/** Draw anew, and put the focus back on the row that had it. */
function keepFocus(box, change) {
  const code = box.contains(document.activeElement) ? document.activeElement.dataset.code : null;
  change();
  if (code) box.querySelector(`[data-code="${CSS.escape(code)}"]`)?.focus({ preventScroll: true });
}
