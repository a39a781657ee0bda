// Where there is no link yet: a field for one; and on a gateway that takes them, files sealed in this browser.

import { parseLink } from "../core/links.js";
import { httpPost } from "../core/http.js";
import { workerPool } from "../core/pool.js";
import { publish } from "../core/writer.js";
import { unhex } from "../core/bytes.js";
import { chooseButtons, takeDrops } from "../parts/choose.js";
import { fill, h } from "../parts/dom.js";
import { bar, country, date, list, size } from "../parts/format.js";
import { teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { problem } from "../parts/problem.js";
import texts from "../text/link.js";

const t = teller(texts);
const KEPT_DAYS = 30;
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
  const sending = h("div");
  main.append(h("div.view.narrow", {}, h("h1", {}, t("open")), form, sending));
  const { uploads, page, network } = await health(signal);
  if (!signal.aborted && page === "gateway" && uploads) new Sending(sending, { signal, network: unhex(network) }).offer();
}

async function health(signal) {
  const answer = await fetch("/healthz", { cache: "no-store", credentials: "omit", signal });
  return answer.json();
}

/** Publishing from this browser. */
class Sending {
  constructor(place, { signal, network }) {
    Object.assign(this, { place, signal, network });
  }

  offer(failed = null) {
    fill(this.place, h("section.card.drop.stack", {}, h("h2", {}, t("send")), h("p.muted", {}, t("sendWhat", { days: KEPT_DAYS })), failed && problem(failed),
      h("div.row", {}, chooseButtons((gifts) => this.take(gifts)), h("span.muted", {}, t("dropHere")))));
    this.drops?.abort();
    this.drops = new AbortController();
    takeDrops(AbortSignal.any([this.drops.signal, this.signal]), (gifts) => this.take(gifts), (error) => this.offer(error));
  }

  take(gifts) {
    this.drops.abort();
    this.send(gifts.flatMap(({ name, folder, files }) => files.map(({ path, file }) => ({ path: folder ? `${name}/${path}` : path, file }))));
  }

  async send(files) {
    if (!files.length) {
      this.offer(new Error(t("nothing")));
      return;
    }
    if (files.length > MOST_FILES) {
      this.offer(new Error(t("tooMany", { count: files.length, most: MOST_FILES })));
      return;
    }
    const cancel = new AbortController();
    const signal = AbortSignal.any([this.signal, cancel.signal]);
    const pool = workerPool();
    const told = h("div.stack");
    const waiting = h("div", { role: "status" });
    fill(this.place, h("section.card.stack", {}, h("h2", {}, t("sending")), told, waiting,
      h("div", {}, h("button.button", { type: "button", onclick: () => cancel.abort() }, t("cancelSaving")))));
    const expiry = Math.floor(Date.now() / 1000) + KEPT_DAYS * 86400 - 3600; // our clock may be ahead of the gateway's
    try {
      const made = await publish(files.map(asSource), {
        post: httpPost(fetch.bind(window), "/v1/segments"), network: this.network, expiry, pool, signal,
        onProgress: (now) => fill(told, progress(now)),
        onWait: (wait) => fill(waiting, wait && h("p.notice.warn", {}, `${t("waiting", { seconds: Math.round(wait.seconds) })} ${wait.cause}`)),
      });
      this.done(made.link, expiry);
    } catch (error) {
      if (!this.signal.aborted) this.offer(cancel.signal.aborted ? null : error);
    } finally {
      pool.close();
    }
  }

  done(link, expiry) {
    const word = `${location.origin}/#${link}`;
    const field = h("textarea.mono", { readonly: true, rows: 4, "aria-label": t("linkField") }, word);
    const copied = h("span.muted", { role: "status" });
    const copy = async () => {
      await navigator.clipboard.writeText(word);
      fill(copied, t("copied"));
    };
    fill(this.place, h("section.card.stack", {}, h("h2", {}, t("sent")), h("p", {}, t("sentWhat")), h("div.field", {}, field),
      h("div.row", {}, h("button.button.primary", { type: "button", onclick: copy }, icon("copy"), t("copy")), copied,
        h("button.button.quiet", { type: "button", onclick: () => this.offer() }, t("sendMore"))),
      h("p.small.muted", {}, t("until", { date: date(expiry) }))));
  }
}

function asSource({ path, file }) {
  const read = async (start, stop) => new Uint8Array(await file.slice(start, stop).arrayBuffer());
  return { path, size: file.size, mtime: file.lastModified / 1000, read };
}

function progress({ totalBytes, sealedBytes, placedBytes, chunks, placed, countries }) {
  const whole = totalBytes || 1;
  const where = Object.keys(countries).map((code) => (code === "" ? t("noWhere") : country(code)));
  return [
    bar(t("sending"), [["done", placedBytes / whole], ["part", Math.max(0, sealedBytes - placedBytes) / whole]]),
    h("p.small.muted.number", {}, [t("sealed", { bytes: size(sealedBytes) }), t("placed", { bytes: size(placedBytes), all: size(totalBytes) })].join(" · ")),
    chunks ? h("p.small.muted.number", {}, t("chunksPlaced", { placed, chunks, countries: where.length ? list(where) : t("noWhere") })) : null,
  ];
}
