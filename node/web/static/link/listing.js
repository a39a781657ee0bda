// What a deposit holds, level by level.

/** @typedef {{name: string, path: string, entry: Entry, isFolder: boolean, size: number, files: number}} Item */

/** The levels of a manifest. Made once: there may be many thousand entries. */
export class Listing {
  #children = new Map([["", []]]);

  /** @param {Entry[]} entries in the manifest's order: a folder before what is in it */
  constructor(entries) {
    this.entries = entries;
    for (const entry of entries) {
      const cut = entry.path.lastIndexOf("/");
      const folder = cut < 0 ? "" : entry.path.slice(0, cut);
      const item = { name: entry.path.slice(cut + 1), path: entry.path, entry, isFolder: entry.kind === "folder", size: entry.size, files: 0 };
      if (item.isFolder) this.#children.set(entry.path, []);
      this.#children.get(folder)?.push(item);
    }
    this.size = entries.reduce((sum, { size }) => sum + size, 0);
    this.files = entries.filter(({ kind }) => kind === "file").length;
  }

  /** What is in a folder ("" for the top): folders first, then by name. @returns {Item[]|undefined} undefined: no folder */
  items(folder) {
    const items = this.#children.get(folder);
    return items?.toSorted((one, other) => other.isFolder - one.isFolder || one.name.localeCompare(other.name, undefined, { numeric: true }));
  }

  /** What is at a path. @returns {Item|undefined} */
  at(path) {
    return this.#children.get(path.slice(0, Math.max(0, path.lastIndexOf("/"))))?.find((item) => item.path === path);
  }

  /** A folder and all that is below it, in the manifest's order; "" for everything. */
  below(folder) {
    return folder === "" ? this.entries : this.entries.filter(({ path }) => path === folder || path.startsWith(`${folder}/`));
  }

  /** Where there is only one way to go from the top, its end: the folder that was published, or the one file. */
  get start() {
    const top = this.items("");
    return top.length === 1 ? top[0] : null;
  }
}
