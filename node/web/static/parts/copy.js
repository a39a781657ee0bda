// To the clipboard.

import { toast } from "./toast.js";
import { teller } from "./i18n.js";
import texts from "../text/shell.js";

const t = teller(texts);

/** Copy text, and say so. */
export async function copy(text, told = t("copied")) {
  try {
    await navigator.clipboard.writeText(text);
    toast(told);
  } catch {
    toast(t("notCopied"), { bad: true });
  }
}
