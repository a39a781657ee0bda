// The first thing that is seen: what this is.

import { h } from "../parts/dom.js";
import { teller } from "../parts/i18n.js";
import texts from "../text/home.js";

const t = teller(texts);

/**
 * Show the view.
 * @param {HTMLElement} main where
 * @param {{signal: AbortSignal}} context the signal ends all that the view does
 */
export async function view(main, { signal }) {
  if (!signal.aborted) main.append(h("h1", {}, t("title")), h("p", {}, t("what")));
}
