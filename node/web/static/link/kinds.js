// What a file is, by its name: how it may be shown, and as what. Nothing is ever shown that a browser would run.

const KINDS = {
  image: { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp", avif: "image/avif", bmp: "image/bmp", ico: "image/x-icon" },
  audio: { mp3: "audio/mpeg", m4a: "audio/mp4", ogg: "audio/ogg", oga: "audio/ogg", opus: "audio/ogg", flac: "audio/flac", wav: "audio/wav", weba: "audio/webm" },
  video: { mp4: "video/mp4", m4v: "video/mp4", webm: "video/webm", ogv: "video/ogg", mov: "video/quicktime", mkv: "video/x-matroska" },
  pdf: { pdf: "application/pdf" },
};
const TEXTS = new Set(("txt md markdown rst csv tsv log json xml yaml yml toml ini cfg conf html htm css js mjs ts jsx tsx py rs go c h cc cpp hpp java kt rb php "
  + "sh bash zsh pl lua sql tex bib srt vtt svg diff patch license readme makefile dockerfile gitignore").split(" "));

/**
 * How a file can be shown.
 * @param {string} name
 * @returns {{kind: "image"|"audio"|"video"|"pdf"|"text"|null, type: string}} type: a media type
 */
export function kindOf(name) {
  const ending = name.slice(name.lastIndexOf(".") + 1).toLowerCase();
  for (const [kind, types] of Object.entries(KINDS)) {
    if (ending in types) return { kind, type: types[ending] };
  }
  if (TEXTS.has(ending)) return { kind: "text", type: "text/plain; charset=utf-8" };
  return { kind: null, type: "application/octet-stream" };
}
