// Sizes as people type them: "200 GB", "1,5 Mo", "512 KiB".

const POWERS = "kmgtp";

/**
 * Bytes of a typed size.
 * @param {string} text a number with a unit of English or French, or without one: bytes
 * @returns {number|null} null: it is no size
 */
export function parseSize(text) {
  const found = /^(\d+(?:[.,]\d+)?)\s*(?:([kmgtp])?(i)?(?:b|o)?)?(?:\/s)?$/i.exec(text.replaceAll(/[\s\u00a0\u202f]+/g, " ").trim());
  if (found === null || (found[3] && !found[2])) return null;
  const power = found[2] ? POWERS.indexOf(found[2].toLowerCase()) + 1 : 0;
  return Math.round(Number(found[1].replace(",", ".")) * (found[3] ? 1024 : 1000) ** power);
}

/** A size in the unit that tells it exactly, as it can be typed again. */
export function typedSize(bytes, units) {
  let power = 0;
  while (power < 5 && bytes >= 1000 ** (power + 1) && (bytes * 1000) % 1000 ** (power + 1) === 0) power += 1;
  return `${bytes / 1000 ** power} ${units[power]}`;
}
