// Opened files for the browser's own players and its downloads, by way of the service worker (sw.js).

const WORKER_MS = 8000;
const SIGN_OF_LIFE_MS = 10000;
/** Of one stream, at a time: a player that seeks leaves old requests behind, and does not always say so. */
const MAX_READERS = 3;

const streams = new Map();
let ready = null;
let alive = null;
let signed = 0; // when the worker last heard of us

/** Whether this browser can stream at all; else files go through its memory. */
export const canStream = () => "serviceWorker" in navigator && isSecureContext;

/**
 * Offer a file to the browser.
 * @param {{size: number, type: string, name: string, attachment?: boolean, ranges?: boolean,
 *   read: (start: number, stop: number, signal: AbortSignal) => AsyncIterable<Uint8Array>}} file ranges: false where it can be
 *   read from its beginning to its end alone
 * @returns {Promise<{url: string, close: () => void}>} throws Error: the worker does not begin
 */
export async function offer(file) {
  ready ??= begin();
  try {
    await ready;
  } catch (error) {
    ready = null;
    throw error;
  }
  const id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const stream = { ...file, readers: [] };
  streams.set(id, stream);
  alive ??= setInterval(signOfLife, SIGN_OF_LIFE_MS);
  return { url: `/stream/${id}`, close: () => close(id) };
}

function signOfLife() {
  signed = performance.now();
  navigator.serviceWorker.controller?.postMessage("alive");
}

function close(id) {
  for (const reader of streams.get(id)?.readers ?? []) reader.abort();
  streams.delete(id);
  if (!streams.size) {
    clearInterval(alive);
    alive = null;
  }
}

async function begin() {
  const { serviceWorker } = navigator;
  serviceWorker.addEventListener("message", asked);
  serviceWorker.startMessages();
  const registration = await serviceWorker.register("/sw.js");
  const controlled = new Promise((done, failed) => {
    setTimeout(() => failed(new Error("the browser's service worker does not begin")), WORKER_MS);
    serviceWorker.addEventListener("controllerchange", () => done());
    if (serviceWorker.controller) done();
  });
  const { active } = await Promise.race([serviceWorker.ready, controlled.then(() => registration)]);
  if (!serviceWorker.controller) active?.postMessage("claim"); // after a reload past the cache it controls nothing
  await controlled;
}

function asked({ data, ports: [port] }) {
  if (!port) return;
  const stream = streams.get(data.stream);
  if (!stream) {
    port.postMessage(null);
    return;
  }
  const head = headOf(stream, data.range);
  port.postMessage({ status: head.status, headers: head.headers });
  if (head.status !== 416) send(stream, head, port);
}

/** The head of an answer about `range`, a Range header or null. */
export function headOf({ size, type, name, attachment = false, ranges = true }, range) {
  const headers = { "Content-Type": type, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Accept-Ranges": ranges ? "bytes" : "none" };
  if (attachment) headers["Content-Disposition"] = `attachment; filename*=UTF-8''${escaped(name)}`;
  else if (type !== "application/pdf") headers["Content-Security-Policy"] = "sandbox; default-src 'none'"; // the PDF viewer runs in no sandbox
  const found = range === null || !ranges ? null : /^bytes=(\d*)-(\d*)$/.exec(range);
  if (!found || (found[1] === "" && found[2] === "")) {
    return { status: 200, start: 0, stop: size, headers: { ...headers, "Content-Length": String(size) } };
  }
  const start = found[1] === "" ? Math.max(0, size - Number(found[2])) : Number(found[1]);
  const stop = found[1] === "" || found[2] === "" ? size : Math.min(size, Number(found[2]) + 1);
  if (start >= stop) return { status: 416, headers: { "Content-Range": `bytes */${size}` } };
  const own = { "Content-Length": String(stop - start), "Content-Range": `bytes ${start}-${stop - 1}/${size}` };
  return { status: 206, start, stop, headers: { ...headers, ...own } };
}

const escaped = (name) => encodeURIComponent(name).replace(/['()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);

/** Send a part whenever the worker asks for one. */
function send(stream, { start, stop }, port) {
  const controller = new AbortController();
  stream.readers.push(controller);
  if (stream.readers.length > MAX_READERS) stream.readers.shift().abort();
  const parts = stream.read(start, stop, controller.signal)[Symbol.asyncIterator]();
  const end = () => {
    controller.abort();
    stream.readers = stream.readers.filter((reader) => reader !== controller);
    port.close();
  };
  port.onmessage = async ({ data }) => {
    if (data === "stop") {
      end();
      return;
    }
    if (performance.now() - signed > SIGN_OF_LIFE_MS) signOfLife(); // timers of a hidden page are slowed down
    try {
      const { value, done } = await parts.next();
      port.postMessage(done ? null : value, done ? [] : [owned(value)]);
      if (done) end();
    } catch (error) {
      port.postMessage(String(error.message ?? error));
      end();
    }
  };
}

/** The memory behind a part, to be handed over; what shares its memory was copied by whoever made it. */
function owned(part) {
  return part.buffer;
}
