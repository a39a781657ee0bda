// Paths in a drive, and the page's addresses for them.

import { h } from "../../parts/dom.js";
import { teller } from "../../parts/i18n.js";
import { icon } from "../../parts/icons.js";
import texts from "../../text/drive.js";

const t = teller(texts);

export const join = (folder, name) => (folder ? `${folder}/${name}` : name);
export const parent = (path) => path.split("/").slice(0, -1).join("/");
export const nameOf = (path) => path.split("/").pop();

/** The page's address of a folder. */
export const address = (path) => (path ? `#/drive/${path.split("/").map(encodeURIComponent).join("/")}` : "#/drive");

/** The page's address of what stands at a path, opened as its link would be: the link itself does not show. */
export const opened = (path) => `#/view/${path.split("/").map(encodeURIComponent).join("/")}`;

/** The way from the top to a folder. */
export function crumbs(path) {
  if (!path) return null;
  const parts = path.split("/");
  const steps = [["", t("title")], ...parts.slice(0, -1).map((name, index) => [parts.slice(0, index + 1).join("/"), name])];
  return h("nav.crumbs", { "aria-label": t("where") }, h("ol.row", {}, steps.map(([to, name]) => h("li.row", {}, h("a", { href: address(to) }, name), icon("right", 15)))));
}
