// The drive: one folder of it at a time, or what a search finds.

import { get } from "../parts/api.js";
import { chooseButtons, takeDrops } from "../parts/choose.js";
import { fill, h } from "../parts/dom.js";
import { changed, isGoing, transfers } from "../parts/following.js";
import { teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { node, on, refresh } from "../parts/live.js";
import { menu } from "../parts/menu.js";
import { problem } from "../parts/problem.js";
import { repeat } from "../parts/repeat.js";
import { style } from "../parts/style.js";
import { failed, toast } from "../parts/toast.js";
import { publish } from "../parts/uploads.js";
import texts from "../text/drive.js";
import { Actions } from "./drive/actions.js";
import { help } from "./drive/help.js";
import { address, crumbs } from "./drive/paths.js";
import { showHealth, table } from "./drive/table.js";

const t = teller(texts);
const TYPED_MS = 250;
const REFRESH_MS = 1000; // the node looks whether the network has a newer drive
const MAX_LOOKS = 10;
const LOCKED_MS = 15000; // how long a drive may stay on the screen after the command line has locked the account

/**
 * Show the view.
 * @param {HTMLElement} main where
 * @param {{signal: AbortSignal, go: (hash: string) => void, rest: string}} context rest: the folder's path
 */
export async function view(main, { signal, go, rest }) {
  await style("/views/drive.css");
  if (signal.aborted) return;
  if (node.account && !node.account.unlocked) {
    main.append(closed(node.account.exists));
    refresh();
    on("change", signal, () => { if (node.account?.unlocked) go(address(rest)); });
    return;
  }
  on("change", signal, () => { if (node.account && !node.account.unlocked) go(address(rest)); });
  repeat(signal, async () => {
    await refresh();
    return LOCKED_MS;
  });
  const folder = new Folder(main, rest, signal, go);
  folder.frame();
  await folder.load();
}

function closed(exists) {
  return h("div.view", {}, h("h1", {}, t("title")), h("section.card.empty", {}, icon("lock", 44), h("h2", {}, t(exists ? "locked" : "noAccount")),
    h("p", {}, t(exists ? "lockedWhat" : "noAccountWhat")), h("a.button.primary", { href: "#/" }, t(exists ? "unlock" : "begin"))));
}

/** One folder on the screen. */
class Folder {
  constructor(main, path, signal, go) {
    Object.assign(this, { main, path, signal, go, query: "", loading: null });
    this.actions = new Actions({ signal, go, reload: (focus) => this.load(focus), path });
    this.list = h("div", { "aria-live": "off", tabindex: -1 });
    this.notes = h("div.stack", { role: "status" });
    this.arriving = h("div", { role: "status" });
  }

  frame() {
    const search = h("input.plain", { type: "search", placeholder: t("searchHint"), "aria-label": t("search"), oninput: () => this.typed(search) });
    search.addEventListener("keydown", (event) => { if (event.key === "Escape") { search.value = ""; this.typed(search); } });
    const add = h("button.button.primary", { type: "button", onclick: () => this.add(add) }, icon("upload"), t("add"));
    const keys = h("button.button.icon.quiet", { type: "button", "aria-label": t("keys"), title: t("keys"), onclick: () => help(this.signal) }, icon("keyboard"));
    this.main.append(h("div.view.drive", {}, crumbs(this.path),
      h("div.head", {}, h("h1.clip", {}, this.path.split("/").pop() || t("title")), h("div.row.tools", {}, h("label.search", {}, icon("search", 18), search), add, keys)),
      this.notes, this.arriving, this.list));
    takeDrops(this.signal, (gifts) => this.take(gifts), failed);
    changed(this.signal, () => this.follow());
    this.follow();
  }

  /** Uploads into this folder stand above it until they are done; then it is read anew. */
  follow() {
    const here = transfers().filter((one) => one.kind === "upload" && one.folder === this.path && isGoing(one));
    if (this.before > here.length) this.load();
    if (this.before !== here.length) {
      fill(this.arriving, here.length ? h("a.notice.arriving", { href: "#/transfers" }, icon("transfers"), h("div", {}, t("arriving", { count: here.length }))) : null);
    }
    this.before = here.length;
  }

  typed(search) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.query = search.value.trim();
      this.load();
    }, TYPED_MS);
  }

  /** Read the folder, or search; then find out how well the things are. @param {string} focus path of what gets the focus */
  async load(focus) {
    this.loading?.abort();
    this.loading = new AbortController();
    const signal = AbortSignal.any([this.signal, this.loading.signal]);
    if (!this.list.hasChildNodes()) fill(this.list, h("p.row.muted", {}, h("span.spinner"), t("reading")));
    try {
      const found = this.query ? await get(`/v1/drive/search?q=${encodeURIComponent(this.query)}`, { signal }) : await get(`/v1/drive?path=${encodeURIComponent(this.path)}`, { signal });
      this.show(found, focus);
      if (found.refreshing) this.soon(signal);
      await this.look(found.items, signal);
    } catch (error) {
      if (signal.aborted) return;
      refresh(); // it may have been locked
      fill(this.list, problem(error, h("div.row.again", {}, h("button.button.small", { type: "button", onclick: () => this.load() }, t("again")))));
    }
  }

  /** The node has answered with what it knew, and asks the network: look again, and change the screen if something is new. */
  soon(signal) {
    setTimeout(async () => {
      if (signal.aborted) return;
      const found = await get(`/v1/drive?path=${encodeURIComponent(this.path)}`, { signal }).catch(() => null);
      if (signal.aborted || found === null) return;
      if (JSON.stringify(found.items) !== JSON.stringify(this.items)) this.load(document.activeElement?.dataset?.path);
      else {
        this.note(found);
        if (found.refreshing) this.soon(signal);
      }
    }, REFRESH_MS);
  }

  note({ offline, unsent }) {
    const one = (kind, drawing, text) => h(`div.notice.${kind}`, {}, icon(drawing), h("div", {}, text));
    fill(this.notes, offline ? one("warn", "warning", t("offline", { why: offline })) : null, unsent ? one("sea", "clock", t("unsent")) : null);
  }

  show(found, focus) {
    const { items } = found;
    this.note(found);
    this.items = items;
    if (items.length === 0) fill(this.list, this.query ? this.nothingFound() : this.emptiness());
    else fill(this.list, table(items, { actions: this.actions, searching: this.query !== "", focus }), found.more ? h("p.muted.small", {}, t("more")) : null);
    if (focus !== undefined && !items.some((item) => item.path === focus)) this.list.focus(); // nothing stands beside what is gone
  }

  nothingFound() {
    return h("section.empty", {}, icon("search", 40), h("h2", {}, t("nothingFound", { query: this.query })));
  }

  emptiness() {
    return h("section.card.drop.empty", {}, icon("upload", 44), h("h2", {}, t(this.path ? "emptyFolder" : "emptyDrive")), h("p", {}, t("emptyWhat")),
      h("div.row", {}, chooseButtons((gifts) => this.take(gifts))));
  }

  /** The network is asked only for the folder that is looked at; what a search finds is looked at in its own. */
  async look(items, signal) {
    const asked = items.filter((item) => item.kind !== "folder");
    const same = (found) => Object.fromEntries(asked.map(({ id }) => [id, found]));
    for (let tries = 0; !this.query && asked.length && tries < MAX_LOOKS; tries += 1) {
      try {
        const { items: found, waiting } = await get(`/v1/drive/health?path=${encodeURIComponent(this.path)}`, { signal });
        showHealth(this.list, items, found, this.actions);
        if (waiting.length === 0) return;
      } catch (error) {
        if (!signal.aborted) showHealth(this.list, items, same({ state: "unknown", survives: null, error: error.message }), this.actions);
        return;
      }
    }
  }

  add(button) {
    const [files, folder] = chooseButtons((gifts) => this.take(gifts));
    menu(button, [
      { label: t("uploadFiles"), icon: "upload", act: () => files.click() },
      { label: t("uploadFolder"), icon: "folder", act: () => folder.click() },
      { label: t("newFolder"), icon: "folder-plus", act: () => this.actions.newFolder() },
      { label: t("addLink"), icon: "link", act: () => this.actions.addLink() },
    ]);
  }

  async take(gifts) {
    try {
      await publish(gifts, this.path);
      toast(gifts.length === 1 ? t("begun", { name: gifts[0].name }) : t("begunMany", { count: gifts.length }));
    } catch (error) {
      failed(error);
    }
  }
}
