// Files on their way from this browser to the node: in order, in slices; after a break from where the node has them.

import { get, post, request } from "./api.js";
import { on } from "./live.js";
import { took, transfer, transfers } from "./following.js";
import { teller } from "./i18n.js";
import { elsewhere, letGo, look, nobodys, take } from "./inhand.js";
import texts from "../text/shell.js";

const t = teller(texts);

const SLICE_BYTES = 8 * 1024 * 1024;
const LANES = 2; // uploads that are sent at a time; further ones wait
const FIRST_MS = 1000;
const LONGEST_MS = 30000;
const FATAL = new Set([400, 401, 403, 404, 413, 507]);

/** id -> whether a folder is to be chosen again */
const folders = new Map();
/** id -> {files: File[], trouble: null|{error, again: ms since 1970|null}, stop: AbortController|null, wake: Function|null} */
const held = new Map();
const waiting = [];
let lanes = 0;
const told = new EventTarget();

/** Call `act` when an upload of this page begins, stops or has trouble, until the signal. */
export const uploadsChanged = (signal, act) => told.addEventListener("changed", act, { signal });

const tell = () => told.dispatchEvent(new Event("changed"));

/** Whether another page of this browser has them. */
export const isElsewhere = (id) => !held.has(id) && elsewhere(id);

/** Whether no page of this browser has them, so that they have to be chosen again. */
export const isStalled = (id) => !held.has(id) && nobodys(id);

/** Whether what has to be chosen again is a folder. */
export const isFolder = (id) => folders.get(id) ?? transfer(id)?.files > 1;

/** Find out who has the files of uploads that this page has not. */
export async function lookAround() {
  const ids = transfers().filter(({ id, state }) => state === "receiving" && !held.has(id)).map(({ id }) => id);
  let changed = await look(ids);
  for (const id of ids) {
    if (folders.has(id) || transfer(id)?.files !== 1 || !isStalled(id)) continue;
    const { files: [file] } = await get(`/v1/uploads/${id}`);
    folders.set(id, file !== undefined && file.path !== transfer(id)?.name);
    changed = true;
  }
  if (changed) tell();
}

/** What hinders an upload: {error, again}; null: nothing. */
export const trouble = (id) => held.get(id)?.trouble ?? null;

/** Whether this page has files in its hands that the node has not. */
export const sending = () => [...held.keys()].some((id) => transfer(id)?.state === "receiving");

/**
 * Publish gifts (parts/choose.js) into a folder of the drive.
 * @returns {Promise<Object[]>} the transfers
 * @throws {ApiError} from the first that the node does not take
 */
export async function publish(gifts, folder = "") {
  const begun = [];
  for (const { name, files } of gifts) {
    const listed = files.map(({ path, file }) => ({ path, size: file.size, mtime: file.lastModified / 1000 }));
    const one = await post("/v1/uploads", { name, folder, files: listed });
    await take(one.id);
    took(one);
    hold(one.id, files.map(({ file }) => file));
    begun.push(one);
  }
  return begun;
}

/**
 * Go on with an upload after the page was loaded anew.
 * @param {string} id
 * @param {Gift[]} gifts what was chosen again
 * @returns {Promise<string[]>} paths that are missing or not the same; empty: it goes on
 * @throws {Error} another page of this browser has them
 */
export async function goOn(id, gifts) {
  const { files } = await get(`/v1/uploads/${id}`);
  const given = gifts.flatMap((gift) => gift.files);
  const chosen = new Map(given.map(({ path, file }) => [path, file]));
  if (files.length === 1 && given.length === 1) chosen.set(files[0].path, given[0].file); // wherever it lies
  const right = ({ path, size, mtime_ms }) => {
    const file = chosen.get(path);
    return file !== undefined && file.size === size && file.lastModified === mtime_ms;
  };
  const wrong = files.filter((file) => file.received < file.size && !right(file)).map((file) => file.path);
  if (wrong.length) return wrong;
  if (!(await take(id))) throw new Error(t("anotherPage"));
  hold(id, files.map(({ path }) => chosen.get(path)));
  return [];
}

/** Send an upload's files, now or when there is a lane. */
function hold(id, files) {
  held.set(id, { files, trouble: null, stop: null, wake: null });
  queue(id);
}

function queue(id) {
  if (!waiting.includes(id)) waiting.push(id);
  fill();
}

function fill() {
  while (lanes < LANES && waiting.length > 0) {
    const id = waiting.shift();
    if (!held.has(id) || held.get(id).stop) continue;
    lanes += 1;
    run(id).finally(() => {
      lanes -= 1;
      fill();
    });
  }
}

async function run(id) {
  const one = held.get(id);
  one.stop = new AbortController();
  const { signal } = one.stop;
  let wait = FIRST_MS;
  tell();
  while (!signal.aborted) {
    const before = transfer(id)?.received_bytes ?? 0;
    try {
      await send(id, one, signal);
      forget(id);
      break;
    } catch (error) {
      if (signal.aborted) break;
      if (FATAL.has(error.status) || error.name === "NotReadableError" || error.name === "NotFoundError") {
        one.trouble = { error, again: null };
        break;
      }
      if ((transfer(id)?.received_bytes ?? 0) > before) wait = FIRST_MS;
      one.trouble = { error, again: Date.now() + wait };
      tell();
      await pause(wait, signal, one);
      wait = Math.min(wait * 2, LONGEST_MS);
    }
  }
  one.stop = null;
  if (signal.aborted && held.get(id) === one && transfer(id)?.state === "receiving") queue(id); // paused, and resumed at once
  tell();
}

const pause = (ms, signal, one) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  one.wake = () => {
    clearTimeout(timer);
    done();
  };
  signal.addEventListener("abort", one.wake, { once: true });
});

/** Everything that the node has not. Returns when it has all. */
async function send(id, one, signal) {
  const { files, pack } = await get(`/v1/uploads/${id}`, { signal });
  const small = [...files.keys()].filter((index) => files[index].size > 0 && files[index].size < pack?.below);
  const packed = new Set(small.filter((index) => files[index].received < files[index].size).length > 1 ? small : []);
  if (packed.size) await whole(`/v1/uploads/${id}/pack`, new Blob(small.map((index) => one.files[index])), pack.received, one, signal);
  for (const [index, { received }] of files.entries()) {
    if (!packed.has(index)) await whole(`/v1/uploads/${id}/files/${index}`, one.files[index], received, one, signal);
  }
}

/** All that is missing of a file, or of the small ones as one. */
async function whole(path, blob, received, one, signal) {
  let at = received;
  while (at < blob.size) {
    at = await put(path, at, blob.slice(at, at + SLICE_BYTES), signal);
    if (one.trouble) {
      one.trouble = null;
      tell();
    }
  }
}

/** One slice. Returns how much the node has now. */
async function put(path, at, slice, signal) {
  try {
    const answer = await request("PUT", path, { body: slice, headers: { "Upload-Offset": String(at), "Content-Type": "application/octet-stream" }, signal });
    return (await answer.json()).received;
  } catch (error) {
    if (error.status === 409 && Number.isInteger(error.body?.received)) return error.body.received;
    if (error.status === 0) await slice.arrayBuffer(); // raises NotReadableError where it is the file that fails
    throw error;
  }
}

/** Stop and go on as the transfers do; ask before the page is left with files in its hands. */
export function begin(signal) {
  on("transfer", signal, ({ id, state }) => {
    const one = held.get(id);
    if (!one) return;
    if (state === "receiving") {
      if (!one.stop && one.trouble === null) queue(id);
    } else if (state === "paused") one.stop?.abort();
    else drop(id);
  });
  on("gone", signal, ({ id }) => drop(id));
  addEventListener("beforeunload", (event) => { if (sending()) event.preventDefault(); }, { signal });
}

function drop(id) {
  held.get(id)?.stop?.abort();
  forget(id);
  tell();
}

function forget(id) {
  held.delete(id);
  folders.delete(id);
  letGo(id);
}

/** Try again at once. */
export function tryAgain(id) {
  const one = held.get(id);
  if (!one) return;
  if (one.stop) one.wake?.();
  else {
    one.trouble = null;
    queue(id);
  }
}
