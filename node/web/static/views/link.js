// What a link leads to, opened in this page: the node fetches sealed segments, and learns neither content nor key.

import { bytesOf } from "../core/bytes.js";
import { httpGet } from "../core/http.js";
import { openLink } from "../core/reader.js";
import { workerPool } from "../core/pool.js";
import { ask } from "../parts/dialog.js";
import { fill, h } from "../parts/dom.js";
import { count, date, moment, size } from "../parts/format.js";
import { teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { node, on } from "../parts/live.js";
import { problem, sentence } from "../parts/problem.js";
import { style } from "../parts/style.js";
import { failed, toast } from "../parts/toast.js";
import { post } from "../parts/api.js";
import { checking } from "../link/checking.js";
import { kindOf } from "../link/kinds.js";
import { Listing } from "../link/listing.js";
import { preview } from "../link/preview.js";
import { savingFile, savingFolder } from "../link/saving.js";
import { isRunning, keep, worksOfThisPage } from "../link/underway.js";
import texts from "../text/link.js";

const t = teller(texts);
const MOST_ROWS = 1000;
/** The node's, where something else has the name. */
const TAKEN_HINT = "choose another path";

/**
 * Show what `link` leads to; without one, a form to open one, and on a gateway that takes them, uploads.
 * @param {HTMLElement} main
 * @param {{signal: AbortSignal, link: string|null, called?: string}} context called: what it is called in the drive that it
 *   was opened from
 */
export async function view(main, { signal, link, go, called }) {
  if (!AbortSignal.any) throw new Error(t("tooOld")); // the youngest of what the page needs
  await style("/views/link.css");
  if (signal.aborted) return;
  if (link === null) {
    const { beginning } = await import("../link/beginning.js");
    if (!signal.aborted) await beginning(main, { signal, go });
    return;
  }
  const head = h("div.stack");
  const body = h("div.stack");
  main.append(h("div.view", {}, head, worksOfThisPage(signal), body));
  await new Opened({ main, head, body, signal, link, called, go, workers: new Workers(signal) }).begin();
}

/** Workers for one link: there until its view has ended, and the last of its downloads. */
class Workers {
  #users = 0;

  constructor(signal) {
    this.pool = workerPool();
    signal.addEventListener("abort", this.use(), { once: true });
  }

  /** @returns {() => void} to be called once, when they are no longer needed */
  use() {
    this.#users += 1;
    return () => {
      this.#users -= 1;
      if (this.#users === 0) this.pool.close();
    };
  }
}

class Opened {
  constructor(parts) {
    Object.assign(this, parts);
    this.waiting = h("div", { role: "status" });
    this.savings = new Set();
    this.showing = null;
    this.kept = false;
    this.hash = location.hash;
    this.showKeeper = () => {};
    on("change", this.signal, () => this.showKeeper());
    addEventListener("popstate", () => this.returned(), { signal: this.signal });
  }

  async begin() {
    fill(this.head, h("h1", {}, t("opening")), h("div.row.muted", { role: "status" }, h("span.spinner"), t("openingHow")), this.waiting);
    try {
      const deposit = await openLink(this.link, { get: httpGet(fetch.bind(window)), pool: this.workers.pool, signal: this.signal, onWait: (told) => this.wait(told) });
      if (this.signal.aborted) return;
      this.deposit = deposit;
      if (deposit.manifest === undefined) this.showVerify();
      else this.show();
    } catch (error) {
      if (!this.signal.aborted) this.fail(error);
    }
  }

  /** What runs tells it itself, wherever somebody has gone meanwhile. */
  wait(told) {
    const going = [...this.savings].filter(isRunning);
    for (const saving of going) saving.wait(told);
    fill(this.waiting, told && !going.length && h("p.notice.warn", {}, h("div", {}, h("strong", {}, t("waiting", { seconds: Math.round(told.seconds) })), " ", sentence(told.cause))));
  }

  fail(error) {
    const again = h("button.button", { type: "button", onclick: () => this.begin() }, icon("renew"), t("again"));
    const hint = { LinkError: "hintLink", NotFound: "hintNotFound", Integrity: "hintIntegrity", Malformed: "hintIntegrity", Network: "hintNetwork", Refused: "hintRefused" }[error.name];
    const sealed = error.name === "Unsupported" ? this.keeper(true) : null;
    document.title = `${t("cannotOpen")} · Archipel`;
    fill(this.head, h("h1", {}, t("cannotOpen")), problem(error, hint ? h("div", {}, t(hint)) : null), h("div.row", {}, again, sealed));
    fill(this.body);
  }

  get canKeep() {
    return node.account?.unlocked === true && this.called === undefined;
  }

  /**
   * The button that keeps the link, while an account is unlocked: what the node says of that may come later than the link.
   * @param {boolean} opens whether it is opened from the drive then: only the account can read a link that is sealed to it
   */
  keeper(opens = false) {
    const act = (event) => this.keep(event.currentTarget, opens);
    const button = h("button.button", { type: "button", disabled: this.kept, onclick: act }, icon("drive"), t(opens ? "keepAndOpen" : "keep"));
    this.showKeeper = () => { button.hidden = !this.canKeep; };
    this.showKeeper();
    return button;
  }

  async keep(button, opens) {
    button.disabled = true;
    try {
      const path = await this.keepAs(null);
      if (path === undefined) button.disabled = false;
      else this.isKept(path, opens);
    } catch (error) {
      button.disabled = false;
      failed(error);
    }
  }

  /** @returns {Promise<string|undefined>} its path in the drive; undefined: given up */
  async keepAs(wanted) {
    const keeping = async (path) => (await post("/v1/drive/links", { link: this.link, path })).path;
    try {
      return await keeping(wanted);
    } catch (error) {
      if (error.status !== 409 || error.hint !== TAKEN_HINT) throw error; // else it is there itself: the node says where
      const field = h("input", { id: "keep-as", name: "path", required: true, value: this.name ?? "", "aria-describedby": "keep-why" });
      const body = [h("p.muted", { id: "keep-why" }, t("keepTaken")), h("div.field", {}, h("label", { for: "keep-as" }, t("keepAs")), field)];
      return ask(t("keep"), { body, label: t("keepIt"), signal: this.signal, submit: (form) => keeping(form.get("path").trim()) });
    }
  }

  isKept(path, opens) {
    this.kept = true;
    toast(t("kept", { path }));
    if (this.how) fill(this.how, t("howOwn"));
    if (opens && !this.signal.aborted) this.go(`#/view/${path.split("/").map(encodeURIComponent).join("/")}`);
  }

  show() {
    this.listing = new Listing(this.deposit.manifest.entries);
    this.name = this.listing.start?.name ?? this.called ?? t("deposit");
    this.showPath(history.state?.path);
  }

  /** Show what is at a path of the deposit; where there is nothing, its beginning. */
  showPath(path) {
    const { start } = this.listing;
    const item = (path && this.listing.at(path)) || (path === "" ? null : start);
    if (item?.entry.kind === "file") this.showFile(item, item === start ? null : folderOf(path));
    else this.showFolder(item?.isFolder ? item.path : "");
  }

  /** Go to a path of the deposit. The browser's Back leads out of it again; the address, which is the link, stays. */
  open(path) {
    history.pushState({ path }, "");
    this.moved(path);
  }

  returned() {
    if (this.listing && location.hash === this.hash) this.moved(history.state?.path);
  }

  moved(path) {
    this.showPath(path);
    this.main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  heading(title, facts, ...actions) {
    const { version } = this.deposit;
    const told = version ? [t("version", { number: version.number, date: date(Number(version.time)) })] : [];
    const forked = version?.fork ? h("p.notice.warn", {}, t("forked")) : null;
    document.title = `${title} · Archipel`;
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
    this.heading(name, [t("files", { count: files }), size(total)], all, this.keeper());
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
      : h("button.crumb", { type: "button", onclick: () => this.open(step) }, step.split("/").at(-1) || this.name));
    return h("nav.row.crumbs", { "aria-label": t("path") }, steps.map((step, index) => [index ? icon("right", 16) : null, link(step)]));
  }

  row(item) {
    const { entry } = item;
    const isLink = entry.kind === "symlink";
    const name = isLink ? h("span", {}, `${item.name} → ${new TextDecoder().decode(bytesOf(entry.target))}`) : h("button.crumb", { type: "button", onclick: () => this.open(item.path) }, item.name);
    const save = isLink || item.isFolder ? null : h("button.button.quiet.icon.small", { type: "button", "aria-label": t("downloadName", { name: item.name }), onclick: () => this.saveFile(item) }, icon("download", 18));
    return h("tr", {}, h("td", {}, h("span.row.nowrap-row", {}, icon(item.isFolder ? "folder" : isLink ? "link" : "file"), name)),
      h("td.number", {}, item.isFolder || isLink ? "" : size(item.size)), h("td.number.wide-only.muted", {}, entry.mtimeNs ? moment(entry.mtime) : ""), h("td.number", {}, save));
  }

  showFile(item, folder) {
    const back = folder === null ? null : h("button.button.quiet", { type: "button", onclick: () => this.open(folder) }, icon("up"), t("back"));
    const save = h("button.button.primary", { type: "button", onclick: () => this.saveFile(item) }, icon("download"), t("download"));
    this.heading(item.name, [size(item.size), ...(item.entry.mtimeNs ? [moment(item.entry.mtime)] : [])], back, save, folder === null ? this.keeper() : null);
    const place = h("div.preview");
    fill(this.body, place, folder === null ? this.about() : null);
    this.endShowing();
    this.showing = new AbortController();
    preview(place, this.deposit, item.entry, { signal: AbortSignal.any([this.signal, this.showing.signal]), t });
  }

  endShowing() {
    fill(this.waiting);
    this.showing?.abort();
    this.showing = null;
  }

  about() {
    const place = h("div.stack");
    this.how = h("p.muted", {}, t(this.kept || this.called !== undefined ? "howOwn" : "howText"));
    const check = h("button.button", { type: "button", onclick: () => this.check(place, check) }, icon("network"), t("check"));
    return h("section.card.flat.stack", {}, h("h2", {}, t("how")), this.how, h("div", {}, check), place);
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
    this.heading(t("verifyTitle"), [t("segments", { count: this.deposit.index.length }), size(total)]);
    fill(this.body, h("p.lead", {}, t("verifyText")), this.about());
  }

  saveFile(item) {
    this.save(savingFile(this.deposit, item.entry, item.name), kindOf(item.name).type);
  }

  saveFolder(path, name, entries) {
    const cut = path === "" ? 0 : path.length - path.split("/").at(-1).length; // the folder itself is in it
    this.save(savingFolder(this.deposit, entries, cut, name), "application/zip");
  }

  save(saving, type) {
    this.savings.add(saving);
    const letGo = this.workers.use();
    keep(saving, () => {
      this.savings.delete(saving);
      letGo();
    });
    saving.begin(type);
  }
}

const folderOf = (path) => path.slice(0, Math.max(0, path.lastIndexOf("/")));
