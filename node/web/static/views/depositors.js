// For whom the node keeps how much, and the operator's lists: refusing and admitting depositors.

import { get, post } from "../parts/api.js";
import { ask } from "../parts/dialog.js";
import { fill, h } from "../parts/dom.js";
import { count, date, size } from "../parts/format.js";
import { teller } from "../parts/i18n.js";
import { problem } from "../parts/problem.js";
import { repeat } from "../parts/repeat.js";
import { failed, toast } from "../parts/toast.js";
import texts from "../text/operator.js";

const t = teller(texts);
const AGAIN_MS = 30000;
const percent = (part) => `${(100 * part).toLocaleString(undefined, { maximumFractionDigits: part < 0.1 ? 1 : 0 })}\u00a0%`;

/** Two cards, kept true until the signal. */
export function depositors(signal) {
  const table = h("div.scroll", { role: "region", tabindex: 0, "aria-label": t("whose") });
  const lists = h("div.halves.tight", {});
  const other = h("button.button.small", { type: "button", onclick: () => somebody() }, t("refuseOther"));
  const element = h("section.card.stack", {}, h("div.spread", {}, h("h2", {}, t("whose")), other), table, h("h3", {}, t("lists")), lists);
  const again = repeat(signal, async () => {
    try {
      const [found, told] = await Promise.all([get("/v1/operator/depositors", { signal }), get("/v1/operator/lists", { signal })]);
      other.hidden = told.deny === null && told.allow === null;
      fill(table, rows(found, told));
      fill(lists, listed(told));
    } catch (error) {
      if (!signal.aborted) fill(table, problem(error));
    }
    return AGAIN_MS;
  });

  function rows(found, told) {
    if (found.total === 0) return h("p.muted", {}, t("noDepositors"));
    const heads = [["depositor"], ["chunks", "number"], ["bytes", "number"], ["part", "number"], ["leases"], ["state"]];
    return [h("table.table", {}, h("thead", {}, h("tr", {}, heads.map(([key, kind]) => h(kind ? `th.${kind}` : "th", { scope: "col" }, t(key))), h("th", {}, h("span.hidden-label", {}, t("refuse"))))),
      h("tbody", {}, found.depositors.map((one) => row(one, told)))), found.more ? h("p.muted.small", {}, t("andMore", { count: found.more })) : null];
  }

  function row(one, told) {
    const key = h("span.mono", { title: one.key }, `${one.key.slice(0, 8)}…${one.key.slice(-4)}`);
    const act = one.refused ? h("button.button.small", { type: "button", onclick: () => admit(one.key) }, t("admit"))
      : told.deny !== null ? h("button.button.small.danger", { type: "button", onclick: () => refuse(one) }, t("refuse"))
      : one.allowed === false ? h("button.button.small", { type: "button", onclick: () => admit(one.key) }, t("admit")) : null;
    return h("tr", {}, h("th", { scope: "row" }, key), h("td.number", {}, count(one.chunks)), h("td.number", {}, size(one.bytes)),
      h("td.number", { title: `${t("mayTake")}: ${percent(one.share)}` }, percent(one.part)), h("td.small", {}, leases(one)), h("td", {}, standing(one)), h("td.number", {}, act));
  }

  async function refuse(one) {
    await ask(t("refuseTitle"), {
      body: [h("p", {}, h("span.mono", {}, one.key)), h("p", {}, t("refuseWhat", { chunks: t("chunkCount", { count: one.chunks }) }))],
      label: t("refuse"), danger: true, signal, submit: () => change("refuse", one.key),
    });
  }

  async function admit(key) {
    try {
      await change("admit", key);
    } catch (error) {
      failed(error);
    }
  }

  async function change(what, depositor) {
    const said = await post(`/v1/operator/${what}`, { depositor }, { signal });
    toast(what === "refuse" ? t("refuseDone", { count: said.removed_chunks }) : t("admitDone"));
    again();
  }

  function somebody() {
    const choice = h("select", { name: "what", id: "refuse-what" }, ["refuse", "admit"].map((what) => h("option", { value: what }, t(what))));
    return ask(t("refuseOther"), {
      body: [h("div.field", {}, h("label", { for: "refuse-key" }, t("keyLabel")), h("input", { id: "refuse-key", name: "key", required: true, autocomplete: "off", spellcheck: "false" }), h("p.help", {}, t("keyHelp"))),
        h("div.field", {}, h("label", { for: "refuse-what" }, t("state")), choice)],
      label: t("save"), signal, submit: (form) => change(form.get("what"), form.get("key").trim()),
    });
  }

  return { element };
}

function leases({ leases: number, first_expires: first, last_expires: last }) {
  if (!number) return h("span.muted", {}, t("noLease"));
  const when = date(first) === date(last) ? t("until", { first: date(first) }) : t("untilBoth", { first: date(first), last: date(last) });
  return `${count(number)}, ${when}`;
}

function standing(one) {
  if (one.refused) return h("span.badge.bad", {}, t("refusedState"));
  if (one.allowed === null) return h("span.badge", {}, t("everybody"));
  return one.allowed ? h("span.badge.good", {}, t("onList")) : h("span.badge.warn", {}, t("offList"));
}

function listed({ allow, deny }) {
  return [["denylist", deny, "noDeny"], ["allowlist", allow, "noAllow"]].map(([key, list, without]) => h("div.list", {}, h("strong", {}, t(key)),
    list === null ? h("p.muted.small", {}, t(without)) : [h("p.mono", {}, list.file), h("p.small", {}, [
      t("depositorsN", { count: list.depositors }), list.segments === undefined ? null : t("segmentsN", { count: list.segments }),
      list.shares ? t("sharesN", { count: list.shares }) : null].filter(Boolean).join(" · "))]));
}
