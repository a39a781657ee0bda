// Which keys do what.

import { dialog } from "../../parts/dialog.js";
import { h } from "../../parts/dom.js";
import { teller } from "../../parts/i18n.js";
import texts from "../../text/drive.js";

const t = teller(texts);
const KEYS = [["↑ ↓", "keyMove"], ["Enter", "keyOpen"], ["D", "keyDownload"], ["S", "keyShare"], ["F2", "keyRename"], ["Delete", "keyRemove"], ["M", "keyMenu"], ["Backspace", "keyUp"], ["Tab", "keyTab"]];

/** Show them. */
export function help(signal) {
  return dialog(t("keys"), () => h("dl.keys", {}, KEYS.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, t(what))))), { signal });
}
