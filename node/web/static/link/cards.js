// How a download or an upload of this page looks. Drawn anew at each change: what has the focus keeps it.

import { fill, h } from "../parts/dom.js";
import { bar, country, date, duration, list, size, speed } from "../parts/format.js";
import { copy } from "../parts/copy.js";
import { teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { problem, sentence } from "../parts/problem.js";
import texts from "../text/link.js";

const t = teller(texts);

/**
 * Draw a download.
 * @param {HTMLElement} box
 * @param {Saving} saving
 * @param {() => void} close takes it out of the list, once it has ended
 */
export function drawSaving(box, saving, close) {
  const told = {
    waiting: () => t("savingWaiting"),
    running: () => [`${size(saving.bytes)} / ${size(saving.size)}`, ...pace(saving)].join(" · "),
    paused: () => t("savingPaused", { bytes: size(saving.bytes) }),
    done: () => t("savingDone", { bytes: size(saving.size) }),
    failed: () => sentence(saving.error.message),
    cancelled: () => t("savingCancelled"),
  }[saving.state]();
  const going = ["waiting", "running", "paused"].includes(saving.state);
  redraw(box,
    h("div.spread", {}, h("strong.clip", {}, saving.name), h("span.row", {},
      saving.state === "running" ? press("pause", "pause", t("pause"), saving, () => saving.pause()) : null,
      saving.state === "paused" ? press("pause", "play", t("resume"), saving, () => saving.resume()) : null,
      going ? press("end", "cross", t("cancelSaving"), saving, () => saving.cancel()) : press("end", "cross", t("close"), saving, close))),
    bar(saving.name, [[saving.state === "failed" ? "bad" : "done", saving.size ? saving.bytes / saving.size : 1]]),
    h("p.small.muted.number", saving.state === "failed" ? { role: "alert" } : {}, told),
    going ? waiting(saving) : null);
}

/** Draw an upload; its link, once it is published. @param as `drawSaving` */
export function drawSending(box, sending, close) {
  if (sending.state === "done") {
    drawSent(box, sending, close);
    return;
  }
  const going = sending.state === "running";
  const end = going ? press("end", "cross", t("cancelSaving"), sending, () => sending.cancel()) : press("end", "cross", t("close"), sending, close);
  redraw(box,
    h("div.spread", {}, h("h2.clip", {}, going ? `${t("sending")}: ${sending.name}` : sending.name), end),
    going && sending.told ? progress(sending) : null,
    going ? waiting(sending) : null,
    sending.state === "failed" ? h("div", { role: "alert" }, problem(sending.error)) : null,
    sending.state === "cancelled" ? h("p.small.muted", {}, t("savingCancelled")) : null);
}

function drawSent(box, sending, close) {
  const word = `${location.origin}/#${sending.link}`;
  redraw(box,
    h("div.spread", {}, h("h2", {}, t("sent")), press("end", "cross", t("close"), sending, close)),
    h("p.clip", {}, h("strong", {}, sending.name)), h("p", {}, t("sentWhat")),
    h("div.field", {}, h("textarea.mono", { readonly: true, rows: 4, "aria-label": t("linkField") }, word)),
    h("div", {}, h("button.button.primary", { type: "button", "data-act": "copy", onclick: () => copy(word, t("copied")) }, icon("copy"), t("copy"))),
    h("p.small.muted", {}, t("until", { date: date(sending.expiry) })));
}

function progress(sending) {
  const { totalBytes, sealedBytes, placedBytes, chunks, placed, countries } = sending.told;
  const whole = totalBytes || 1;
  const where = Object.keys(countries).map((code) => (code === "" ? t("noWhere") : country(code)));
  const figures = (...told) => h("p.small.muted.number", {}, told.join(" · "));
  return [
    bar(sending.name, [["done", placedBytes / whole], ["part", Math.max(0, sealedBytes - placedBytes) / whole]]),
    figures(t("sealed", { bytes: size(sealedBytes) }), t("placed", { bytes: size(placedBytes), all: size(totalBytes) }), ...pace(sending)),
    chunks ? figures(t("chunksPlaced", { placed, chunks }), ...(where.length ? [t("claimedWhere", { countries: list(where) })] : [])) : null,
  ];
}

/** Speed and time left, where they are known. */
function pace({ rate, size: whole, bytes }) {
  return rate ? [speed(rate), t("left", { time: duration((whole - bytes) / rate) })] : [];
}

function waiting({ waits }) {
  return waits && h("p.notice.warn", { role: "status" }, h("span", {}, t("waiting", { seconds: Math.round(waits.seconds) }), " ", sentence(waits.cause)));
}

function press(act, drawing, label, { name }, onclick) {
  return h("button.button.quiet.icon.small", { type: "button", "data-act": act, "aria-label": `${label}: ${name}`, title: label, onclick }, icon(drawing, 18));
}

function redraw(box, ...children) {
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.act : null;
  fill(box, children);
  if (focused) box.querySelector(`[data-act="${focused}"]`)?.focus();
}
