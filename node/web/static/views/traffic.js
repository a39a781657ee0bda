// What the node sends and receives: rates of the last minutes, and totals by kind of request.

import { fill, h } from "../parts/dom.js";
import { count, size, speed } from "../parts/format.js";
import { teller } from "../parts/i18n.js";
import { draw } from "../parts/worldmap.js";
import texts from "../text/operator.js";

const t = teller(texts);
const SAMPLES = 60;
const WIDTH = 300;
const HEIGHT = 44;

/** All bytes that went by, of a status. */
function bytes({ datagrams, served, asked }) {
  const kinds = [...Object.values(served), ...Object.values(asked)];
  const sum = (name) => kinds.reduce((total, kind) => total + kind[name], datagrams[name]);
  return { up: sum("sent_bytes"), down: sum("received_bytes") };
}

/** A card; `show` takes a status every now and then, and computes rates from two of them. */
export function traffic() {
  const rates = [];
  let before = null;
  const now = h("div.halves.tight", {});
  const table = h("div.scroll", { role: "region", tabindex: 0, "aria-label": t("totals") });
  const open = h("p.muted.small", {});
  const element = h("section.card.stack", {}, h("h2", {}, t("traffic")), now, open, h("details", {}, h("summary", {}, t("totals")), table));

  function show({ traffic: counted, connections, started }) {
    const sample = { ...bytes(counted), at: performance.now(), started };
    if (before !== null && before.started === started) {
      const seconds = (sample.at - before.at) / 1000;
      rates.push({ up: (sample.up - before.up) / seconds, down: (sample.down - before.down) / seconds });
      if (rates.length > SAMPLES) rates.shift();
    }
    before = sample;
    fill(now, ["up", "down"].map((way) => h("div.rate", {}, h("span.muted.small", {}, t(way)),
      h("strong", {}, rates.length ? speed(Math.max(0, rates.at(-1)[way])) : "–"), line(way))));
    fill(open, t("connections", connections));
    fill(table, totals(counted));
  }

  function line(way) {
    const most = Math.max(1000, ...rates.map((rate) => rate[way]));
    const points = rates.map((rate, at) => `${(((SAMPLES - rates.length + at) * WIDTH) / (SAMPLES - 1)).toFixed(1)},${(HEIGHT - 2 - ((HEIGHT - 4) * Math.max(0, rate[way])) / most).toFixed(1)}`);
    return draw("svg", { class: "line", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${t(way)} (${t("lastMinutes")})` },
      draw("polyline", { points: points.join(" ") }));
  }

  return { element, show };
}

function totals({ datagrams, served, asked }) {
  const rows = [[t("datagrams"), datagrams.received + datagrams.sent, datagrams]];
  for (const [side, kinds] of Object.entries({ served, asked })) {
    for (const [kind, found] of Object.entries(kinds)) {
      if (found.received_bytes || found.sent_bytes) rows.push([t(side, { kind: kind.replaceAll("_", " ") }), found.requests, found]);
    }
  }
  return h("table.table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("kind")), ["requests", "received", "sent"].map((key) => h("th.number", { scope: "col" }, t(key))))),
    h("tbody", {}, rows.map(([kind, requests, found]) => h("tr", {}, h("th", { scope: "row" }, kind), h("td.number", {}, count(requests)),
      h("td.number", {}, size(found.received_bytes)), h("td.number", {}, size(found.sent_bytes))))));
}
