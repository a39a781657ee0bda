// A map of the world by country codes, drawn from what ships with the page (map/SOURCE.txt says where that is from).

const SVG = "http://www.w3.org/2000/svg";
let world = null;

/** An element of a drawing. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

async function outlines() {
  if (world === null) {
    const answer = await fetch("/map/world.json", { credentials: "omit" });
    if (!answer.ok) throw new Error(`the map cannot be loaded: ${answer.status}`);
    world = await answer.json();
  }
  return world;
}

/**
 * A map whose countries are coloured by a figure. Those with a figure can be chosen, by pointer and by keyboard.
 * @param {{label: string, choose: (code: string) => void, point: (code: string|null) => void}} options
 *   point: what the pointer or the focus is on
 * @returns {Promise<{element: SVGElement, show: (data: Object) => void}>}
 */
export async function worldMap({ label, choose, point }) {
  const { width, height, other, paths, middles, dots } = await outlines();
  const lands = new Map();
  for (const [code, path] of Object.entries(paths)) lands.set(code, draw("path", { d: path, class: "land" }));
  for (const [code, [x, y]] of Object.entries(dots)) lands.set(code, draw("circle", { cx: x, cy: y, r: 3, class: "land islet" }));
  const marks = draw("g", { class: "marks" });
  const element = draw("svg", { class: "world", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label },
    draw("path", { d: other, class: "land" }), draw("g", {}, ...lands.values()), marks);
  for (const [code, land] of lands) {
    land.addEventListener("pointerenter", () => point(code));
    land.addEventListener("pointerleave", () => point(null));
    land.addEventListener("click", () => land.dataset.level && choose(code));
  }
  const place = (code) => middles[code] ?? dots[code];
  const shown = new Map();

  /**
   * @param {{figures: Map<string, number>, told: (code: string) => string, chosen: string|null, own: string|null}} data
   *   figures: what colours a country and is written on its mark; told: what a screen reader says of it
   */
  function show({ figures, told, chosen, own }) {
    const most = Math.max(1, ...figures.values());
    for (const [code, land] of lands) {
      const figure = figures.get(code) ?? 0;
      if (figure > 0) land.dataset.level = Math.max(1, Math.ceil((4 * Math.sqrt(figure)) / Math.sqrt(most)));
      else delete land.dataset.level;
      land.classList.toggle("chosen", code === chosen);
    }
    for (const [code, mark] of shown) {
      if (!figures.get(code)) {
        mark.remove();
        shown.delete(code);
      }
    }
    for (const [code, figure] of figures) {
      if (figure > 0 && place(code)) shown.set(code, marked(code, figure, most, { told, chosen, own }));
    }
    arrange([...shown.keys()].sort((one, other) => (one === chosen) - (other === chosen) || figures.get(other) - figures.get(one)));
  }

  /** Small marks above large ones, and the chosen one above all; moving them would take the focus away, so it is rarely done. */
  function arrange(codes) {
    const wanted = codes.map((code) => shown.get(code));
    if (wanted.every((mark, at) => marks.children[at] === mark)) return;
    const focused = wanted.find((mark) => mark === document.activeElement);
    marks.append(...wanted);
    focused?.focus();
  }

  function marked(code, figure, most, { told, chosen, own }) {
    const mark = shown.get(code) ?? newMark(code);
    const [x, y] = place(code);
    mark.setAttribute("transform", `translate(${x} ${y})`);
    mark.setAttribute("aria-label", told(code));
    mark.setAttribute("aria-pressed", String(code === chosen));
    mark.classList.toggle("chosen", code === chosen);
    mark.classList.toggle("own", code === own);
    mark.querySelector("circle").setAttribute("r", (13 + (11 * Math.sqrt(figure)) / Math.sqrt(most)).toFixed(1));
    mark.querySelector("text").textContent = figure > 9999 ? "" : String(figure);
    return mark;
  }

  function newMark(code) {
    const mark = draw("g", { class: "mark", role: "button", tabindex: 0 },
      draw("g", { class: "size" }, draw("circle", { r: 10 }), draw("text", { "text-anchor": "middle", dy: ".35em", "aria-hidden": "true" })));
    for (const kind of ["pointerenter", "focus"]) mark.addEventListener(kind, () => point(code));
    for (const kind of ["pointerleave", "blur"]) mark.addEventListener(kind, () => point(null));
    mark.addEventListener("click", () => choose(code));
    mark.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose(code);
    });
    marks.append(mark);
    return mark;
  }

  return { element, show };
}
