// Creating an account: a passphrase, 24 words to be written down, and a check that they were.

import { ApiError, post } from "../../parts/api.js";
import { copy } from "../../parts/copy.js";
import { fill, h } from "../../parts/dom.js";
import { teller } from "../../parts/i18n.js";
import { icon } from "../../parts/icons.js";
import { accountIs } from "../../parts/live.js";
import { problem } from "../../parts/problem.js";
import { toast } from "../../parts/toast.js";
import texts from "../../text/home.js";
import { deviceField, newPassphrase } from "./fields.js";

const t = teller(texts);

/** The three steps, one after another. What was typed lives as long as the form is shown. */
export function createForm({ signal }) {
  const [steps, shown] = [h("div"), h("div")];
  const chosen = { device: "", passphrase: "", draft: null };
  const to = (step, { focus = true, error = null } = {}) => {
    const entry = (number) => h("li", { "aria-current": number === step ? "step" : null }, t(`step${number}`));
    shown.toggleAttribute("data-unfinished", step > 1);
    fill(steps, h("ol.steps", {}, [1, 2, 3].map(entry)));
    const form = [choosePassphrase, showWords, checkWords][step - 1](chosen, to, signal);
    fill(shown, error && h("div", { role: "alert" }, problem(error)), form);
    if (focus) (form.querySelector("input") ?? form.querySelector("h2")).focus();
  };
  to(1, { focus: false });
  return h("div.stack", {}, steps, shown);
}

/** A form that shows what went wrong and takes one press at a time. */
export function guarded(label, nodes, submit, ...more) {
  const failed = h("div", { role: "alert" });
  const press = h("button.button.primary", { type: "submit" }, label);
  const send = async (event) => {
    event.preventDefault();
    press.disabled = true;
    fill(failed);
    try {
      await submit(new FormData(event.target));
    } catch (error) {
      fill(failed, problem(error));
    } finally {
      press.disabled = false;
    }
  };
  return h("form.stack", { onsubmit: send }, nodes, failed, h("div.row", {}, press, more));
}

function choosePassphrase(chosen, to, signal) {
  const passphrase = newPassphrase();
  return guarded(t("next"), [deviceField(chosen.device), passphrase.nodes], async (form) => {
    const given = passphrase.read();
    if (given === null) return;
    chosen.device = form.get("device").trim();
    chosen.passphrase = given;
    chosen.draft ??= await post("/v1/account/words", {}, { signal });
    to(2);
  });
}

function showWords(chosen, to) {
  const words = chosen.draft.words;
  const numbered = words.map((word, index) => h("li", {}, h("span.muted.number", { "aria-hidden": "true" }, index + 1), h("span", {}, word)));
  return h("div.stack.paper", {}, h("h2", { tabindex: -1 }, t("wordsTitle")), h("p", {}, t("wordsWhat")), h("ol.words", { translate: "no" }, numbered),
    h("div.row.no-print", {},
      h("button.button.primary", { type: "button", onclick: () => to(3) }, t("written")),
      h("button.button", { type: "button", onclick: () => print() }, icon("print"), t("print")),
      h("button.button", { type: "button", onclick: () => copy(words.join(" "), t("copied")) }, icon("copy"), t("copy")),
      h("button.button.quiet", { type: "button", onclick: () => to(1) }, t("back"))));
}

function checkWords(chosen, to, signal) {
  const field = (place) => h("div.field", {}, h("label", { for: `word-${place}` }, t("word", { place })),
    h("input", { id: `word-${place}`, name: String(place), required: true, autocomplete: "off", autocapitalize: "none", spellcheck: "false" }));
  const nodes = [h("h2", {}, t("checkTitle")), h("p", {}, t("checkWhat")), h("div.grid.places", {}, chosen.draft.ask.map(field))];
  const again = h("button.button.quiet", { type: "button", onclick: () => to(2) }, t("seeAgain"));
  return guarded(t("finish"), nodes, async (data) => {
    const answers = Object.fromEntries([...data].map(([place, word]) => [place, word.trim().toLowerCase()]));
    const { device, passphrase, draft } = chosen;
    const account = await made(draft.draft, { answers, passphrase, device }, signal);
    if (account instanceof ApiError) {
      chosen.draft = null; // these words are no longer kept: the first step gets others
      to(1, { error: account });
      return;
    }
    toast(t("created"));
    accountIs(account);
  }, again);
}

/** @returns {Promise<Object|ApiError>} the account; an error: the node does not know these words any more */
async function made(draft, body, signal) {
  try {
    return await post("/v1/account", { draft, ...body }, { signal });
  } catch (error) {
    if (error.status === 404) return error;
    throw error;
  }
}
