// A file shown in the page: text, pictures, sound, films, PDF. What a browser would run is shown as text, or not at all.

import { fill, h } from "../parts/dom.js";
import { size } from "../parts/format.js";
import { problem } from "../parts/problem.js";
import { kindOf } from "./kinds.js";
import { canStream, offer } from "./streams.js";

const TEXT_BYTES = 256 * 1024;
const IMAGE_BYTES = 64 * 1024 * 1024;
/** A player that seeks throws away what it had asked for: so little of it is fetched at a time. */
const PLAYER_STEP_BYTES = 1024 * 1024;

/**
 * Show a file.
 * @param {HTMLElement} place what it held goes
 * @param {Deposit} deposit
 * @param {Entry} entry
 * @param {{signal: AbortSignal, t: Function}} context
 */
export async function preview(place, deposit, entry, { signal, t }) {
  const name = entry.path.split("/").at(-1);
  const { kind, type } = kindOf(name);
  const show = { text, image, audio: player, video: player, pdf }[kind];
  if (show === undefined || entry.size === 0) {
    fill(place, h("p.muted", {}, t(entry.size ? "noPreview" : "emptyFile")));
    return;
  }
  fill(place, h("div.row.muted", { role: "status" }, h("span.spinner"), t("loading")));
  try {
    const shown = await show({ deposit, entry, name, kind, type, signal, t });
    if (!signal.aborted) fill(place, shown);
  } catch (error) {
    if (!signal.aborted) fill(place, problem(error));
  }
}

async function text({ deposit, entry, name, signal, t }) {
  const data = await deposit.readSmall(entry, 0, TEXT_BYTES, signal);
  const shown = new TextDecoder().decode(data, { stream: data.length < entry.size }); // the last character may be cut
  const rest = data.length < entry.size ? h("p.muted.small", {}, t("firstPart", { size: size(data.length) })) : null;
  return [h("pre.text", { tabindex: 0, "aria-label": name }, shown), rest];
}

async function image({ deposit, entry, name, type, signal, t }) {
  if (entry.size > IMAGE_BYTES) return h("p.muted", {}, t("tooLarge"));
  const parts = [];
  for await (const part of deposit.read(entry, 0, entry.size, { signal })) parts.push(new Blob([part])); // a copy: its memory is used again
  const url = URL.createObjectURL(new Blob(parts, { type }));
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  return h("img.shown", { src: url, alt: name });
}

async function player({ deposit, entry, name, kind, type, signal, t }) {
  const problems = h("div", { role: "alert" });
  const fate = { error: null, failed: (error) => fill(problems, problem(error, h("div", {}, again))) };
  const again = h("button.button.small", { type: "button", onclick: () => { fate.error = null; fill(problems); shown.load(); } }, t("again"));
  const src = await streamed({ deposit, entry, name, type, signal, t, fate, stepBytes: PLAYER_STEP_BYTES });
  const cannot = () => { if (fate.error === null) fill(problems, h("p.notice.warn", {}, t("cannotPlay"))); };
  const shown = h(`${kind}.shown`, { src, controls: true, preload: "metadata", "aria-label": name, onerror: cannot });
  return [shown, problems];
}

async function pdf({ deposit, entry, name, type, signal, t }) {
  if (navigator.pdfViewerEnabled === false) return h("p.muted", {}, t("noPdf"));
  const problems = h("div", { role: "alert" });
  const fate = { error: null, failed: (error) => fill(problems, problem(error)) };
  return [problems, h("iframe.shown.pdf", { src: await streamed({ deposit, entry, name, type, signal, t, fate }), title: name })];
}

/** @param fate `failed` is called with what hinders the reading, which `error` keeps: the browser itself says only that it cannot */
async function streamed({ deposit, entry, name, type, signal, t, fate, stepBytes }) {
  if (!canStream()) throw new Error(t("noWorker"));
  async function* read(start, stop, wanted) {
    const both = AbortSignal.any([wanted, signal]);
    try {
      yield* deposit.read(entry, start, stop, { stepBytes, signal: both });
    } catch (error) {
      if (!both.aborted) {
        fate.error = error;
        fate.failed(error);
      }
      throw error;
    }
  }
  const { url, close } = await offer({ size: entry.size, type, name, read });
  signal.addEventListener("abort", close);
  return url;
}
