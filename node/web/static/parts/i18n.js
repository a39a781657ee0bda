// English and French. Each view brings its own texts: {en: {key: text}, fr: {key: text}}.

const LANGUAGES = ["en", "fr"];
const KEPT = "archipel.language";

/** The language of the page: chosen before, else the browser's, else English. */
export function language() {
  const kept = localStorage.getItem(KEPT);
  if (LANGUAGES.includes(kept)) return kept;
  const wanted = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => LANGUAGES.includes(tag));
  return wanted ?? "en";
}

/** Choose a language for this and later visits. */
export function choose(tag) {
  localStorage.setItem(KEPT, tag);
}

/**
 * A function that says texts in the page's language.
 * @param {{en: Object, fr: Object}} texts
 * @returns {(key: string, values?: Object) => string} `{name}` in a text is replaced by `values.name`
 */
export function teller(texts) {
  const own = texts[language()];
  return (key, values = {}) => {
    const text = own[key] ?? texts.en[key];
    if (text === undefined) throw new Error(`no text for ${key}`);
    return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
  };
}
