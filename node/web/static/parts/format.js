// Figures as people read them, in the page's language.

import { h } from "./dom.js";
import { language } from "./i18n.js";

const NBSP = "\u00a0";
const UNITS = { en: ["B", "kB", "MB", "GB", "TB", "PB"], fr: ["o", "ko", "Mo", "Go", "To", "Po"] };

const made = new Map();

/** The formatter of a kind in the page's language, which may change while it is open. */
function intl(kind, options) {
  const key = [language(), kind.name, JSON.stringify(options)].join();
  if (!made.has(key)) made.set(key, new kind(language(), options));
  return made.get(key);
}

const rounded = (value, digits) => intl(Intl.NumberFormat, { maximumFractionDigits: digits }).format(value);

/** A whole number with the language's separators. */
export const count = (value) => rounded(value, 0);

/** Bytes as "1.5 MB"; powers of 1000. */
export function size(bytes) {
  let unit = 0;
  let shown = bytes;
  while (shown >= 999.5 && unit < 5) {
    shown /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && shown < 99.95 ? 1 : 0;
  return rounded(shown, digits) + NBSP + UNITS[language()][unit];
}

/** Bytes per second as "1.5 MB/s". */
export const speed = (rate) => `${size(rate)}/s`;

/** Seconds as "12 s", "3 min 5 s", "2 h 10 min", "4 d". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const day = language() === "fr" ? "j" : "d";
  const parts = whole < 60 ? [[whole, "s"]]
    : whole < 3600 ? [[Math.floor(whole / 60), "min"], [whole % 60, "s"]]
    : whole < 86400 ? [[Math.floor(whole / 3600), "h"], [Math.floor((whole % 3600) / 60), "min"]]
    : [[Math.round(whole / 86400), day]];
  return parts.filter(([value], index) => value || index === 0).map(([value, unit]) => value + NBSP + unit).join(" ");
}

/** A day; `seconds` since 1970. */
export const date = (seconds) => intl(Intl.DateTimeFormat, { dateStyle: "medium" }).format(seconds * 1000);

/** A day and time. */
export const moment = (seconds) => intl(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1000);

const ago = (value, unit) => intl(Intl.RelativeTimeFormat, { numeric: "auto" }).format(value, unit);

/** "in 3 months", "2 days ago". */
export function relative(seconds, now = Date.now() / 1000) {
  const away = seconds - now;
  for (const [unit, length] of [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(away) >= length) return ago(Math.trunc(away / length), unit);
  }
  return ago(Math.trunc(away), "second");
}

/** A claimed country's name, of its two letters. */
export function country(code) {
  try {
    return intl(Intl.DisplayNames, { type: "region", fallback: "code" }).of(code);
  } catch {
    return code; // what a node claims need not be a country
  }
}

/** "a, b and c". */
export const list = (items) => intl(Intl.ListFormat, { type: "conjunction" }).format(items);

/**
 * A progress bar.
 * @param {string} label for screen readers
 * @param {Array<[string, number]>} parts class ("done", "part", "good", "bad") and share of the whole (0 to 1), beside each other
 */
export function bar(label, parts) {
  const whole = Math.min(1, parts.reduce((sum, [, share]) => sum + share, 0));
  return h("div.bar", { role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.floor(whole * 100) },
    parts.map(([kind, share]) => {
      const span = h(`span.${kind}`);
      span.style.setProperty("--share", share);
      return span;
    }));
}
