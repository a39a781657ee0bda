// What the page knows of its node while it is open: whether it answers, whose account it shows, and what it tells of itself.

import { events, get } from "./api.js";

/**
 * state: "starting", "ready", "lost" (it does not answer), "refused" (it gives this page no session) or "gateway" (somebody's
 * public page: it opens links, and has no account). account: of GET /v1/account, or null while it is not known.
 */
export const node = { state: "starting", error: null, account: null };

const told = new EventTarget();
const HIDDEN_MS = 3000;
const HEALTH_MS = 5000;
const LONGEST_MS = 2 ** 31 - 2000; // of a timer

const others = new BroadcastChannel("archipel.account"); // the other pages of this browser

let locking = null; // the account locks itself when its time is over

/** Call `act` with the data of each event of a kind ("transfer", "gone", "status", "account", "open", "change") until the signal. */
export function on(kind, signal, act) {
  told.addEventListener(kind, (event) => act(event.detail), { signal });
}

const tell = (kind, detail = null) => told.dispatchEvent(new CustomEvent(kind, { detail }));

function become(changes) {
  Object.assign(node, changes);
  clearTimeout(locking);
  const left = (node.account?.until ?? Infinity) * 1000 - Date.now();
  if (node.account?.unlocked && left < LONGEST_MS) locking = setTimeout(refresh, Math.max(left, 0) + 1000);
  tell("change");
}

/** Take over what a call answered about the account. */
export function accountIs(account) {
  become({ account });
  others.postMessage(null);
}

/** Find out what became of the account elsewhere: in another page, or on the command line. */
export async function refresh() {
  if (node.state !== "ready") return;
  try {
    become({ account: await get("/v1/account") });
  } catch (error) {
    lost(error);
  }
}

/** Find out whose page this is. A gateway's opens links and has nothing to tell; to one's own node the page listens from now on. */
export async function begin() {
  try {
    const health = await fetch("/healthz", { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(HEALTH_MS) }).then((answer) => answer.json());
    if (health.page === "gateway") {
      become({ state: "gateway" });
      return;
    }
  } catch {
    // it does not answer: whoever listens hears why
  }
  listen();
}

/** Listen to the node from now on, as long as somebody looks: a browser has but six connections for all its pages of one node. */
function listen() {
  others.onmessage = refresh;
  let listening = new AbortController();
  let hiding = null;
  events(listening.signal, heard);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(() => listening.abort(), HIDDEN_MS);
      return;
    }
    refresh();
    if (listening.signal.aborted) {
      listening = new AbortController();
      events(listening.signal, heard);
    }
  });
}

async function heard({ kind, data }) {
  if (kind === "open") await opened();
  else if (kind === "lost") lost(data);
  else {
    if (kind === "account") become({ account: data });
    tell(kind, data);
  }
}

async function opened() {
  try {
    become({ state: "ready", error: null, account: await get("/v1/account") });
    tell("open");
  } catch (error) {
    lost(error);
  }
}

function lost(error) {
  const state = !error.session ? "lost" : { 403: "refused", 404: "gateway", 405: "gateway" }[error.status] ?? "lost";
  if (node.state !== state || node.error?.message !== error.message) become({ state, error });
}
