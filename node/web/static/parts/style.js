// Stylesheets that only some views need.

const loaded = new Map();

/**
 * Load a stylesheet once.
 * @param {string} path such as "/views/drive.css"
 * @returns {Promise<void>} it is in force
 */
export function style(path) {
  if (!loaded.has(path)) {
    loaded.set(path, new Promise((done, failed) => {
      const link = document.createElement("link");
      link.rel = "stylesheet";
      link.href = path;
      link.onload = () => done();
      link.onerror = () => {
        loaded.delete(path);
        failed(new Error(`${path} cannot be loaded`));
      };
      document.head.append(link);
    }));
  }
  return loaded.get(path);
}
