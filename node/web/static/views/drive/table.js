// Things of a drive in rows, which the keyboard moves through.

import { fill, h } from "../../parts/dom.js";
import { count, date, relative, size } from "../../parts/format.js";
import { teller } from "../../parts/i18n.js";
import { icon } from "../../parts/icons.js";
import texts from "../../text/drive.js";
import { healthBadge } from "./health.js";
import { address, opened, parent } from "./paths.js";

const t = teller(texts);
const MOST_ROWS = 1000;
const SOON_SECONDS = 30 * 86400;
const ICONS = { folder: "folder", deposit: "file", name: "name", link: "link", share: "share" };

/**
 * @param {Object[]} items
 * @param {{actions: Actions, searching: boolean, focus?: string}} options searching: where they stand is shown; focus: a path
 */
export function table(items, { actions, searching, focus }) {
  const sorted = [...items].sort((a, b) => (b.kind === "folder") - (a.kind === "folder") || a.name.localeCompare(b.name, undefined, { numeric: true }));
  const shown = sorted.slice(0, MOST_ROWS);
  const rows = shown.map((item) => row(item, actions, searching));
  const body = h("tbody", {}, rows);
  const heads = ["name", "size", "date", searching ? null : "health", "expiry"].filter(Boolean).map((name) => h(name === "size" ? "th.number" : `th.${name}`, { scope: "col" }, t(name)));
  reach(rows, body);
  const at = focus === undefined ? -1 : shown.findIndex((item) => item.path === focus);
  if (at >= 0) queueMicrotask(() => rows[at].focus());
  const more = sorted.length > shown.length ? h("p.muted.small", {}, t("moreRows", { count: count(sorted.length - shown.length) })) : null;
  return h("div.stack", {}, h("div.card.flush", {}, h("table.table.things", {}, h("caption.hidden-label", {}, t("things")), h("thead", {}, h("tr", {}, heads, h("th", {}, h("span.hidden-label", {}, t("actions"))))), body)), more);
}

function row(item, actions, searching) {
  const more = h("button.button.quiet.icon.small", { type: "button", tabindex: -1, "aria-label": t("actionsOf", { name: item.name }), onclick: () => actions.menu(more, item) }, icon("more"));
  const href = item.kind === "folder" ? address(item.path) : opened(item.path);
  const place = searching && parent(item.path) ? h("span.small.muted.clip", {}, parent(item.path)) : null;
  const name = h("td.name", {}, h(item.kind === "folder" ? "span.kind.folder" : "span.kind", { title: t(`kind-${item.kind}`) }, icon(ICONS[item.kind], 22)),
    h("span.called", {}, h("a.clip", { href, tabindex: -1, title: item.name }, item.name), place, item.kind === "folder" || item.kind === "deposit" ? null : h("span.small.muted", {}, t(`kind-${item.kind}`))));
  const made = h("tr", { tabindex: -1, "aria-selected": "false", "data-path": item.path, "data-id": item.id, "aria-label": label(item) },
    name, h("td.number.size", {}, item.size === null ? "" : size(item.size)), h("td.date.nowrap", {}, item.published === null ? "" : date(item.published)),
    searching ? null : h("td.health", {}, item.kind === "folder" ? "" : h("span.muted.small", {}, t("looking"))),
    h("td.expiry", {}, expiry(item)), h("td.more", {}, more));
  made.addEventListener("keydown", (event) => pressed(event, item, actions, more));
  made.addEventListener("contextmenu", (event) => { event.preventDefault(); actions.menu(more, item); });
  made.addEventListener("dblclick", () => actions.open(item));
  return made;
}

const label = (item) => [item.name, t(`kind-${item.kind}`), item.size === null ? null : size(item.size)].filter(Boolean).join(", ");

function expiry({ expiry: at, mine }) {
  if (at === null) return "";
  const left = at - Date.now() / 1000;
  if (left < 0) return h("span.badge.bad", { title: date(at) }, t("ended"));
  if (left < SOON_SECONDS && mine) return h("span.badge.warn", { title: date(at) }, relative(at));
  return h("span.nowrap", { title: relative(at) }, date(at));
}

/** One row at a time is in the order of the Tab key; arrows move to others. */
function reach(rows, body) {
  let last = null;
  const reached = (row, here) => {
    row.tabIndex = here ? 0 : -1;
    row.setAttribute("aria-selected", "false");
    for (const inner of row.querySelectorAll("a, button")) inner.tabIndex = here ? 0 : -1;
  };
  const take = (row) => {
    if (last !== null && last !== row) reached(last, false);
    reached(row, true);
    last = row;
  };
  take(rows[0]);
  body.addEventListener("focusin", (event) => {
    const row = event.target.closest("tr");
    take(row);
    row.setAttribute("aria-selected", "true");
  });
  body.addEventListener("focusout", (event) => { if (!body.contains(event.relatedTarget)) last.setAttribute("aria-selected", "false"); });
  body.addEventListener("keydown", (event) => {
    const at = rows.indexOf(event.target.closest("tr"));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    rows[Math.max(0, Math.min(rows.length - 1, to))].focus();
  });
}

function pressed(event, item, actions, more) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const inside = event.target.tagName === "BUTTON" || event.target.tagName === "A";
  const act = {
    Enter: () => actions.open(item), Delete: () => actions.remove(item), F2: () => actions.rename(item), Backspace: () => actions.up(),
    m: () => actions.menu(more, item), s: () => actions.share(item), d: () => actions.download(item),
  }[event.key];
  if (!act || (inside && event.key === "Enter")) return;
  event.preventDefault();
  act();
}

/** Put what was found out about the things into their rows, by their ids. */
export function showHealth(place, items, found, actions) {
  for (const item of items) {
    const cell = place.querySelector(`tr[data-id="${CSS.escape(item.id)}"] .health`);
    if (cell && found[item.id]) fill(cell, healthBadge(found[item.id], () => actions.health(item, found[item.id])));
  }
}
