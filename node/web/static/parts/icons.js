// Small drawings, 24 by 24, one stroke: made as elements, since markup in strings is not taken.

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  home: "M4 11.5 12 4l8 7.5M6.5 9.5V20h11V9.5M10 20v-5.5h4V20",
  drive: "M3.5 7a2 2 0 0 1 2-2H10l2 2.5h6.5a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2h-13a2 2 0 0 1-2-2z",
  transfers: "M8 20V5M4 9l4-4 4 4M16 4v15M12 15l4 4 4-4",
  network: "M12 5.5a2 2 0 1 0 0-.01M5.5 18a2 2 0 1 0 0-.01M18.5 18a2 2 0 1 0 0-.01M11 7.3 6.5 16M13 7.3 17.5 16M7.5 18h9",
  operator: "M4 7h9M17 7h3M4 17h3M11 17h9M15 9.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4zM9 19.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4z",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7L12 7M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7L12 17",
  upload: "M12 16V5M7 9.5 12 4.5l5 5M5 19.5h14",
  download: "M12 4.5v11M7 11l5 5 5-5M5 19.5h14",
  folder: "M3.5 7a2 2 0 0 1 2-2H10l2 2.5h6.5a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2h-13a2 2 0 0 1-2-2z",
  "folder-plus": "M3.5 7a2 2 0 0 1 2-2H10l2 2.5h6.5a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2h-13a2 2 0 0 1-2-2zM12 10.5v5M9.5 13h5",
  file: "M6.5 3.5h7l4.5 4.5v11a1.5 1.5 0 0 1-1.5 1.5h-10A1.5 1.5 0 0 1 5 19V5a1.5 1.5 0 0 1 1.5-1.5zM13 3.5V8.5h5",
  name: "M4 12V5h7l9 9-7 7zM8.5 9.2v.01",
  share: "M7 12.5a2.5 2.5 0 1 0 0-.01M17.5 7a2.5 2.5 0 1 0 0-.01M17.5 18a2.5 2.5 0 1 0 0-.01M9.2 11.4l6.2-3.3M9.2 13.6l6.2 3.3",
  copy: "M9 9h10v11H9zM5 15V4h10",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  check: "M4.5 12.5 10 18 19.5 6.5",
  cross: "M6 6l12 12M18 6 6 18",
  warning: "M12 4 2.8 20h18.4zM12 10v4.5M12 17.3v.01",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5.5M12 7.6v.01",
  more: "M5.5 12v.01M12 12v.01M18.5 12v.01",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5 20.5 20.5",
  pause: "M8.5 5v14M15.5 5v14",
  play: "M7.5 5v14l11-7z",
  trash: "M4.5 6.5h15M9 6V4h6v2M6.5 6.5l1 13.5h9l1-13.5M10 10.5v5.5M14 10.5v5.5",
  edit: "M4.5 19.5 5.5 15 16 4.5l3.5 3.5L9 18.5zM13.5 7l3.5 3.5",
  move: "M4 12h15M14 6.5l5.5 5.5-5.5 5.5",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5.5l3.5 2",
  lock: "M6 11h12v9.5H6zM8.5 11V7.5a3.5 3.5 0 0 1 7 0V11",
  unlock: "M6 11h12v9.5H6zM8.5 11V7.5a3.5 3.5 0 0 1 6.8-1",
  key: "M8 15.5a4 4 0 1 0 0-.01M11 12.5 20 3.5M16.5 7l3 3",
  right: "M9.5 5.5 16 12l-6.5 6.5",
  up: "M12 19.5v-14M6 11l6-6 6 6",
  renew: "M19.5 12a7.5 7.5 0 1 1-2.3-5.4M19.5 3.5v4.5H15",
  qr: "M4.5 4.5h5.5V10H4.5zM14 4.5h5.5V10H14zM4.5 14H10v5.5H4.5zM14 14h2v2h-2zM19.5 14v5.5H14",
  print: "M7 9V4h10v5M7 17H4.5V9.5h15V17H17M7 14.5h10V20H7z",
  keyboard: "M3.5 6.5h17v11h-17zM7 10v.01M10.5 10v.01M14 10v.01M17.5 10v.01M8 14h8",
  globe: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM3 12h18M12 3c-5.5 6-5.5 12 0 18M12 3c5.5 6 5.5 12 0 18",
};

/**
 * A drawing. It says nothing to screen readers: a label stands beside it.
 * @param {string} name
 * @param {number} size in pixels
 */
export function icon(name, size = 20) {
  const found = PATHS[name];
  if (found === undefined) throw new Error(`no icon ${name}`);
  return svg("svg", { width: size, height: size, viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 1.8,
    "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" }, svg("path", { d: found }));
}

/** An SVG element with attributes and children. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** The mark of Archipel: an island, the sea, a light. */
export function mark(size = 30) {
  return svg("svg", { width: size, height: size, viewBox: "0 0 32 32", "aria-hidden": "true" },
    svg("path", { d: "M4 21c3-7 6.5-10 10-10 4 0 5 5.5 9 5.5 2.3 0 3.8 1.8 5.5 4.5z", fill: "#ecdfc4" }),
    svg("path", { d: "M3 25.5c2.2-1.5 4.3-1.5 6.5 0s4.3 1.5 6.5 0 4.3-1.5 6.5 0 4.3 1.5 6.5 0", fill: "none", stroke: "#7cc4e0", "stroke-width": 2.2, "stroke-linecap": "round" }),
    svg("circle", { cx: 23.5, cy: 8, r: 3.4, fill: "#f2703f" }));
}
