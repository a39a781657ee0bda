// What a link leads to, opened in this page: the node fetches sealed segments, and learns neither content nor key.

import { bytesOf } from "../core/bytes.js";
import { httpGet } from "../core/http.js";
import { openLink } from "../core/reader.js";
import { workerPool } from "../core/pool.js";
import { fill, h } from "../parts/dom.js";
import { bar, count, date, duration, moment, size, speed } from "../parts/format.js";
import { teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { node } from "../parts/live.js";
import { problem, sentence } from "../parts/problem.js";
import { style } from "../parts/style.js";
import { failed, toast } from "../parts/toast.js";
import { post } from "../parts/api.js";
import { checking } from "../link/checking.js";
import { kindOf } from "../link/kinds.js";
import { Listing } from "../link/listing.js";
import { preview } from "../link/preview.js";
import { savingFile, savingFolder } from "../link/saving.js";
import texts from "../text/link.js";

const t = teller(texts);
const DRAWN_MS = 250;
const MOST_ROWS = 1000;

/**
 * Show what `link` leads to; without one, a form to open one, and on a gateway that takes them, uploads.
 * @param {HTMLElement} main
 * @param {{signal: AbortSignal, link: string|null, called?: string}} context called: what it is called in the drive that it
 *   was opened from
 */
export async function view(main, { signal, link, go, called }) {
  await style("/views/link.css");
  if (signal.aborted) return;
  if (link === null) {
    const { beginning } = await import("../link/beginning.js");
    if (!signal.aborted) await beginning(main, { signal, go });
    return;
  }
  const head = h("div.stack");
  const body = h("div.stack");
  const saved = h("div.stack");
  main.append(h("div.view", {}, head, saved, body));
  const pool = workerPool();
  signal.addEventListener("abort", () => pool.close());
  await new Opened({ head, body, saved, signal, link, called, pool }).begin();
}

class Opened {
  constructor(parts) {
    Object.assign(this, parts);
    this.waiting = h("div", { role: "status" });
    this.savings = [];
    this.showing = null;
  }

  async begin() {
    fill(this.head, h("h1", {}, t("opening")), h("div.row.muted", { role: "status" }, h("span.spinner"), t("openingHow")), this.waiting);
    try {
      const deposit = await openLink(this.link, { get: httpGet(fetch.bind(window)), pool: this.pool, signal: this.signal, onWait: (told) => this.wait(told) });
      if (this.signal.aborted) return;
      this.deposit = deposit;
      if (deposit.manifest === undefined) this.showVerify();
      else this.show();
    } catch (error) {
      if (!this.signal.aborted) this.fail(error);
    }
  }

  wait(told) {
    fill(this.waiting, told && h("p.notice.warn", {}, h("div", {}, h("strong", {}, t("waiting", { seconds: Math.round(told.seconds) })), " ", sentence(told.cause))));
  }

  fail(error) {
    const again = h("button.button", { type: "button", onclick: () => this.begin() }, icon("renew"), t("again"));
    const hint = { LinkError: "hintLink", NotFound: "hintNotFound", Integrity: "hintIntegrity", Malformed: "hintIntegrity", Network: "hintNetwork", Refused: "hintRefused" }[error.name];
    const sealed = error.name === "Unsupported" && this.canKeep ? this.keepButton() : null;
    document.title = `${t("cannotOpen")} · Archipel`;
    fill(this.head, h("h1", {}, t("cannotOpen")), problem(error, hint ? h("div", {}, t(hint)) : null), h("div.row", {}, again, sealed));
    fill(this.body);
  }

  get canKeep() {
    return node.account?.unlocked === true && this.called === undefined;
  }

  keepButton() {
    return h("button.button", { type: "button", onclick: (event) => this.keep(event.currentTarget) }, icon("drive"), t("keep"));
  }

  async keep(button) {
    button.disabled = true;
    try {
      const { path } = await post("/v1/drive/links", { link: this.link, path: null });
      toast(t("kept", { path }));
    } catch (error) {
      button.disabled = false;
      failed(error);
    }
  }

  show() {
    this.listing = new Listing(this.deposit.manifest.entries);
    const start = this.listing.start;
    this.name = start?.name ?? this.called ?? t("deposit");
    document.title = `${this.name} · Archipel`;
    if (start && !start.isFolder) this.showFile(start, null);
    else this.showFolder(start?.path ?? "");
  }

  heading(title, facts, ...actions) {
    const { version } = this.deposit;
    const told = version ? [t("version", { number: version.number, date: date(Number(version.time)) })] : [];
    const forked = version?.fork ? h("p.notice.warn", {}, t("forked")) : null;
    fill(this.head,
      h("div.head", {}, h("div.stack.tight", {}, h("h1.name", {}, title), h("p.muted", {}, [...facts, ...told].join(" · "))), h("div.row", {}, actions)),
      forked, this.waiting);
  }

  showFolder(path) {
    const items = this.listing.items(path);
    const below = this.listing.below(path);
    const name = path.split("/").at(-1) || this.name;
    const total = below.reduce((sum, entry) => sum + entry.size, 0);
    const files = below.filter(({ kind }) => kind === "file").length;
    const all = h("button.button.primary", { type: "button", onclick: () => this.saveFolder(path, name, below) }, icon("download"), t("downloadZip"));
    this.heading(name, [t("files", { count: files }), size(total)], all, this.canKeep ? this.keepButton() : null);
    this.endShowing();
    const shown = items.slice(0, MOST_ROWS);
    const rows = shown.map((item) => this.row(item));
    const table = h("table.table", {}, h("caption.hidden-label", {}, t("contents")),
      h("thead", {}, h("tr", {}, h("th", {}, t("name")), h("th.number", {}, t("size")), h("th.number.wide-only", {}, t("changed")), h("th", {}, h("span.hidden-label", {}, t("download"))))),
      h("tbody", {}, rows));
    const more = items.length > shown.length ? h("p.muted", {}, t("moreRows", { count: count(items.length - shown.length) })) : null;
    fill(this.body, this.crumbs(path), items.length ? h("div.card.flat.scroll.listing", {}, table) : h("p.empty", {}, t("emptyFolder")), more, this.about());
  }

  crumbs(path) {
    const start = this.listing.start?.path ?? "";
    if (path === start || path === "") return null;
    const steps = [];
    for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) {
      steps.unshift(at);
      if (at === start || at === "") break;
    }
    const link = (step) => (step === path ? h("span", { "aria-current": "page" }, step.split("/").at(-1))
      : h("button.crumb", { type: "button", onclick: () => this.showFolder(step) }, step.split("/").at(-1) || this.name));
    return h("nav.row.crumbs", { "aria-label": t("path") }, steps.map((step, index) => [index ? icon("right", 16) : null, link(step)]));
  }

  row(item) {
    const { entry } = item;
    const open = () => (item.isFolder ? this.showFolder(item.path) : this.showFile(item, item.path.slice(0, Math.max(0, item.path.lastIndexOf("/")))));
    const isLink = entry.kind === "symlink";
    const name = isLink ? h("span", {}, `${item.name} → ${new TextDecoder().decode(bytesOf(entry.target))}`) : h("button.crumb", { type: "button", onclick: open }, item.name);
    const save = isLink || item.isFolder ? null : h("button.button.quiet.icon.small", { type: "button", "aria-label": t("downloadName", { name: item.name }), onclick: () => this.saveFile(item) }, icon("download", 18));
    return h("tr", {}, h("td", {}, h("span.row.nowrap-row", {}, icon(item.isFolder ? "folder" : isLink ? "link" : "file"), name)),
      h("td.number", {}, item.isFolder || isLink ? "" : size(item.size)), h("td.number.wide-only.muted", {}, entry.mtimeNs ? moment(entry.mtime) : ""), h("td.number", {}, save));
  }

  showFile(item, folder) {
    const back = folder === null ? null : h("button.button.quiet", { type: "button", onclick: () => this.showFolder(folder) }, icon("up"), t("back"));
    const save = h("button.button.primary", { type: "button", onclick: () => this.saveFile(item) }, icon("download"), t("download"));
    this.heading(item.name, [size(item.size), ...(item.entry.mtimeNs ? [moment(item.entry.mtime)] : [])], back, save, folder === null && this.canKeep ? this.keepButton() : null);
    const place = h("div.preview");
    fill(this.body, place, folder === null ? this.about() : null);
    this.endShowing();
    this.showing = new AbortController();
    preview(place, this.deposit, item.entry, { signal: AbortSignal.any([this.signal, this.showing.signal]), t });
  }

  endShowing() {
    this.showing?.abort();
    this.showing = null;
  }

  about() {
    const place = h("div.stack");
    const check = h("button.button", { type: "button", onclick: () => this.check(place, check) }, icon("network"), t("check"));
    return h("section.card.flat.stack", {}, h("h2", {}, t("how")), h("p.muted", {}, t("howText")), h("div", {}, check), place);
  }

  async check(place, button) {
    button.disabled = true;
    try {
      await checking(place, this.deposit, { signal: this.signal, t });
    } catch (error) {
      if (!this.signal.aborted) fill(place, problem(error));
    }
    button.disabled = false;
  }

  showVerify() {
    const total = this.deposit.index.reduce((sum, { length }) => sum + length, 0);
    document.title = `${t("verifyTitle")} · Archipel`;
    this.heading(t("verifyTitle"), [t("segments", { count: this.deposit.index.length }), size(total)]);
    fill(this.body, h("p.lead", {}, t("verifyText")), this.about());
  }

  saveFile(item) {
    this.save((changed) => savingFile(this.deposit, item.entry, item.name, changed), kindOf(item.name).type);
  }

  saveFolder(path, name, entries) {
    const cut = path === "" ? 0 : path.length - path.split("/").at(-1).length; // the folder itself is in it
    this.save((changed) => savingFolder(this.deposit, entries, cut, name, changed), "application/zip");
  }

  async save(make, type) {
    const box = h("section.card.flat.saving");
    let drawn = 0;
    let timer = null;
    const draw = () => {
      timer = null;
      drawn = performance.now();
      drawSaving(box, saving);
    };
    const saving = make(() => {
      if (saving.state !== "running") draw();
      else timer ??= setTimeout(draw, Math.max(0, drawn + DRAWN_MS - performance.now()));
    });
    this.saved.prepend(box);
    this.signal.addEventListener("abort", () => { clearTimeout(timer); saving.cancel(); });
    draw();
    try {
      await saving.begin(type);
    } catch (error) {
      saving.error = error;
      saving.state = "failed";
      draw();
    }
  }
}

function drawSaving(box, saving) {
  const share = saving.size ? saving.bytes / saving.size : 1;
  const press = (name, label, act) => h("button.button.quiet.icon.small", { type: "button", "aria-label": `${label}: ${saving.name}`, title: label, onclick: act }, icon(name, 18));
  const rate = saving.rate;
  const left = rate ? duration((saving.size - saving.bytes) / rate) : null;
  const told = {
    waiting: () => t("savingWaiting"),
    running: () => [`${size(saving.bytes)} / ${size(saving.size)}`, rate ? speed(rate) : null, left ? t("left", { time: left }) : null].filter(Boolean).join(" · "),
    paused: () => t("savingPaused", { bytes: size(saving.bytes) }),
    done: () => t("savingDone", { bytes: size(saving.size) }),
    failed: () => sentence(saving.error.message),
    cancelled: () => t("savingCancelled"),
  }[saving.state]();
  const going = ["waiting", "running", "paused"].includes(saving.state);
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.act : null;
  const act = (name, button) => { button.dataset.act = name; return button; };
  fill(box,
    h("div.spread", {}, h("strong.clip", {}, saving.name), h("span.row", {},
      saving.state === "running" ? act("pause", press("pause", t("pause"), () => saving.pause())) : null,
      saving.state === "paused" ? act("pause", press("play", t("resume"), () => saving.resume())) : null,
      act("end", going ? press("cross", t("cancelSaving"), () => saving.cancel()) : press("cross", t("close"), () => box.remove())))),
    bar(saving.name, [[saving.state === "failed" ? "bad" : "done", share]]),
    h("p.small.muted.number", saving.state === "failed" ? { role: "alert" } : {}, told));
  if (focused) box.querySelector(`[data-act="${focused}"]`)?.focus();
}
