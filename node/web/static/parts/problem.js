// An error in the page: what happened, and what to do.

import { h } from "./dom.js";
import { icon } from "./icons.js";

/** A box that tells `error`: an ApiError with its hint, or any other. */
export function problem(error, ...more) {
  return h("div.notice.bad", {}, icon("warning"), h("div", {}, h("strong", {}, sentence(error.message)),
    error.hint ? h("div", {}, sentence(error.hint)) : null, more));
}

/** The node's messages begin small; in the page they are sentences. */
export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
