// How well a thing is: what it survives, in words.

import { dialog } from "../../parts/dialog.js";
import { h } from "../../parts/dom.js";
import { bar, count, country, list } from "../../parts/format.js";
import { teller } from "../../parts/i18n.js";
import { icon } from "../../parts/icons.js";
import texts from "../../text/drive.js";

const t = teller(texts);

/**
 * @param {Object} found of GET /v1/drive/health
 * @returns {{tone: "good"|"warn"|"bad", text: string}}
 */
export function verdict(found) {
  if (found.error) return { tone: "bad", text: t("notKnown") };
  const { nodes, country: some, not_country: none } = found.survives;
  if (nodes < 0 || (found.k && found.live < found.k)) return { tone: "bad", text: found.k ? t("tooFew", { live: found.live, k: found.k }) : t("lost") };
  const countries = some.length > 0 && none.length === 0;
  const text = nodes === 0 ? t("noLoss") : countries ? t("nodesAndCountry", { count: nodes }) : t("nodesOnly", { count: nodes });
  return { tone: found.healthy && nodes > 0 ? "good" : "warn", text };
}

/** A badge that opens the details. */
export function healthBadge(found, act) {
  const { tone, text } = verdict(found);
  return h(`button.badge.${tone}`, { type: "button", tabindex: -1, onclick: act }, h(`span.dot.${tone}`), text);
}

/** What is known of a thing's health. */
export function healthDialog(item, found, signal) {
  const { text, tone } = verdict(found ?? { error: t("notLooked") });
  const lead = h(`div.notice.${tone}`, {}, icon(tone === "good" ? "check" : "warning"), h("div", {}, h("strong", {}, text), found?.error ? h("div", {}, found.error) : null));
  return dialog(t("healthOf", { name: item.name }), () => [lead, found && !found.error ? details(found) : null, h("p.small.muted", {}, t("claims"))].filter(Boolean), { signal });
}

function details({ live, n, survives, countries }) {
  const most = Math.max(1, ...Object.values(countries));
  const rows = Object.entries(countries).sort((a, b) => b[1] - a[1]).map(([code, chunks]) =>
    h("li.country", {}, h("span.clip", {}, country(code)), bar(country(code), [["done", chunks / most]]), h("span.number.small", {}, count(chunks))));
  const losing = survives.not_country.map(country);
  return h("div.stack", {},
    h("p", {}, n ? t("liveOf", { live: count(live), n: count(n) }) : t("live", { count: live })),
    losing.length ? h("p", {}, t("notCountry", { countries: list(losing) })) : null,
    h("ul.stack.countries", {}, rows));
}
