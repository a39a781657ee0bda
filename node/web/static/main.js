// The page begins here: the address bar says which view is shown. What stands behind # never leaves the browser.

import { fill, h } from "./parts/dom.js";

const VIEWS = {
  "": () => import("./views/home.js"),
};

let showing = null;

async function route() {
  showing?.abort();
  const controller = new AbortController();
  showing = controller;
  const load = VIEWS[location.hash.replace(/^#\/?/, "").split("/")[0]] ?? VIEWS[""];
  const { view } = await load();
  if (controller.signal.aborted) return;
  const main = document.querySelector("#main");
  fill(main);
  await view(main, { signal: controller.signal });
}

addEventListener("hashchange", route);
fill(document.querySelector("#top"), h("a", { href: "#/" }, "Archipel"));
route();
