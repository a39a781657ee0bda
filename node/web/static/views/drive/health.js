// How well a thing is: what it survives, in words.

import { dialog } from "../../parts/dialog.js";
import { h } from "../../parts/dom.js";
import { bar, count, country, list } from "../../parts/format.js";
import { teller } from "../../parts/i18n.js";
import { icon } from "../../parts/icons.js";
import { sentence } from "../../parts/problem.js";
import texts from "../../text/drive.js";

const t = teller(texts);

/**
 * @param {Object} found of GET /v1/drive/health
 * @returns {{tone: "good"|"warn"|"bad"|"", text: string, survives: boolean}} survives: whether the text says the loss of what
 */
export function verdict(found) {
  if (found.state === "lost" || found.survives?.nodes < 0) return { tone: "bad", text: t("lost"), survives: false };
  if (found.state === "unknown" || !found.survives) return { tone: "", text: t("notKnown"), survives: false };
  const { nodes, country: some, not_country: none } = found.survives;
  const countries = some.length > 0 && none.length === 0;
  const text = nodes === 0 ? t("noLoss") : countries ? t("nodesAndCountry", { count: nodes }) : t("nodesOnly", { count: nodes });
  return { tone: found.healthy && nodes > 0 ? "good" : "warn", text, survives: true };
}

/** A badge that opens the details. */
export function healthBadge(found, act) {
  const { tone, text } = verdict(found);
  return h(toned("button.badge", tone), { type: "button", tabindex: -1, onclick: act }, h(toned("span.dot", tone)), text);
}

const toned = (tag, tone) => (tone ? `${tag}.${tone}` : tag);

/** What is known of a thing's health. */
export function healthDialog(item, found, signal) {
  const { text, tone, survives } = verdict(found);
  const lead = h(toned("div.notice", tone), {}, icon(tone === "good" ? "check" : tone ? "warning" : "info"), h("div", {}, survives ? h("div.small", {}, t("health")) : null, h("strong", {}, text), found.error ? h("div", {}, sentence(found.error)) : null));
  return dialog(t("healthOf", { name: item.name }), () => [lead, found.survives ? details(found) : null, h("p.small.muted", {}, t("claims"))].filter(Boolean), { signal });
}

function details({ live, chunks, lost_segments: lost, survives, countries }) {
  const most = Math.max(1, ...Object.values(countries));
  const rows = Object.entries(countries).sort((a, b) => b[1] - a[1]).map(([code, chunks]) =>
    h("li.country", {}, h("span.clip", {}, country(code)), bar(country(code), [["done", chunks / most]]), h("span.number.small", {}, count(chunks))));
  const losing = survives.not_country.map(country);
  return h("div.stack", {},
    h("p", {}, t("liveOf", { live: count(live), n: count(chunks) }), lost ? ` ${t("lostParts", { count: lost })}` : null),
    losing.length ? h("p", {}, t("notCountry", { countries: list(losing) })) : null,
    h("ul.stack.countries", {}, rows));
}
