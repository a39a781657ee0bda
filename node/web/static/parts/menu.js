// A menu that belongs to a button: arrow keys move in it, Escape and a click elsewhere close it.

import { h } from "./dom.js";
import { icon } from "./icons.js";

let open = null;

/**
 * Open a menu below a button.
 * @param {HTMLElement} button it is given the focus back
 * @param {Array<{label: string, icon: string, act: Function, danger?: boolean}|null>} items null and false are left out
 */
export function menu(button, items) {
  const again = open?.button === button;
  open?.close();
  if (again) return;
  const controller = new AbortController();
  const box = h("div.menu", { role: "menu" }, items.filter(Boolean).map((item) =>
    h(item.danger ? "button.danger" : "button", { type: "button", role: "menuitem", tabindex: -1, onclick: () => { close(); item.act(); } },
      icon(item.icon, 18), item.label)));
  const close = () => {
    controller.abort();
    box.remove();
    button.setAttribute("aria-expanded", "false");
    open = null;
    if (button.isConnected) button.focus();
  };
  open = { button, close };
  button.setAttribute("aria-haspopup", "menu");
  button.setAttribute("aria-expanded", "true");
  (button.closest("main") ?? document.body).append(box);
  place(box, button);
  box.addEventListener("keydown", (event) => moved(event, box, close));
  const options = { signal: controller.signal, capture: true };
  addEventListener("pointerdown", (event) => { if (!box.contains(event.target) && !button.contains(event.target)) close(); }, options);
  addEventListener("hashchange", close, options);
  addEventListener("resize", () => place(box, button), options);
  box.firstElementChild.focus();
}

/** Below the button, inside the window; above it where there is no room. */
function place(box, button) {
  const at = button.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.right - box.offsetWidth, innerWidth - box.offsetWidth - 8));
  const below = at.bottom + 4 + box.offsetHeight < innerHeight;
  const top = below ? at.bottom + 4 : Math.max(8, at.top - box.offsetHeight - 4);
  box.style.setProperty("left", `${left + scrollX}px`);
  box.style.setProperty("top", `${top + scrollY}px`);
}

function moved(event, box, close) {
  const items = [...box.children];
  const at = items.indexOf(document.activeElement);
  const to = { ArrowDown: (at + 1) % items.length, ArrowUp: (at - 1 + items.length) % items.length, Home: 0, End: items.length - 1 }[event.key];
  if (event.key === "Escape" || event.key === "Tab") {
    event.preventDefault();
    event.stopPropagation();
    close();
  } else if (to !== undefined) {
    event.preventDefault();
    event.stopPropagation();
    items[to].focus();
  }
}
