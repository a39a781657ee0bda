// Where there is no link yet: a field for one; and on a gateway that takes them, files sealed in this browser.

import { parseLink } from "../core/links.js";
import { unhex } from "../core/bytes.js";
import { chooseButtons, takeDrops } from "../parts/choose.js";
import { fill, h } from "../parts/dom.js";
import { teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { problem } from "../parts/problem.js";
import { failed } from "../parts/toast.js";
import texts from "../text/link.js";
import { KEPT_DAYS, Sending } from "./sending.js";
import { keep, running, worksChanged, worksOfThisPage } from "./underway.js";

const t = teller(texts);
const MOST_FILES = 10000;

/** Show the view. */
export async function beginning(main, { signal }) {
  const field = h("input", { id: "link", name: "link", autocomplete: "off", spellcheck: "false", placeholder: "archipel:…", "aria-describedby": "link-problem" });
  const wrong = h("p.problem", { id: "link-problem", role: "alert" });
  const open = (event) => {
    event.preventDefault();
    try {
      parseLink(field.value);
      location.hash = `#${field.value.trim().replace(/^https?:\/\/[^#]*#/i, "")}`;
    } catch (error) {
      fill(wrong, `${error.message}.`);
      field.setAttribute("aria-invalid", "true");
    }
  };
  const form = h("form.card.stack", { onsubmit: open }, h("p.muted", {}, t("openWhat")),
    h("div.field", {}, h("label", { for: "link" }, t("linkField")), field, wrong), h("div", {}, h("button.button.primary", { type: "submit" }, icon("link"), t("openIt"))));
  const place = h("div");
  main.append(h("div.view.narrow", {}, h("h1", {}, t("open")), form, worksOfThisPage(signal), place));
  const { uploads, page, network } = await health(signal);
  if (!signal.aborted && page === "gateway" && uploads) offering(place, { signal, network: unhex(network) });
}

async function health(signal) {
  const answer = await fetch("/healthz", { cache: "no-store", credentials: "omit", signal });
  return answer.json();
}

/** Offer to publish from this browser, one upload at a time: each takes what memory and line there are. */
function offering(place, { signal, network }) {
  const isSending = () => running().some(({ kind }) => kind === "sending");
  let offered = null;
  const show = (error = null) => {
    offered = !isSending();
    fill(place, offered && h("section.card.drop.stack", {}, h("h2", {}, t("send")), h("p.muted", {}, t("sendWhat", { days: KEPT_DAYS })), error && problem(error),
      h("div.row", {}, chooseButtons(take), h("span.muted", {}, t("dropHere")))));
  };
  const take = (gifts) => {
    const files = gifts.flatMap(({ name, folder, files: all }) => all.map(({ path, file }) => ({ path: folder ? `${name}/${path}` : path, file })));
    if (isSending()) failed(new Error(t("oneAtATime")));
    else if (!files.length) show(new Error(t("nothing")));
    else if (files.length > MOST_FILES) show(new Error(t("tooMany", { count: files.length, most: MOST_FILES })));
    else {
      const sending = new Sending(gifts.length === 1 ? gifts[0].name : t("files", { count: files.length }), files, network);
      keep(sending);
      sending.begin();
    }
  };
  worksChanged(signal, () => { if (offered === isSending()) show(); });
  takeDrops(signal, take, failed);
  show();
}
