// The node that serves this page: the session, calls, errors as it tells them, events.

/** What a call ended with: the same text, hint and exit code as on the command line. */
export class ApiError extends Error {
  /** @param {number} status of HTTP; 0: no answer came */
  constructor(status, { exit, text, hint }) {
    super(text);
    this.status = status;
    this.exit = exit;
    this.hint = hint;
    /** Whether it was the session that was not given. */
    this.session = false;
  }
}

const SILENT_MS = 30000; // the node sends a comment every 10 seconds
const AGAIN_MS = 1000;

let token = null;
let version = null; // of the software when this page was opened
let other = false;
let asking = null;

async function session() {
  asking ??= reach("/v1/session", { method: "POST" })
    .then(checked)
    .then((answer) => answer.json())
    .finally(() => { asking = null; });
  try {
    const given = await asking;
    token = given.token;
    version ??= given.version;
    other = given.version !== version;
  } catch (error) {
    error.session = true;
    throw error;
  }
}

/** Whether the node has become another version since this page was opened: modules of both would be mixed. */
export const isOld = () => other;

async function reach(path, options) {
  try {
    return await fetch(path, { ...options, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { exit: 5, text: "the node does not answer", hint: "does it still run?" });
  }
}

async function checked(answer) {
  if (answer.ok) return answer;
  let told = null;
  let body = null;
  try {
    body = await answer.json();
    told = body.error;
  } catch {
    // no error of the node's own: something stands between
  }
  const error = new ApiError(answer.status, told ?? { exit: 1, text: `the node answered ${answer.status}`, hint: null });
  error.body = body;
  error.retryAfter = Number(answer.headers.get("Retry-After")) || null;
  throw error;
}

/**
 * Call the node with the session token, which is fetched when it is needed, and again after the node was restarted.
 * @param {string} method
 * @param {string} path from /v1 on
 * @param {{json?: Object, body?: BodyInit, headers?: Object, signal?: AbortSignal}} options
 * @returns {Promise<Response>}
 * @throws {ApiError}
 */
export async function request(method, path, { json, body, headers = {}, signal } = {}) {
  for (let again = false; ; again = true) {
    if (token === null) await session();
    const shown = token;
    const sent = { ...headers, Authorization: `Bearer ${shown}` };
    if (json !== undefined) sent["Content-Type"] = "application/json";
    const answer = await reach(path, { method, headers: sent, body: json === undefined ? body : JSON.stringify(json), signal });
    if (answer.status !== 401 || again) return checked(answer);
    if (token === shown) token = null;
  }
}

export const get = async (path, options) => (await request("GET", path, options)).json();
export const post = async (path, json = {}, options = {}) => (await request("POST", path, { ...options, json })).json();
export const patch = async (path, json, options = {}) => (await request("PATCH", path, { ...options, json })).json();

/**
 * The events of the node, one after another, until the signal; after a break it begins again.
 * @param {AbortSignal} signal
 * @param {(event: {kind: string, data: Object}) => void} tell also `{kind: "open"}` and `{kind: "lost", data: ApiError}`
 */
export async function events(signal, tell) {
  while (!signal.aborted) {
    const silence = new AbortController();
    try {
      const answer = await request("GET", "/v1/events", { signal: AbortSignal.any([signal, silence.signal]) });
      tell({ kind: "open", data: null });
      await read(answer.body, tell, silence);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError) tell({ kind: "lost", data: error });
      if (error.session && [404, 405].includes(error.status)) return; // a gateway: nothing will ever be told here
    }
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

async function read(body, tell, silence) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const timer = setTimeout(() => silence.abort(), SILENT_MS);
    const { value, done } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
      if (fields.event) tell({ kind: fields.event, data: JSON.parse(fields.data) });
    }
  }
}
