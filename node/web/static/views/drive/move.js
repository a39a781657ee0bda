// Where to: folders of the drive, one level at a time.

import { get, post } from "../../parts/api.js";
import { dialog } from "../../parts/dialog.js";
import { fill, h } from "../../parts/dom.js";
import { teller } from "../../parts/i18n.js";
import { icon } from "../../parts/icons.js";
import { problem } from "../../parts/problem.js";
import texts from "../../text/drive.js";
import { join, nameOf, parent } from "./paths.js";

const t = teller(texts);

/**
 * Let somebody choose a folder, and move the thing there.
 * @returns {Promise<string|undefined>} the folder; undefined: given up
 */
export function moveDialog(item, signal) {
  return dialog(t("moveOf", { name: item.name }), (close) => {
    const shown = h("div.stack");
    const enter = async (folder) => {
      try {
        const { items } = await get(`/v1/drive?path=${encodeURIComponent(folder)}`, { signal });
        const folders = items.filter((other) => other.kind === "folder" && other.path !== item.path);
        fill(shown, level(item, folder, folders, enter, move));
        shown.querySelector("button").focus();
      } catch (error) {
        fill(shown, problem(error));
      }
    };
    const move = async (folder, press, failed) => {
      press.disabled = true;
      try {
        await post("/v1/drive/move", { from: item.path, to: join(folder, item.name) });
        close(folder);
      } catch (error) {
        fill(failed, problem(error));
        press.disabled = false;
      }
    };
    enter(parent(item.path));
    return shown;
  }, { signal });
}

function level(item, folder, folders, enter, move) {
  const failed = h("div", { role: "alert" });
  const here = folder === parent(item.path);
  const press = h("button.button.primary", { type: "button", disabled: here, onclick: () => move(folder, press, failed) }, t("moveHere", { name: nameOf(folder) || t("title") }));
  const entry = (path, name, drawing) => h("li", {}, h("button.choice", { type: "button", onclick: () => enter(path) }, icon(drawing), h("span.clip", {}, name), icon("right", 16)));
  return [
    h("p.row", {}, icon("folder"), h("strong", {}, folder || t("title")), here ? h("span.muted.small", {}, t("isHere")) : null),
    h("ul.choices", {}, folder ? entry(parent(folder), t("upTo", { name: nameOf(parent(folder)) || t("title") }), "up") : null, folders.map(({ path, name }) => entry(path, name, "folder")),
      folder || folders.length ? null : h("li.muted.small", {}, t("noFolders"))),
    failed,
    h("div.ends", {}, press),
  ];
}
