// Elements, made by functions: text is always text, never markup.

/**
 * Make an element.
 * @param {string} tag such as "button", or "button.primary" with classes
 * @param {Object} props attributes; a function under `onclick` and the like listens; `false`, `null` and `undefined` are left out
 * @param {...(Node|string|number|null|false|Array)} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(props ?? {})) set(node, key, value);
  append(node, children);
  return node;
}

function set(node, key, value) {
  if (value === false || value === null || value === undefined) return;
  if (typeof value === "function") node.addEventListener(key.slice(2), value);
  else if (key === "value" || key === "checked") node[key] = value;
  else node.setAttribute(key, value === true ? "" : String(value));
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
}

/** Put `children` in the place of all that `node` has. */
export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}
