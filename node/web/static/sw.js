// Streams of opened files for <video>, <img> and downloads. The page opens them; this worker only stands between it and
// the browser, which asks for /stream/ID as if it were on the server. What is asked for there never leaves the browser.

const ANSWER_MS = 10000;

addEventListener("install", (event) => event.waitUntil(skipWaiting()));
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("message", (event) => {
  // Any other message is a page's sign of life: a worker that hears none is ended in the middle of a long stream.
  if (event.data === "claim") event.waitUntil(clients.claim());
});
addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (origin === location.origin && pathname.startsWith("/stream/")) event.respondWith(answer(event.request, pathname.split("/")[2]));
});

/** Whichever page has the stream answers for it. */
async function answer(request, id) {
  const range = request.headers.get("range");
  const pages = await clients.matchAll({ type: "window", includeUncontrolled: true });
  try {
    const { port, head } = await Promise.any(pages.map((page) => ask(page, { stream: id, range })));
    const empty = request.method === "HEAD" || head.status === 416;
    return new Response(empty ? null : body(port), head);
  } catch {
    return new Response("This stream has ended with its page.", { status: 404, headers: { "Content-Type": "text/plain" } });
  }
}

function ask(page, question) {
  return new Promise((done, failed) => {
    const { port1: port, port2 } = new MessageChannel();
    const giveUp = setTimeout(() => failed(new Error("no answer")), ANSWER_MS);
    port.onmessage = ({ data: head }) => {
      clearTimeout(giveUp);
      if (head === null) failed(new Error("another page's"));
      else done({ port, head });
    };
    page.postMessage(question, [port2]);
  });
}

/** What the page sends, a part whenever the browser wants one. */
function body(port) {
  return new ReadableStream({
    pull(controller) {
      return new Promise((done) => {
        port.onmessage = ({ data }) => {
          if (data === null) controller.close();
          else if (data instanceof Uint8Array) controller.enqueue(data);
          else controller.error(new Error(String(data)));
          done();
        };
        port.postMessage("next");
      });
    },
    cancel() {
      port.postMessage("stop");
    },
  }, { highWaterMark: 0 });
}
