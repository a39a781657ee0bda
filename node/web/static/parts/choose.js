// Files and folders that somebody gives the page: dropped anywhere, or chosen.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { teller } from "./i18n.js";
import { toast } from "./toast.js";
import texts from "../text/shell.js";

const t = teller(texts);
const MAX_FILES = 100000;

/**
 * One thing to be published: a file, or a folder with all that is in it.
 * @typedef {{name: string, folder: boolean, files: Array<{path: string, file: File}>}} Gift paths are relative to a folder; a
 *   file's path is its name
 */

/** Who takes what is dropped: the last one. */
const takers = [];
let listening = false;
let depth = 0;
let veil = null;

/**
 * The whole window takes what is dropped, until the signal; before those that were there before.
 * @param {AbortSignal} signal
 * @param {(gifts: Gift[]) => void} act
 * @param {(error: Error) => void} failed
 * @param {() => boolean} may whether anything is taken; what is not never replaces the page
 */
export function takeDrops(signal, act, failed, may = () => true) {
  if (signal.aborted) return;
  if (!listening) listen();
  const taker = { act, failed, may };
  takers.push(taker);
  signal.addEventListener("abort", () => {
    takers.splice(takers.indexOf(taker), 1);
    lift();
  }, { once: true });
}

function lift() {
  depth = 0;
  veil?.remove();
  veil = null;
}

/** From the first one on: the browser would open a file that nobody takes in the place of the page. */
function listen() {
  listening = true;
  const heard = (kind, handle) => addEventListener(kind, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const taker = takers.at(-1);
    if (taker?.may()) handle(event, taker);
    else event.dataTransfer.dropEffect = "none";
  });
  heard("dragenter", () => {
    depth += 1;
    veil ??= document.body.appendChild(h("div.falling", { "aria-hidden": "true" },
      h("div", {}, icon("upload", 44), h("strong", {}, t("dropHere")), h("span.small", {}, t("dropWhat")))));
  });
  heard("dragover", (event) => { event.dataTransfer.dropEffect = "copy"; });
  heard("dragleave", () => { depth -= 1; if (depth <= 0) lift(); });
  heard("drop", (event, { act, failed }) => {
    lift();
    dropped(event.dataTransfer).then(act, failed);
  });
}

/** The entries have to be asked for at once: the browser forgets them after the event. */
function dropped(data) {
  const given = [...data.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  return Promise.all(given.filter(Boolean).map((one) => (one instanceof File ? single(one) : gift(one))));
}

async function gift(entry) {
  if (entry.isFile) return single(await fileOf(entry));
  const [files, empty] = [[], []];
  await walk(entry, "", files, empty);
  if (files.length && empty.length) toast(t("emptyFolders", { count: empty.length, name: entry.name, first: empty[0] }));
  return { name: entry.name, folder: true, files };
}

const fileOf = (entry) => new Promise((done, failed) => entry.file(done, failed));

/** Takes what lies in a folder into `files`; those that nothing lies in, which a deposit has no place for, into `empty`. */
async function walk(folder, before, files, empty) {
  const reader = folder.createReader();
  for (let found = 0; ;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed)); // at most 100 at a time
    found += some.length;
    if (some.length === 0) {
      if (found === 0) empty.push(before.slice(0, -1));
      return;
    }
    for (const entry of some) {
      if (files.length >= MAX_FILES) throw new Error(t("tooMany", { most: MAX_FILES }));
      if (entry.isDirectory) await walk(entry, `${before}${entry.name}/`, files, empty);
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
