// Unlocking the account that this home has.

import { post } from "../../parts/api.js";
import { h } from "../../parts/dom.js";
import { teller } from "../../parts/i18n.js";
import { accountIs, node } from "../../parts/live.js";
import texts from "../../text/home.js";
import { guarded } from "./create.js";

const t = teller(texts);
const HOUR = 3600;

/** The passphrase, and for how long. */
export function unlockForm({ signal }) {
  const passphrase = h("div.field", {}, h("label", { for: "passphrase" }, t("passphrase")),
    h("input", { id: "passphrase", name: "passphrase", type: "password", required: true, autocomplete: "current-password" }));
  const option = (hours) => h("option", { value: hours * HOUR, selected: hours === 8 }, hours < 48 ? t("hours", { count: hours }) : t("days", { count: hours / 24 }));
  const time = h("div.field", {}, h("label", { for: "seconds" }, t("duration")), h("select", { id: "seconds", name: "seconds" }, [1, 8, 24, 168].map(option)));
  const form = guarded(t("unlock"), [passphrase, time], async (data) => {
    accountIs(await post("/v1/account/unlock", { passphrase: data.get("passphrase"), seconds: Number(data.get("seconds")) }, { signal }));
  });
  return h("section.card.begin.stack", {}, h("h2", {}, t("unlockTitle")), h("p.muted", {}, t("unlockWhat"), " ", node.account.device ? h("strong", {}, node.account.device) : null), form);
}
