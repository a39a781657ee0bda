// The node that serves this page: the session, calls, errors as it tells them, events.

/** What a call ended with: the same text, hint and exit code as on the command line. */
export class ApiError extends Error {
  constructor(status, { exit, text, hint }) {
    super(text);
    this.status = status;
    this.exit = exit;
    this.hint = hint;
  }
}

let token = null;

async function session() {
  const answer = await reach("/v1/session", { method: "POST" });
  token = (await checked(answer).then((good) => good.json())).token;
}

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
  try {
    told = (await answer.json()).error;
  } catch {
    // no error of the node's own: something stands between
  }
  throw new ApiError(answer.status, told ?? { exit: 1, text: `the node answered ${answer.status}`, hint: null });
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
    const sent = { ...headers, Authorization: `Bearer ${token}` };
    if (json !== undefined) sent["Content-Type"] = "application/json";
    const answer = await reach(path, { method, headers: sent, body: json === undefined ? body : JSON.stringify(json), signal });
    if (answer.status !== 401 || again) return checked(answer);
    token = null;
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
    try {
      const answer = await request("GET", "/v1/events", { signal });
      tell({ kind: "open", data: null });
      await read(answer.body, tell);
    } catch (error) {
      if (signal.aborted) return;
      tell({ kind: "lost", data: error });
    }
    await new Promise((done) => setTimeout(done, 1000));
  }
}

async function read(body, tell) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
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
