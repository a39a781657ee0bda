// Questions that stand above the page: the browser's own <dialog>, which keeps the focus and closes on Escape.

import { fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { problem } from "./problem.js";
import { teller } from "./i18n.js";
import texts from "../text/shell.js";

const t = teller(texts);
let counted = 0;

/**
 * Open a dialog. It closes on Escape, by its cross, when `signal` aborts, or by `close`.
 * @param {string} title
 * @param {(close: (result?: any) => void) => Node|Node[]} content
 * @param {{signal?: AbortSignal, wide?: boolean, modalOnly?: boolean}} options
 * @returns {Promise<any>} what it was closed with; undefined: given up
 */
export function dialog(title, content, { signal, wide = false } = {}) {
  return new Promise((done) => {
    const id = `dialog-${(counted += 1)}`;
    const close = (result) => {
      if (!sheet.isConnected) return;
      sheet.close();
      sheet.remove();
      done(result);
    };
    const cross = h("button.button.quiet.icon.small", { type: "button", "aria-label": t("close"), onclick: () => close() }, icon("cross"));
    const sheet = h(
      wide ? "dialog.sheet.wide" : "dialog.sheet",
      { "aria-labelledby": id, oncancel: (event) => { event.preventDefault(); close(); } },
      h("div.body", {}, h("div.title", {}, h("h2", { id }, title), cross), content(close)),
    );
    signal?.addEventListener("abort", () => close(), { once: true });
    document.body.append(sheet);
    sheet.showModal();
    sheet.querySelector("[autofocus], input, textarea, select")?.focus();
  });
}

/**
 * A form in a dialog, which stays open, with what went wrong, until `submit` succeeds.
 * @param {string} title
 * @param {{body: Node[], submit: (form: FormData) => Promise<any>, label: string, danger?: boolean, signal?: AbortSignal, wide?: boolean}} options
 * @returns {Promise<any>} the result of `submit`; undefined: given up
 */
export function ask(title, { body, submit, label, danger = false, signal, wide = false }) {
  return dialog(title, (close) => {
    const failed = h("div", { role: "alert" });
    const press = h(danger ? "button.button.primary.danger" : "button.button.primary", { type: "submit" }, label);
    const send = async (event) => {
      event.preventDefault();
      press.disabled = true;
      fill(failed);
      try {
        close((await submit(new FormData(event.target))) ?? true);
      } catch (error) {
        fill(failed, problem(error));
      } finally {
        press.disabled = false;
      }
    };
    return h("form.stack", { onsubmit: send }, body, failed,
      h("div.ends", {}, h("button.button", { type: "button", onclick: () => close() }, t("cancel")), press));
  }, { signal, wide });
}
