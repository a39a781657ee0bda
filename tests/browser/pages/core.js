// Puts the page's modules where tests can call them.

const NAMES = [
  "blake3", "bytes", "curve", "erasure", "errors", "http", "identity", "lease", "links", "manifest", "msgpack", "names",
  "pool", "reader", "seal", "segment", "writer",
];

const modules = await Promise.all(NAMES.map((name) => import(`/core/${name}.js`)));
const vectors = await import("./vectors.js");
globalThis.core = Object.assign({}, ...modules, vectors);
