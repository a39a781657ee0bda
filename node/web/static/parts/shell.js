// The frame around every view: where one can go, whose account it is, and what is wrong with the node.

import { isOld, post } from "./api.js";
import { ask } from "./dialog.js";
import { fill, h } from "./dom.js";
import { moment } from "./format.js";
import { icon, mark } from "./icons.js";
import { LANGUAGES, choose, language, teller } from "./i18n.js";
import { accountIs, node } from "./live.js";
import { sentence } from "./problem.js";
import { failed } from "./toast.js";
import texts from "../text/shell.js";

const t = teller(texts);
const NAMES = { en: "English", fr: "Français" };
const OWN = ["home", "drive", "transfers", "network", "operator"];
const parts = {};

/**
 * Show the frame, or change what has changed in it.
 * @param {{view: string, underWay: number, again: () => void}} now the view that is shown, how many transfers are under way,
 *   and what shows everything anew
 */
export function shell({ view, underWay, again }) {
  const gateway = node.state === "gateway";
  document.documentElement.lang = language();
  if (!parts.root) {
    for (const name of ["skip", "places", "end"]) parts[name] = { node: h(`div.${name}-part`), key: null };
    parts.root = h("header.rail", {}, parts.skip.node, h("a.brand", { href: "#/" }, mark(), "Archipel"), parts.places.node, parts.end.node);
    document.querySelector("#top").append(parts.root);
  }
  part("skip", [language()], () => h("button.skip", { type: "button", onclick: () => document.querySelector("#main").focus() }, t("skip")));
  part("places", [view, gateway, language()], () => places(view, gateway));
  part("end", [gateway, node.account, language()], () => h("div.end", {}, gateway ? null : who(), languages(again)));
  counted(underWay);
  notices();
}

/** Fill a part when what it depends on has changed; what has the focus keeps it. */
function part(name, key, make) {
  const one = parts[name];
  if (one.key === JSON.stringify(key)) return;
  one.key = JSON.stringify(key);
  const focus = one.node.contains(document.activeElement) ? document.activeElement.getAttribute("data-focus") : null;
  fill(one.node, make());
  if (focus) one.node.querySelector(`[data-focus="${focus}"]`)?.focus();
}

function places(view, gateway) {
  const shown = gateway ? [["link", "#/"]] : OWN.map((name) => [name, name === "home" ? "#/" : `#/${name}`]);
  const entry = ([name, href]) => h("li", {}, h("a", { href, "data-focus": name, "aria-current": name === view ? "page" : null }, icon(name, 22), t(name),
    name === "transfers" ? h("span.count", { hidden: true }) : null));
  return h("nav", { "aria-label": t("places") }, h("ul", {}, shown.map(entry)));
}

function counted(underWay) {
  const badge = parts.places.node.querySelector(".count");
  if (!badge || badge.textContent === String(underWay)) return;
  badge.hidden = underWay === 0;
  badge.textContent = underWay;
  badge.setAttribute("aria-label", t("underWay", { count: underWay }));
}

function who() {
  const account = node.account;
  if (account === null) return null;
  if (!account.exists) return h("div.who", {}, h("span.detail", {}, t("noAccount")), h("a.small", { href: "#/" }, t("begin")));
  if (!account.unlocked) return h("div.who", {}, h("span.row.detail", {}, icon("lock", 16), account.device ?? t("account")), h("a.small", { href: "#/" }, t("unlock")));
  const until = account.until ? h("span.small.detail", {}, t("until", { when: moment(account.until) })) : null;
  return h("div.who", {}, h("span.row.detail", {}, icon("unlock", 16), h("strong", {}, account.device ?? t("account"))), until,
    h("button.small", { type: "button", onclick: lock }, t("lock")));
}

async function lock() {
  try {
    accountIs(await post("/v1/account/lock"));
    location.hash = "#/";
  } catch (error) {
    failed(error);
  }
}

function languages(again) {
  const press = (tag) => h("button", { type: "button", lang: tag, "data-focus": tag, "aria-pressed": String(tag === language()), "aria-label": NAMES[tag],
    onclick: async () => {
      if (tag === language() || (isUnfinished() && !(await sure(tag)))) return;
      choose(tag);
      again();
    } }, tag.toUpperCase());
  return h("div.languages", { role: "group", "aria-label": t("language") }, LANGUAGES.map(press));
}

/** What somebody is in the middle of, and would lose: a view that is shown in another language begins anew. */
const isUnfinished = () => document.querySelector("[data-unfinished]") !== null;

const sure = (tag) => ask(NAMES[tag], { body: [h("p", {}, t("unfinished"))], label: t("switch"), submit: async () => true });

/** What is wrong, or has to be known, stands above every view. */
function notices() {
  const shown = [];
  if (node.state === "lost") shown.push(notice("bad", "warning", t("lost"), node.error.status === 0 ? t("lostHint") : sentence(node.error.message)));
  if (node.state === "refused") shown.push(notice("bad", "lock", t("refused"), sentence(node.error.message)));
  if (node.state === "gateway") shown.push(notice("", "globe", t("gateway"), t("gatewayHint")));
  if (isOld()) shown.push(notice("warn", "renew", t("old"), h("button.button.small", { type: "button", onclick: () => location.reload() }, t("reload"))));
  if (!isSecureContext) shown.push(notice("warn", "warning", t("insecure"), t("insecureHint")));
  const place = document.querySelector("#notices");
  place.setAttribute("role", "status");
  const text = shown.map((box) => box.textContent).join();
  if (place.textContent !== text || shown.length !== place.children.length) fill(place, shown);
}

function notice(kind, drawing, title, detail) {
  return h(kind ? `div.notice.${kind}` : "div.notice", {}, icon(drawing), h("div", {}, h("strong", {}, title), h("div", {}, detail)));
}
