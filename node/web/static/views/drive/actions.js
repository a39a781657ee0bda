// What can be done with a thing of the drive.

import { post } from "../../parts/api.js";
import { ask, dialog } from "../../parts/dialog.js";
import { h } from "../../parts/dom.js";
import { took } from "../../parts/following.js";
import { date } from "../../parts/format.js";
import { teller } from "../../parts/i18n.js";
import { menu } from "../../parts/menu.js";
import { failed, toast } from "../../parts/toast.js";
import texts from "../../text/drive.js";
import { healthDialog } from "./health.js";
import { moveDialog } from "./move.js";
import { address, join, nameOf, opened, parent } from "./paths.js";
import { shareDialog } from "./share.js";

const t = teller(texts);

/** Of the things of one folder on the screen. */
export class Actions {
  /** @param {{signal: AbortSignal, go: Function, reload: (focus?: string) => Promise<void>, path: string}} context */
  constructor({ signal, go, reload, path }) {
    Object.assign(this, { signal, go, reload, path });
  }

  menu(button, item) {
    const folder = item.kind === "folder";
    menu(button, [
      { label: t(folder ? "open" : "preview"), icon: folder ? "folder" : "eye", act: () => this.open(item) },
      !folder && { label: t("download"), icon: "download", act: () => this.download(item) },
      !folder && { label: t("share"), icon: "share", act: () => this.share(item) },
      { label: t("rename"), icon: "edit", act: () => this.rename(item) },
      { label: t("move"), icon: "move", act: () => this.move(item) },
      item.mine && !folder && { label: t("renew"), icon: "renew", act: () => this.renew(item) },
      { label: t("remove"), icon: "trash", danger: true, act: () => this.remove(item) },
    ]);
  }

  open(item) {
    this.go(item.kind === "folder" ? address(item.path) : opened(item.path));
  }

  up() {
    if (this.path) this.go(address(parent(this.path)));
  }

  health(item, found) {
    healthDialog(item, found, this.signal);
  }

  share(item) {
    if (item.kind !== "folder") shareDialog(item, this.signal);
  }

  async download(item) {
    if (item.kind === "folder") return;
    try {
      const one = await post("/v1/downloads", { path: item.path });
      took(one);
      toast(t("downloading", { name: item.name, to: one.to }));
    } catch (error) {
      failed(error);
    }
  }

  newFolder() {
    this.named(t("newFolder"), "", t("create"), async (name) => {
      const path = join(this.path, name);
      await post("/v1/drive/folders", { path });
      return path;
    });
  }

  rename(item) {
    this.named(t("renameOf", { name: item.name }), item.name, t("rename"), async (name) => {
      const to = join(parent(item.path), name);
      if (to !== item.path) await post("/v1/drive/move", { from: item.path, to });
      return to;
    });
  }

  /** Ask for a name, do something with it, and show the folder with the focus on the path that comes of it. */
  async named(title, value, label, act) {
    const input = h("input", { id: "new-name", name: "name", value, required: true, maxlength: 255, autocomplete: "off", pattern: "[^\\/]*[^\\/\\s][^\\/]*", title: t("noSlash") });
    const body = [h("div.field", {}, h("label", { for: "new-name" }, t("itsName")), input)];
    queueMicrotask(() => input.setSelectionRange(0, value.lastIndexOf(".") > 0 ? value.lastIndexOf(".") : value.length));
    const path = await ask(title, { body, label, signal: this.signal, submit: (form) => act(form.get("name").trim()) });
    if (path) await this.reload(path);
  }

  /** The path of the row below a thing, else of the one above: what gets the focus when the thing is gone. */
  beside(item) {
    const rows = [...document.querySelectorAll("tr[data-path]")];
    const at = rows.findIndex((row) => row.dataset.path === item.path);
    return (rows[at + 1] ?? rows[at - 1])?.dataset.path ?? "";
  }

  async move(item) {
    const beside = this.beside(item);
    const to = await moveDialog(item, this.signal);
    if (to === undefined) return;
    toast(t("moved", { name: item.name, to: nameOf(to) || t("title") }));
    await this.reload(beside);
  }

  async renew(item) {
    try {
      const { failed: bad } = await post("/v1/drive/renew", { path: item.path });
      if (bad.length) toast(t("notRenewed", { name: item.name }), { bad: true, hint: bad[0].why });
      else toast(t("renewed", { name: item.name }));
      await this.reload(item.path);
    } catch (error) {
      failed(error);
    }
  }

  async remove(item) {
    const folder = item.kind === "folder";
    const beside = this.beside(item);
    const stays = item.mine && !folder ? "staysMine" : folder ? "staysFolder" : "staysOther";
    const forget = item.mine && item.kind !== "link" ? h("label.check", {}, h("input", { type: "checkbox", name: "forget" }), h("span", {}, t("forget"), h("span.small.muted.block", {}, item.expiry ? t("forgetWhat", { date: date(item.expiry) }) : t("forgetPlain")))) : null;
    const body = [h("p", {}, t(stays)), forget];
    const submit = (form) => post("/v1/drive/remove", { path: item.path, recursive: folder, forget: form.get("forget") === "on" });
    const done = await ask(t("removeOf", { name: item.name }), { body, label: t("remove"), danger: true, signal: this.signal, submit });
    if (!done) return;
    if (done.left?.length) this.leftOver(done.left);
    else toast(t("removed", { name: item.name }));
    await this.reload(beside);
  }

  leftOver(left) {
    dialog(t("leftOver"), () => [h("p", {}, t("leftOverWhat")), h("ul.stack", {}, left.map(({ path, why: reason }) => h("li", {}, h("strong", {}, path), h("div.small.muted", {}, reason))))], { signal: this.signal });
  }

  async addLink() {
    const field = (id, type, label, helping, more) => h("div.field", {}, h("label", { for: id }, label), h("input", { id, name: id, type, autocomplete: "off", spellcheck: "false", ...more }), h("p.help", {}, helping));
    const body = [field("added-link", "text", t("theLink"), t("theLinkHelp"), { required: true, placeholder: "archipel:…" }), field("added-name", "text", t("nameIt"), t("nameItHelp"), { maxlength: 255 })];
    const submit = (form) => {
      const [link, name] = [form.get("added-link").trim(), form.get("added-name").trim()];
      return post("/v1/drive/links", { link, path: name ? join(this.path, name) : null });
    };
    const done = await ask(t("addLink"), { body, label: t("addIt"), signal: this.signal, submit });
    if (done) await this.reload(done.path);
  }
}
