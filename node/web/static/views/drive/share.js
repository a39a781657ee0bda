// Giving a thing to others: by a link, which is a key, or sealed to one account.

import { post } from "../../parts/api.js";
import { copy } from "../../parts/copy.js";
import { dialog } from "../../parts/dialog.js";
import { fill, h } from "../../parts/dom.js";
import { teller } from "../../parts/i18n.js";
import { icon, svg } from "../../parts/icons.js";
import { problem } from "../../parts/problem.js";
import texts from "../../text/drive.js";

const t = teller(texts);
const WAYS = ["read", "account", "verify"];
const QUIET = 4; // modules around a code

/** The dialog. A link is made only when it is asked for, and shown only when that is. */
export function shareDialog(item, signal) {
  return dialog(t("shareOf", { name: item.name }), () => {
    const shown = h("div.stack");
    const tabs = WAYS.map((way) => h("button", { type: "button", onclick: () => choose(way) }, t(`way-${way}`)));
    const choose = (way) => {
      WAYS.forEach((other, index) => tabs[index].setAttribute("aria-pressed", String(other === way)));
      fill(shown, h("p.muted", {}, t(`way-${way}What`)), way === "account" ? toAccount(item, signal) : plain(item, way, signal));
    };
    choose("read");
    return [h("div.tabs", { role: "group", "aria-label": t("ways") }, tabs), shown];
  }, { signal });
}

function plain(item, way, signal) {
  const place = h("div.stack", { "aria-live": "polite" });
  const press = h("button.button.primary", { type: "button" }, icon("link"), t("makeLink"));
  press.addEventListener("click", () => make(place, press, way, async () => {
    const found = await post("/v1/drive/link", { path: item.path }, { signal });
    return way === "verify" ? found.verify_link : found.link;
  }));
  fill(place, h("div", {}, press));
  return place;
}

function toAccount(item, signal) {
  const place = h("div.stack", { "aria-live": "polite" });
  const key = h("input", { id: "to-account", required: true, autocomplete: "off", spellcheck: "false", placeholder: "archipel-key:…" });
  const press = h("button.button.primary", { type: "submit" }, icon("lock"), t("seal"));
  const send = (event) => {
    event.preventDefault();
    make(place, press, "account", async () => (await post("/v1/drive/share", { path: item.path, inside: null, to: key.value.trim(), verify: false }, { signal })).link);
  };
  return h("form.stack", { onsubmit: send }, h("div.field", {}, h("label", { for: "to-account" }, t("accountKey")), key, h("p.help", {}, t("accountKeyHelp"))), h("div", {}, press), place);
}

/** Get the link and show what can be done with it. */
async function make(place, press, way, get) {
  press.disabled = true;
  try {
    fill(place, offered(await get(), way));
  } catch (error) {
    press.disabled = false;
    fill(place, way === "account" ? null : h("div", {}, press), problem(error));
  }
}

function offered(link, way) {
  const word = link.replace(/^archipel:/, "");
  const forms = way === "read" ? [[t("inBrowser"), `${location.origin}/#${word}`, t("inBrowserHelp")], [t("bare"), link, t("bareHelp")]] : [[t("bare"), link, t("bareHelp")]];
  return [way === "read" ? h("div.notice.warn", {}, icon("key"), h("div", {}, t("isKey"))) : null, forms.map(([label, text, helping], index) => one(label, text, helping, index))];
}

function one(label, text, helping, index) {
  const secret = h("code.secret.mono", { hidden: true, tabindex: 0 }, text);
  const code = h("div.code", { hidden: true });
  const toggle = (button, node, act) => () => {
    node.hidden = !node.hidden;
    button.setAttribute("aria-expanded", String(!node.hidden));
    if (!node.hidden) act?.();
  };
  const show = h("button.button.small", { type: "button", "aria-expanded": "false" }, icon("eye", 18), t("show"));
  show.addEventListener("click", toggle(show, secret));
  const qr = h("button.button.small", { type: "button", "aria-expanded": "false" }, icon("qr", 18), t("qr"));
  qr.addEventListener("click", toggle(qr, code, () => drawn(code, text, label).catch((error) => fill(code, problem(error)))));
  return h("section.form-of-link.stack", { "aria-label": label }, h("div", {}, h("h3", {}, label), h("p.small.muted", {}, helping)),
    h("div.row", {}, h(index === 0 ? "button.button.small.primary" : "button.button.small", { type: "button", onclick: () => copy(text, t("linkCopied")) }, icon("copy", 18), t("copy")), show, qr), secret, code);
}

async function drawn(place, text, label) {
  const { qrCode } = await import("../../parts/qr.js");
  const rows = qrCode(text, "M");
  const size = rows.length + 2 * QUIET;
  const path = rows.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : ""))).join("");
  fill(place, svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": t("qrOf", { label }), "shape-rendering": "crispEdges" },
    svg("rect", { width: size, height: size, fill: "#fff" }), svg("path", { d: path, fill: "#000" })));
}
