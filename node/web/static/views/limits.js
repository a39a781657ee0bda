// The limits of the node, which can be changed while it runs.

import { get, patch } from "../parts/api.js";
import { fill, h } from "../parts/dom.js";
import { list, size } from "../parts/format.js";
import { language, teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { problem } from "../parts/problem.js";
import { parseSize, typedSize } from "../parts/sizes.js";
import { toast } from "../parts/toast.js";
import texts from "../text/operator.js";

const t = teller(texts);
const LEAST_RATE = 16384;
const UNITS = { en: ["B", "kB", "MB", "GB", "TB", "PB"], fr: ["o", "ko", "Mo", "Go", "To", "Po"] };
const OPTIONS = { quota_bytes: "‑‑quota", up_bytes_per_second: "‑‑up", down_bytes_per_second: "‑‑down" }; // with hyphens that no line ends at
const FIELDS = [["quota_bytes", "quota", "quotaHelp"], ["up_bytes_per_second", "upLimit", "rateHelp"], ["down_bytes_per_second", "downLimit", "rateHelp"]];

/** A card with a form. */
export function limits(signal) {
  const inputs = new Map();
  const problems = new Map();
  const notes = h("div.stack", {});
  const failure = h("div", { role: "alert" });
  const press = h("button.button.primary", { type: "submit", disabled: true }, t("save"));
  let now = null;
  const fields = FIELDS.map(([name, label, help]) => {
    const input = h("input", { id: name, name, autocomplete: "off", inputmode: "text", "aria-describedby": `${name}-help ${name}-problem`, oninput: changed });
    const wrong = h("p.problem", { id: `${name}-problem`, "aria-live": "polite" });
    inputs.set(name, input);
    problems.set(name, wrong);
    return h("div.field", {}, h("label", { for: name }, t(label)), input, h("p.help", { id: `${name}-help` }, t(help)), wrong);
  });
  const element = h("section.card.stack", {}, h("div", {}, h("h2", {}, t("limits")), h("p.muted", {}, t("limitsLead"))),
    h("form.stack", { onsubmit: save, novalidate: true }, h("div.grid", {}, fields), notes, failure, h("div.row", {}, press)));

  function take(found) {
    now = found;
    for (const [name, input] of inputs) input.value = found[name] === null ? "" : typedSize(found[name], UNITS[language()]);
    changed();
  }

  /** The limit that is typed; a text: what is wrong with it. */
  function typed(name) {
    const text = inputs.get(name).value.trim();
    if (text === "") return name === "quota_bytes" ? t("needed") : null;
    const bytes = parseSize(text);
    if (bytes === null) return t("notASize", { example: typedSize(name === "quota_bytes" ? 2e11 : 2e6, UNITS[language()]) });
    if (bytes > Number.MAX_SAFE_INTEGER) return t("tooMuch");
    return name !== "quota_bytes" && bytes < LEAST_RATE ? t("tooSlow") : bytes;
  }

  /** What differs from what is in force; null: something is wrong. */
  function wanted() {
    const found = {};
    for (const name of inputs.keys()) {
      const value = typed(name);
      if (typeof value === "string") return null;
      if (value !== now[name]) found[name] = value;
    }
    return found;
  }

  function changed() {
    if (now === null) return;
    for (const [name, input] of inputs) {
      const value = typed(name);
      fill(problems.get(name), typeof value === "string" ? value : null);
      if (typeof value === "string") input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
    const changes = wanted();
    press.disabled = changes === null || Object.keys(changes).length === 0;
    const quota = typed("quota_bytes");
    fill(notes, typeof quota === "number" && quota < now.used_bytes ? note("warn", t("belowUsed", { used: size(now.used_bytes) })) : null,
      now.given.length ? note("info", t("given", { options: list(now.given.map((name) => OPTIONS[name])) })) : null);
  }

  async function save(event) {
    event.preventDefault();
    const changes = now === null ? null : wanted();
    if (changes === null || Object.keys(changes).length === 0) return;
    press.disabled = true;
    fill(failure);
    try {
      take(await patch("/v1/operator/limits", changes, { signal }));
      toast(t("saved"));
    } catch (error) {
      if (signal.aborted) return;
      fill(failure, problem(error));
      press.disabled = false;
    }
  }

  (async () => {
    try {
      take(await get("/v1/operator/limits", { signal }));
    } catch (error) {
      if (!signal.aborted) fill(failure, problem(error));
    }
  })();
  return { element };
}

const note = (kind, text) => h(kind === "warn" ? "p.notice.warn" : "p.notice", {}, icon(kind === "warn" ? "warning" : "info"), h("span", {}, text));
