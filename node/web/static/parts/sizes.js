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

/**
 * A size as it can be typed again: exactly, in the unit that takes the fewest digits.
 * @param {number} bytes
 * @param {string[]} units of powers of 1000, from bytes on, such as "B", "kB"; those of 1024 are made of them: "KiB"
 */
export function typedSize(bytes, units) {
  const found = [`${bytes} ${units[0]}`];
  for (const base of [1000, 1024]) {
    for (let power = units.length - 1; power > 0; power -= 1) {
      const shown = bytes / base ** power;
      const unit = base === 1000 ? units[power] : `${units[power][0].toUpperCase()}i${units[power].slice(1)}`;
      if (shown >= 1 && Number.isInteger(shown * 1000)) found.push(`${shown} ${unit}`);
    }
  }
  return found.reduce((best, text) => (text.length < best.length ? text : best));
}
