// Files and folders that somebody gives the page: dropped anywhere, or chosen.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { teller } from "./i18n.js";
import texts from "../text/shell.js";

const t = teller(texts);
const MAX_FILES = 100000;

/**
 * One thing to be published: a file, or a folder with all that is in it.
 * @typedef {{name: string, folder: boolean, files: Array<{path: string, file: File}>}} Gift paths are relative to a folder; a
 *   file's path is its name
 */

/** The whole window takes what is dropped, until the signal; `act` is given Gifts. */
export function takeDrops(signal, act, failed) {
  let depth = 0;
  let veil = null;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  const lift = () => {
    depth = 0;
    veil?.remove();
    veil = null;
  };
  const listen = (kind, handle) => addEventListener(kind, (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    handle(event);
  }, { signal });
  listen("dragenter", () => {
    depth += 1;
    veil ??= document.body.appendChild(h("div.falling", { "aria-hidden": "true" },
      h("div", {}, icon("upload", 44), h("strong", {}, t("dropHere")), h("span.small", {}, t("dropWhat")))));
  });
  listen("dragover", (event) => { event.dataTransfer.dropEffect = "copy"; });
  listen("dragleave", () => { depth -= 1; if (depth <= 0) lift(); });
  listen("drop", (event) => {
    lift();
    dropped(event.dataTransfer).then(act, failed);
  });
  signal.addEventListener("abort", lift, { once: true });
}

/** The entries have to be asked for at once: the browser forgets them after the event. */
function dropped(data) {
  const given = [...data.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  return Promise.all(given.filter(Boolean).map((one) => (one instanceof File ? single(one) : gift(one))));
}

async function gift(entry) {
  if (entry.isFile) return single(await fileOf(entry));
  const files = [];
  await walk(entry, "", files);
  return { name: entry.name, folder: true, files };
}

const fileOf = (entry) => new Promise((done, failed) => entry.file(done, failed));

async function walk(folder, before, files) {
  const reader = folder.createReader();
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed)); // at most 100 at a time
    if (some.length === 0) return;
    for (const entry of some) {
      if (files.length >= MAX_FILES) throw new Error(t("tooMany", { most: MAX_FILES }));
      if (entry.isDirectory) await walk(entry, `${before}${entry.name}/`, files);
      else files.push({ path: before + entry.name, file: await fileOf(entry) });
    }
  }
}

const single = (file) => ({ name: file.name, folder: false, files: [{ path: file.name, file }] });

/**
 * Let somebody choose files, or one folder.
 * @returns {Promise<Gift[]>} empty: given up
 */
export function choose({ folder = false, many = true } = {}) {
  return new Promise((done) => {
    const input = h("input", { type: "file", multiple: many && !folder, webkitdirectory: folder, hidden: true, "aria-hidden": "true" });
    const end = (gifts) => {
      input.remove();
      done(gifts);
    };
    input.addEventListener("cancel", () => end([]));
    input.addEventListener("change", () => end(folder ? folders([...input.files]) : [...input.files].map(single)));
    document.body.append(input);
    input.click();
  });
}

function folders(files) {
  if (files.length === 0) return [];
  const [name] = files[0].webkitRelativePath.split("/");
  return [{ name, folder: true, files: files.map((file) => ({ path: file.webkitRelativePath.slice(name.length + 1), file })) }];
}

/** Buttons that choose files and a folder. */
export function chooseButtons(act, primary = false) {
  const press = (label, drawing, options, kind) =>
    h(kind, { type: "button", onclick: async () => { const gifts = await choose(options); if (gifts.length) act(gifts); } }, icon(drawing), label);
  return [
    press(t("chooseFiles"), "upload", {}, primary ? "button.button.primary" : "button.button"),
    press(t("chooseFolder"), "folder", { folder: true }, "button.button"),
  ];
}
