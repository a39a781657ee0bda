// The page begins here: the address bar says which view is shown. What stands behind # never leaves the browser.

import { post } from "./parts/api.js";
import { takeDrops } from "./parts/choose.js";
import { fill, h } from "./parts/dom.js";
import { teller } from "./parts/i18n.js";
import { begin, node, on } from "./parts/live.js";
import { problem } from "./parts/problem.js";
import { shell } from "./parts/shell.js";
import { following, underWay } from "./parts/following.js";
import { failed, toast } from "./parts/toast.js";
import { begin as sendUploads, publish } from "./parts/uploads.js";
import texts from "./text/shell.js";

const t = teller(texts);
const VIEWS = {
  home: () => import("./views/home.js"),
  drive: () => import("./views/drive.js"),
  transfers: () => import("./views/transfers.js"),
  network: () => import("./views/network.js"),
  operator: () => import("./views/operator.js"),
  link: () => import("./views/link.js"),
  view: openedFromDrive,
};

let showing = null;
let shown = "home";

/** The link view, of what stands at a path of the drive: its link shows nowhere. */
async function openedFromDrive() {
  const { view } = await import("./views/link.js");
  const opened = async (main, context) => {
    const { link } = await post("/v1/drive/link", { path: context.rest }, { signal: context.signal });
    await view(main, { ...context, link, called: context.rest.split("/").pop() });
  };
  return { view: opened };
}

/**
 * Which view the address asks for: `#/NAME/REST`; anything else behind # is a link.
 * @returns {{name: string, rest: string, link: string|null, ticket: string|null}} rest is a path, decoded
 */
function wanted() {
  const hash = location.hash.slice(1);
  if (hash !== "" && !hash.startsWith("/")) return { name: "link", rest: "", link: decoded(hash), ticket: null };
  const [, name = "", ...rest] = hash.split("/");
  const known = node.state === "gateway" ? "link" : name in VIEWS ? name : "home";
  if (name === "open") return { name: "link", rest: "", link: null, ticket: rest.join("/") };
  return { name: known, rest: rest.map(decoded).join("/"), link: null, ticket: null };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Where a view belongs in the frame. */
const placeOf = (name) => (name === "view" ? "drive" : name);

/** Go to an address of the page, such as "#/drive/Photos". */
function go(hash) {
  if (location.hash === hash) route();
  else location.hash = hash;
}

/** A link that `archipel open` brought to the node waits there for the ticket in the address. */
async function redeem(ticket, signal) {
  const { link } = await post(`/v1/tickets/${encodeURIComponent(ticket)}`, {}, { signal });
  history.replaceState(null, "", `#${link}`);
  route();
}

async function route(event) {
  showing?.abort();
  const controller = new AbortController();
  showing = controller;
  const { signal } = controller;
  const { name, rest, link, ticket } = wanted();
  shown = placeOf(name);
  frame();
  document.title = `${t(shown)} · Archipel`;
  const main = document.querySelector("#main");
  try {
    if (ticket !== null) {
      await redeem(ticket, signal);
      return;
    }
    const { view } = await VIEWS[name]();
    if (signal.aborted) return;
    fill(main);
    await view(main, { signal, go, rest, link });
  } catch (error) {
    if (signal.aborted) return;
    fill(main, h("div.view", {}, h("h1", {}, t("broken")), problem(error)));
  }
  if (event && !signal.aborted && !main.contains(document.activeElement)) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

function frame() {
  shell({ view: shown, underWay: underWay(), again: route });
}

/** Whose page it is may turn out late, when the node did not answer at first. */
let gateway = false;

function change() {
  if (!gateway && node.state === "gateway") {
    gateway = true;
    route();
  } else frame();
}

/** What falls where a view does not take it goes to the top of the drive. */
async function fallen(gifts) {
  try {
    if (node.account?.unlocked !== true) throw new Error(t("dropLocked"));
    await publish(gifts);
    toast(t("dropped", { count: gifts.length }));
  } catch (error) {
    failed(error);
  }
}

const forever = new AbortController().signal;
shown = placeOf(wanted().name);
frame();
fill(document.querySelector("#main"), h("p.view.row.muted", { role: "status" }, h("span.spinner"), t("asking")));
await begin();
gateway = node.state === "gateway";
addEventListener("hashchange", route);
on("change", forever, change);
takeDrops(forever, fallen, failed, () => !gateway);
if (!gateway) {
  following(forever, frame);
  sendUploads(forever);
}
route();
