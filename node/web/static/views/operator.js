// The node as its operator sees it: what it holds and does, whose chunks it keeps, its limits, and leaving.

import { get } from "../parts/api.js";
import { copy } from "../parts/copy.js";
import { fill, h } from "../parts/dom.js";
import { bar, count, country, duration, relative, size } from "../parts/format.js";
import { teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { on } from "../parts/live.js";
import { problem, sentence } from "../parts/problem.js";
import { repeat } from "../parts/repeat.js";
import { style } from "../parts/style.js";
import texts from "../text/operator.js";
import { depositors } from "./depositors.js";
import { leaving } from "./leaving.js";
import { limits } from "./limits.js";
import { traffic } from "./traffic.js";

const t = teller(texts);
const STATUS_MS = 2000;

/**
 * Show the view.
 * @param {HTMLElement} main where
 * @param {{signal: AbortSignal}} context the signal ends all that the view does
 */
export async function view(main, { signal }) {
  await style("/views/operator.css");
  if (signal.aborted) return;
  const place = Object.fromEntries(["trouble", "head", "room", "health", "tending"].map((name) => [name, h("div", {})]));
  const moving = traffic();
  const own = { id: null };
  const parts = [depositors(signal), limits(signal), leaving(signal, own)];
  main.append(h("div.view.operator", {}, place.trouble, place.head, h("div.halves", {}, place.room, moving.element, place.health, place.tending),
    parts.map((part) => part.element), h("p.small", {}, h("a", { href: "/metrics", target: "_blank", rel: "noopener" }, t("metrics")))));
  const running = h("span");
  const shown = {};
  /** Drawn anew when what it says has changed: what somebody has selected stays selected. */
  const put = (name, key, make) => {
    const told = JSON.stringify(key);
    if (shown[name] !== told) fill(place[name], make());
    shown[name] = told;
  };
  const again = repeat(signal, async () => {
    try {
      const status = await get("/v1/status", { signal });
      if (signal.aborted) return STATUS_MS;
      own.id = status.node_id;
      fill(place.trouble);
      const { full, quota, storing, why_not_storing: why, node_id: id, address, country, network, software } = status;
      put("head", [full, quota.used_bytes > quota.limit_bytes, storing, why, id, address, country, network, software], () => head(status, running));
      running.textContent = t("since", { time: duration(status.uptime_seconds) });
      put("room", [quota, status.held], () => room(status));
      put("health", status.healing, () => health(status.healing));
      put("tending", [status.tending, Math.floor(Date.now() / 60000)], () => tending(status.tending));
      moving.show(status);
    } catch (error) {
      if (!signal.aborted) fill(place.trouble, problem(error));
    }
    return STATUS_MS;
  });
  on("change", signal, again);
}

/** Figures beside each other; those without a value are left out. */
const facts = (...figures) => h("dl.facts", {}, figures.filter(Boolean).map(([key, value, kind]) =>
  h("div", {}, h("dt", {}, t(key)), h(kind ? `dd.${kind}` : "dd", {}, value))));

function head(status, running) {
  const state = status.storing ? h("span.badge.good", {}, h("span.dot.good", {}), t("storing")) : h("span.badge.warn", {}, h("span.dot.warn", {}), t("notStoring"));
  const over = status.quota.used_bytes > status.quota.limit_bytes;
  return h("div.stack", {}, h("div.spread", {}, h("h1", {}, t("title")), h("span.row", {}, state, status.full ? h("span.badge.warn", {}, t(over ? "over" : "full")) : null)),
    h("p.lead", {}, t("lead")),
    status.why_not_storing ? h("p.notice.warn", {}, icon("warning"), h("span", {}, sentence(status.why_not_storing))) : null,
    h("dl.facts.who-is", {}, [
      ["id", [h("span.mono", {}, status.node_id), " ", copyButton("id", status.node_id)]], ["address", [h("span.mono", {}, status.address), " ", copyButton("address", status.address)]],
      ["claims", status.country ? country(status.country) : t("none")], ["network", status.network],
      ["running", running], ["software", status.software],
    ].map(([key, value]) => h("div", {}, h("dt", {}, t(key)), h("dd.plain", {}, value)))));
}

const copyButton = (what, text) => h("button.button.quiet.icon.small", { type: "button", "aria-label": `${t("copy")}: ${t(what)}`, title: t("copy"), onclick: () => copy(text) }, icon("copy", 16));

function room({ quota, held }) {
  const whole = Math.max(1, quota.limit_bytes);
  const kept = quota.used_bytes - quota.trash_bytes;
  return h("section.card.stack", {}, h("h2", {}, t("room")), bar(t("roomBar"), [["done", kept / whole], ["part", quota.trash_bytes / whole]]),
    facts(["used", size(quota.used_bytes)], ["trash", size(quota.trash_bytes)], ["free", size(quota.free_bytes)], ["limit", size(quota.limit_bytes)],
      ["held", count(held.chunks)], ["segments", count(held.segments)], ["depositorCount", count(held.depositors)], ["records", count(held.records)]),
    quota.trash_bytes ? h("p.muted.small", {}, t("trashHelp")) : null);
}

function health(healing) {
  const verdict = healing.beyond_repair ? h("span.badge.bad", {}, t("lostSome", { count: healing.beyond_repair }))
    : healing.repairs_pending ? h("span.badge.warn", {}, t("someBroken", { count: healing.repairs_pending })) : h("span.badge.good", {}, t("allWhole"));
  return h("section.card.stack", {}, h("div.spread", {}, h("h2", {}, t("health")), verdict),
    facts(["coHolders", count(healing.co_holders)], ["missing", count(healing.missing_nodes)],
      ["passed", count(healing.audits_passed)], ["failedAudits", count(healing.audits_failed)], ["silent", count(healing.audits_silent)],
      ["rebuilt", count(healing.repairs_done)], ["failedRepairs", count(healing.repairs_failed)],
      ["scrubbed", count(healing.scrubbed_chunks)], ["rotten", count(healing.rotten_chunks)],
      ["moved", count(healing.handed_on)], ["takenOver", count(healing.taken_over)]));
}

function tending(told) {
  if (told === null) return null;
  const failures = told.failed + told.failed_names + told.failed_drive + told.failed_rounds;
  const rounds = [told.last_round ? t("lastRound", { when: relative(told.last_round) }) : t("noRound"),
    told.next_round && !told.locked ? t(told.last_round ? "nextRound" : "firstRound", { when: relative(told.next_round) }) : null].filter(Boolean).join(" · ");
  return h("section.card.stack", {}, h("h2", {}, t("tending")),
    told.locked ? h("p.notice.warn", {}, icon("lock"), h("span", {}, t("tendLocked"))) : null,
    facts(...[["deposits", told.deposits], ["weak", told.weak], ["beyond", told.lost_segments], ["names", told.names],
      ["restored", told.restored_chunks], ["renewed", told.renewed_segments], ["tendFailures", failures]].map(([key, value]) => [key, told.last_round || value ? count(value) : "–"])),
    h("p.muted.small", {}, rounds),
    told.refusals.slice(0, 3).map((refusal) => h("p.small", {}, icon("warning", 16), ` ${refusal.nodes} × ${refusal.code}: ${refusal.reason}`)));
}
