// Leaving the network: asked for twice, watched to its end.

import { get, post } from "../parts/api.js";
import { ask } from "../parts/dialog.js";
import { fill, h } from "../parts/dom.js";
import { bar, count, size } from "../parts/format.js";
import { teller } from "../parts/i18n.js";
import { icon } from "../parts/icons.js";
import { on } from "../parts/live.js";
import { repeat } from "../parts/repeat.js";
import texts from "../text/operator.js";

const t = teller(texts);
const WATCHED_MS = 1000;
const RARELY_MS = 15000;
const DIGITS = 8;

/**
 * A card.
 * @param {AbortSignal} signal
 * @param {{id: string|null}} own the node's id, once it is known
 */
export function leaving(signal, own) {
  const told = h("div", { role: "status" });
  const press = h("button.button.danger", { type: "button", onclick: begin }, t("leaveButton"));
  const element = h("section.card.stack", {}, h("h2", {}, t("leave")), h("p.muted", {}, t("leaveLead")), told, h("div.row", {}, press));
  let over = false;
  const again = repeat(signal, async () => {
    if (over) return RARELY_MS;
    try {
      return show(await get("/v1/operator/leave", { signal }));
    } catch {
      return RARELY_MS / 5; // the view tells that the node does not answer
    }
  });

  on("leaving", signal, show);

  function show({ state, progress, trouble }) {
    if (signal.aborted) return RARELY_MS;
    press.hidden = state === "leaving" || state === "left";
    over = state === "left";
    if (state === "leaving") fill(told, underWay(progress));
    else if (over) fill(told, notice("good", "check", t("left")));
    else if (trouble) fill(told, notice("bad", "warning", t("stayedTrouble", { why: trouble })));
    else if (state === "stayed") fill(told, notice("warn", "warning", t("stayed", { left: count(progress.left), total: count(progress.total) })), reasons(progress.why));
    else fill(told);
    return state === "leaving" ? WATCHED_MS : RARELY_MS;
  }

  async function begin() {
    if (own.id === null) return;
    const digits = own.id.slice(0, DIGITS);
    await ask(t("leaveTitle"), {
      body: [h("p", {}, t("leaveLead")), h("div.field", {}, h("label", { for: "leave-digits" }, t("leaveType", { digits })),
        h("input", { id: "leave-digits", name: "digits", autocomplete: "off", spellcheck: "false", required: true, maxlength: DIGITS }))],
      label: t("leaveConfirm"), danger: true, signal,
      submit: async (form) => {
        if (form.get("digits").trim().toLowerCase() !== digits) throw new Error(t("leaveWrong"));
        show(await post("/v1/operator/leave", { node_id: own.id }, { signal }));
        again();
      },
    });
  }

  return { element };
}

function underWay(progress) {
  const text = t("handing", { moved: count(progress.moved), total: count(progress.total), left: count(progress.left), bytes: size(progress.bytes) });
  return h("div.stack", {}, bar(t("leave"), [["done", progress.total ? progress.moved / progress.total : 0]]), h("p", {}, text),
    progress.failed ? h("p.muted.small", {}, t("failing", { count: progress.failed })) : null);
}

const notice = (kind, drawing, text) => h(`p.notice.${kind}`, {}, icon(drawing), h("span", {}, text));

const reasons = (why) => h("ul.small.muted", {}, Object.entries(why).map(([reason, number]) => h("li", {}, `${count(number)} × ${reason}`)));
