// Which page of this browser has the files of an upload in its hands: a lock for each, which ends with the page.

const PREFIX = "archipel.upload.";
const SURE = 2; // looks that found nobody: whoever has just begun an upload may not have its lock yet

/** id -> what ends our lock */
const mine = new Map();
/** id -> how many looks have found nobody, since one found somebody */
const alone = new Map();

/** Take an upload into this page's hands. @returns {Promise<boolean>} false: another page has it */
export function take(id) {
  if (!navigator.locks || mine.has(id)) return Promise.resolve(true); // on plain http from elsewhere there are no locks
  return new Promise((done, failed) => {
    const held = (lock) => {
      done(lock !== null);
      return lock && new Promise((end) => { mine.set(id, end); });
    };
    navigator.locks.request(PREFIX + id, { ifAvailable: true }, held).catch(failed);
  });
}

/** Let go of it. */
export function letGo(id) {
  mine.get(id)?.();
  mine.delete(id);
  alone.delete(id);
}

/**
 * Find out who has uploads that this page has not.
 * @param {string[]} ids
 * @returns {Promise<boolean>} whether anything is known that was not known before
 */
export async function look(ids) {
  const { held } = navigator.locks ? await navigator.locks.query() : { held: [] };
  const names = new Set(held.map(({ name }) => name));
  const before = JSON.stringify([...alone]);
  for (const id of [...alone.keys()]) if (!ids.includes(id)) alone.delete(id);
  for (const id of ids) alone.set(id, names.has(PREFIX + id) ? 0 : Math.min(SURE, (alone.get(id) ?? 0) + 1));
  return JSON.stringify([...alone]) !== before;
}

/** Whether another page of this browser has it. */
export const elsewhere = (id) => alone.get(id) === 0;

/** Whether no page of this browser has it. */
export const nobodys = (id) => alone.get(id) === SURE;
