// Short messages that come and go, read out by screen readers.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { sentence } from "./problem.js";
import { teller } from "./i18n.js";
import texts from "../text/shell.js";

const t = teller(texts);
const SHOWN_MS = 6000;

/**
 * Say something for six seconds; an error stays until it is closed.
 * @param {string} text
 * @param {{bad?: boolean, hint?: string}} options
 */
export function toast(text, { bad = false, hint } = {}) {
  const closing = h("button", { type: "button", "aria-label": t("close"), onclick: () => box.remove() }, icon("cross", 18));
  const box = h(bad ? "div.toast.bad" : "div.toast", { role: bad ? "alert" : "status" },
    icon(bad ? "warning" : "check"), h("div", {}, text, hint ? h("div.small", {}, sentence(hint)) : null), closing);
  document.querySelector("#toasts").append(box);
  if (!bad) setTimeout(() => box.remove(), SHOWN_MS);
}

/** Say what went wrong. A call that was given up because its view ended is no error. */
export function failed(error) {
  if (error.name === "AbortError") return;
  toast(sentence(error.message), { bad: true, hint: error.hint });
}
