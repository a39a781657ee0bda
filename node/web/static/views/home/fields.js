// Fields that creating and restoring an account share.

import { fill, h } from "../../parts/dom.js";
import { duration } from "../../parts/format.js";
import { teller } from "../../parts/i18n.js";
import { strength } from "../../parts/strength.js";
import texts from "../../text/home.js";

const t = teller(texts);
const MIN_CHARACTERS = 8; // as the node asks
const CENTURY = 100 * 365.25 * 86400;
const TONES = ["bad", "bad", "part", "good", "good"];

/** A field for the name of this device. */
export function deviceField(value = "") {
  return h("div.field", {}, h("label", { for: "device" }, t("device")),
    h("input", { id: "device", name: "device", value, required: true, maxlength: 64, placeholder: t("devicePlace"), autocomplete: "off", "aria-describedby": "device-help" }),
    h("p.help", { id: "device-help" }, t("deviceHelp")));
}

/**
 * A passphrase, twice, with an estimate of how hard it is to guess.
 * @returns {{nodes: Node[], read: () => string|null}} `read` gives the passphrase, or shows what is wrong with it
 */
export function newPassphrase() {
  const field = (name) => h("input", { id: name, name, type: "password", required: true, autocomplete: "new-password", "aria-describedby": `${name}-note` });
  const [first, second] = [field("passphrase"), field("again")];
  const [meter, problem] = [h("div.stack.meter", { id: "passphrase-note", "aria-live": "polite" }), h("p.problem", { id: "again-note", role: "alert" })];
  const show = h("input", { type: "checkbox", onchange: () => { first.type = second.type = show.checked ? "text" : "password"; } });
  const estimate = () => fill(meter, first.value ? gauge(first.value) : h("p.help", {}, t("passphraseHelp")));
  const wrong = () => ([...first.value].length < MIN_CHARACTERS ? t("short") : first.value !== second.value ? t("differ") : "");
  first.addEventListener("input", estimate);
  for (const input of [first, second]) input.addEventListener("input", () => { problem.textContent = ""; input.removeAttribute("aria-invalid"); });
  estimate();
  const read = () => {
    problem.textContent = wrong();
    if (!problem.textContent) return first.value;
    const at = [...first.value].length < MIN_CHARACTERS ? first : second;
    at.setAttribute("aria-invalid", "true");
    at.focus();
    return null;
  };
  const nodes = [
    h("div.field", {}, h("label", { for: "passphrase" }, t("passphrase")), first, meter),
    h("div.field", {}, h("label", { for: "again" }, t("again")), second, problem),
    h("label.check", {}, show, t("show")),
  ];
  return { nodes, read };
}

function gauge(passphrase) {
  const { level, seconds } = strength(passphrase);
  const steps = [0, 1, 2, 3, 4].map((step) => h(step <= level ? `span.${TONES[level]}` : "span"));
  const told = seconds > CENTURY ? t("guessLong") : seconds < 3600 ? t("guessShort") : t("guess", { time: long(seconds) });
  return [h("div.gauge", { "aria-hidden": "true" }, steps), h("p.help", {}, h("strong", {}, t("strengthIs", { level: t(`level${level}`) }), " "), told)];
}

function long(seconds) {
  const years = seconds / (365.25 * 86400);
  return years >= 2 ? t("years", { count: Math.round(years) }) : duration(seconds);
}
