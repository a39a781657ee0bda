// How hard a passphrase is to guess: a small estimate of our own, which knows few words and says so.

const COMMON = new Set(`password passwort passphrase motdepasse azerty qwerty qwertz letmein welcome bonjour secret admin archipel dragon
monkey football soleil amour jetaime iloveyou princess sunshine master shadow michael jordan superman batman hello love login test
chocolat doudou marseille nicolas camille correct horse battery staple lorem ipsum dolor changeme default root user family summer winter
the and you for are with this that have not but what all your can her was one our out day get has him his how man new now old see two way
who boy did its let put say she too use les des une est pas que qui dans pour sur avec tout mais nous vous`.split(/\s+/));
const ROWS = ["abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn"];
const WORD_BITS = 12; // one of 4,096
const COMMON_BITS = 5;
const GUESSES_PER_SECOND = 1e6; // of an attacker with many machines, against Argon2id

/**
 * @param {string} passphrase
 * @returns {{bits: number, level: 0|1|2|3|4, seconds: number}} level 0: hardly any; seconds: for half of all guesses
 */
export function strength(passphrase) {
  const seen = new Set();
  let bits = 0;
  for (const token of passphrase.normalize("NFKD").match(/\p{L}+|\p{N}+|\s+|[^\p{L}\p{N}\s]+/gu) ?? []) {
    const plain = token.toLowerCase();
    bits += seen.has(plain) ? 1 : worth(token, plain);
    seen.add(plain);
  }
  const level = [25, 40, 53, 68].filter((limit) => bits >= limit).length;
  return { bits, level, seconds: 2 ** (bits - 1) / GUESSES_PER_SECOND };
}

function worth(token, plain) {
  if (/^\s+$/.test(token)) return 0.5;
  if (/^(.)\1*$/u.test(plain)) return Math.min(plain.length, 3) + 2;
  if (row(plain)) return COMMON_BITS;
  if (/^\p{N}+$/u.test(token)) return /^(19|20)\d\d$/.test(token) ? 6 : 3.3 * token.length;
  if (/^\p{L}+$/u.test(token)) return COMMON.has(plain) ? COMMON_BITS : letters(token, plain);
  return 4.5 * new Set(token).size + 0.5 * token.length;
}

/** What looks like a word counts as one, however long it is. */
function letters(token, plain) {
  const random = 4.7 * plain.length;
  const strange = /[^aeiouy]{5}/.test(plain) || !/[aeiouy]/.test(plain) || /\p{Ll}\p{Lu}/u.test(token);
  const mixed = /\p{Lu}/u.test(token.slice(1)) && /\p{Ll}/u.test(token) ? plain.length * 0.8 : 0;
  return strange ? random + mixed : Math.min(random, WORD_BITS + Math.max(0, plain.length - 10));
}

/** Whether it is a piece of the alphabet or of a keyboard, either way round. */
function row(plain) {
  if (plain.length < 3) return false;
  const back = [...plain].reverse().join("");
  return ROWS.some((keys) => keys.includes(plain) || keys.includes(back));
}
