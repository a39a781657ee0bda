/** Which paths and link targets a manifest may hold (docs/spec/storage.md section 5). Both are byte strings. */

const MAX_PATH_BYTES = 4096, MAX_COMPONENT_BYTES = 255, MAX_COMPONENTS = 256;

/** @param {string} path a byte string  @returns {string|null} what forbids it */
export function pathProblem(path) {
  if (!path.length || path.length > MAX_PATH_BYTES) return `a path has 1 to ${MAX_PATH_BYTES} bytes, got ${path.length}`;
  if (path.includes("\0")) return "a path holds NUL";
  const components = path.split("/");
  if (components.length > MAX_COMPONENTS) return `a path has at most ${MAX_COMPONENTS} components`;
  if (components.some((one) => one === "" || one === "." || one === "..")) {
    return "a path is absolute or holds an empty, '.' or '..' component";
  }
  const long = components.some((one) => one.length > MAX_COMPONENT_BYTES);
  return long ? `a path component has at most ${MAX_COMPONENT_BYTES} bytes` : null;
}

/**
 * `..` may only begin a target: there it leads through folders of the deposit; behind a name, which may be a link
 * itself, it could lead anywhere.
 *
 * @returns {string|null} what forbids `target` for a symbolic link at `path`
 */
export function targetProblem(path, target) {
  if (!target.length || target.length > MAX_PATH_BYTES) return `a link target has 1 to ${MAX_PATH_BYTES} bytes`;
  if (target.includes("\0") || target.startsWith("/")) return "a link target is absolute or holds NUL";
  const components = target.split("/").filter((part) => part !== "" && part !== ".");
  const ups = components.filter((part) => part === "..").length;
  if (components.slice(0, ups).some((part) => part !== "..")) return "a link target goes up again after a name";
  return path.split("/").length - 1 - ups < 1 ? "a link target leaves the published folder" : null;
}
