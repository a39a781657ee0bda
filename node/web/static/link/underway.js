// What this page does itself: downloads of links, and uploads through a gateway. They outlive the view that began them and a
// change of the language; the view of a link and the Transfers show them, above all other views stands a strip.

import { fill, h } from "../parts/dom.js";
import { bar, count } from "../parts/format.js";
import { teller } from "../parts/i18n.js";
import { sentence } from "../parts/problem.js";
import { toast } from "../parts/toast.js";
import texts from "../text/link.js";
import { drawSaving, drawSending } from "./cards.js";

const t = teller(texts);
const DRAW = { saving: drawSaving, sending: drawSending };
const RUNNING = new Set(["waiting", "running", "paused"]);
const DRAWN_MS = 250;
/** Between two views there is none for a moment. */
const BETWEEN_MS = 300;
const MOST_ENDED = 20;

/** Saving or Sending -> {state: as it was last told, drawn: performance.now(), timer, ended} */
const works = new Map();
const told = new EventTarget();
let sections = 0;
let strip = null;

/** Whether it has not ended. */
export const isRunning = (work) => RUNNING.has(work.state);

/** Those that have not ended. */
export const running = () => [...works.keys()].filter(isRunning);

/** Call `act` when one begins, changes or ends, until the signal. */
export const worksChanged = (signal, act) => told.addEventListener("changed", ({ detail }) => act(detail), { signal });

const tell = (work) => told.dispatchEvent(new CustomEvent("changed", { detail: work }));

/**
 * Have a download or an upload go on until it ends, wherever somebody goes in this page.
 * @param {Saving|Sending} work not begun yet
 * @param {() => void} [ended] called once when it has
 */
export function keep(work, ended = () => {}) {
  works.set(work, { state: work.state, drawn: 0, timer: null, ended });
  work.onchange = () => changed(work);
  const over = [...works.keys()].filter((one) => ["done", "cancelled"].includes(one.state) && !one.link);
  for (const one of over.slice(0, Math.max(0, over.length - MOST_ENDED))) drop(one);
  frame();
  tell(work);
}

function drop(work) {
  works.delete(work);
  tell(work);
}

/** Figures are drawn four times a second at most, a new state at once. */
function changed(work) {
  const one = works.get(work);
  if (!one) return;
  const draw = () => {
    clearTimeout(one.timer);
    one.timer = null;
    one.drawn = performance.now();
    frame();
    tell(work);
  };
  if (one.state === work.state) {
    one.timer ??= setTimeout(draw, Math.max(0, one.drawn + DRAWN_MS - performance.now()));
    return;
  }
  one.state = work.state;
  draw();
  if (isRunning(work)) return;
  one.ended();
  if (sections === 0) endedUnseen(work);
}

function endedUnseen({ name, state, error }) {
  if (state === "done") toast(t("isDone", { name }));
  else if (state === "failed") toast(t("hasFailed", { name }), { bad: true, hint: sentence(error.message) });
}

const asks = (event) => event.preventDefault();

/** Nobody leaves the page by mistake, nor has to look for what is under way in it. */
function frame() {
  const going = running();
  if (going.length) addEventListener("beforeunload", asks);
  else removeEventListener("beforeunload", asks);
  if (strip === null && going.length) {
    strip = h("aside.strip", { hidden: true });
    document.querySelector("#notices").after(strip);
    new MutationObserver(frame).observe(document.documentElement, { attributeFilter: ["lang"] });
  }
  if (strip === null) return;
  strip.hidden = going.length === 0 || sections > 0;
  if (strip.hidden) return;
  const whole = going.reduce((sum, { size }) => sum + size, 0);
  const share = whole ? going.reduce((sum, { bytes }) => sum + bytes, 0) / whole : 1;
  const what = going.length === 1 ? going[0].name : t("several", { count: count(going.length) });
  const focused = strip.contains(document.activeElement);
  strip.setAttribute("aria-label", t("ofThisPage"));
  fill(strip, h("span.clip", {}, h("strong", {}, t("stillHere")), " ", what), bar(what, [["done", share]]), h("a", { href: "#/transfers" }, t("showThem")));
  if (focused) strip.querySelector("a").focus();
}

/**
 * What this page has under way, or has ended and nobody has closed; kept up until the signal. Empty where there is nothing.
 * @param {AbortSignal} signal
 * @param {{headed?: boolean}} options headed: with a heading that tells what this is
 * @returns {HTMLElement}
 */
export function worksOfThisPage(signal, { headed = false } = {}) {
  const place = h("section.stack.of-page", { "aria-label": t("ofThisPage") });
  if (signal.aborted) return place;
  const cards = new Map();
  const head = headed ? h("div.stack.tight", {}, h("h2", {}, t("ofThisPage")), h("p.small.muted", {}, t("ofThisPageWhat"))) : null;
  const draw = (work) => {
    if (!works.has(work)) {
      cards.get(work)?.remove();
      cards.delete(work);
    } else {
      if (!cards.has(work)) {
        cards.set(work, h("article.card.flat.saving", { "aria-label": work.name }));
        if (head) place.prepend(head);
        if (head) head.after(cards.get(work));
        else place.prepend(cards.get(work));
      }
      DRAW[work.kind](cards.get(work), work, () => drop(work));
    }
    if (!cards.size) fill(place);
  };
  sections += 1;
  worksChanged(signal, draw);
  signal.addEventListener("abort", () => {
    sections -= 1;
    setTimeout(frame, BETWEEN_MS);
  }, { once: true });
  for (const work of works.keys()) draw(work);
  frame();
  return place;
}
