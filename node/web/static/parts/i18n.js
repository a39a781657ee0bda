// English and French. Each view brings its own texts: {en: {key: text}, fr: {key: text}}.

export const LANGUAGES = ["en", "fr"];
const KEPT = "archipel.language";

let current = null;

/** The language of the page: chosen before, else the browser's, else English. */
export function language() {
  current ??= LANGUAGES.find((tag) => tag === kept()) ?? wanted() ?? "en";
  return current;
}

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // a browser that keeps nothing for pages
  }
}

function wanted() {
  return navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => LANGUAGES.includes(tag));
}

/** Choose a language for this and later visits. Views have to be shown anew. */
export function choose(tag) {
  current = tag;
  try {
    localStorage.setItem(KEPT, tag);
  } catch {
    // it holds for this visit
  }
}

/** What printers of a language do and people who type do not. */
const SET = {
  en: (text) => text,
  fr: (text) => text.replace(/ ([:;!?»])/g, "\u00a0$1").replace(/« /g, "«\u00a0").replace(/(\p{L})'(?=\p{L})/gu, "$1’"),
};

/**
 * A function that says texts in the page's language.
 * @param {{en: Object, fr: Object}} texts
 * @returns {(key: string, values?: Object) => string} `{name}` in a text is replaced by `values.name`; of a text `one|many`
 *   the part that fits `values.count` is taken
 */
export function teller(texts) {
  return (key, values = {}) => {
    const text = texts[language()][key] ?? texts.en[key];
    if (text === undefined) throw new Error(`no text for ${key}`);
    return SET[language()](fitting(text, values.count)).replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
  };
}

function fitting(text, count) {
  if (count === undefined || !text.includes("|")) return text;
  const [one, many] = text.split("|");
  return new Intl.PluralRules(language()).select(count) === "one" ? one : many;
}
