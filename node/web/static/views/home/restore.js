// Restoring an account from its 24 words.

import { post } from "../../parts/api.js";
import { h } from "../../parts/dom.js";
import { teller } from "../../parts/i18n.js";
import { accountIs } from "../../parts/live.js";
import { toast } from "../../parts/toast.js";
import texts from "../../text/home.js";
import { guarded } from "./create.js";
import { deviceField, newPassphrase } from "./fields.js";

const t = teller(texts);

/** The words, and a passphrase of this device. */
export function restoreForm({ signal }) {
  const passphrase = newPassphrase();
  const words = h("div.field", {}, h("label", { for: "words" }, t("wordsField")),
    h("textarea", { id: "words", name: "words", required: true, rows: 4, autocomplete: "off", autocapitalize: "none", spellcheck: "false", translate: "no", "aria-describedby": "words-help" }),
    h("p.help", { id: "words-help" }, t("wordsFieldHelp")));
  return guarded(t("restoreNow"), [words, deviceField(), passphrase.nodes], async (form) => {
    const given = passphrase.read();
    if (given === null) return;
    const plain = form.get("words").trim().toLowerCase().split(/\s+/).join(" ");
    const account = await post("/v1/account/restore", { words: plain, passphrase: given, device: form.get("device").trim() }, { signal });
    toast(t("restored"));
    accountIs(account);
  });
}
