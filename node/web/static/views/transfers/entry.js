// One transfer on the screen. It is changed in place, so that what has the focus keeps it and bars move.

import { fill, h } from "../../parts/dom.js";
import { pace } from "../../parts/following.js";
import { bar, count, country, duration, list, moment, size, speed } from "../../parts/format.js";
import { teller } from "../../parts/i18n.js";
import { icon } from "../../parts/icons.js";
import { node } from "../../parts/live.js";
import { problem, sentence } from "../../parts/problem.js";
import { isElsewhere, isFolder, isStalled, trouble } from "../../parts/uploads.js";
import texts from "../../text/transfers.js";

const t = teller(texts);
const TONES = { receiving: "sea", waiting: "", running: "sea", paused: "warn", done: "good", failed: "bad", cancelled: "" };

/** Shows one, again and again. */
export class Entry {
  constructor(acts) {
    this.acts = acts;
    this.shown = {};
    this.parts = Object.fromEntries(["head", "steps", "figures", "more", "trouble", "buttons"].map((name) => [name, h(`div.${name}`)]));
    this.root = h("article.card.transfer", {}, Object.values(this.parts));
  }

  /** @returns {HTMLElement} */
  show(one) {
    this.root.setAttribute("aria-label", one.name);
    this.part("head", [one.name, one.kind, one.state, one.waits_for, this.known(one), one.folder, one.to], () => this.head(one));
    this.steps(one);
    this.part("figures", [this.figures(one)], () => this.figures(one));
    this.part("more", [one.countries, one.nodes, one.notes, one.kind], () => this.holders(one));
    const bad = trouble(one.id);
    this.part("trouble", [one.error, bad?.error.message, bad?.again && Math.ceil((bad.again - Date.now()) / 1000), this.known(one)], () => this.trouble(one, bad));
    this.part("buttons", [one.state, this.known(one), one.link_path, node.state], () => this.buttons(one, bad));
    return this.root;
  }

  /** Fill a part when what it says has changed. */
  part(name, key, make) {
    const told = JSON.stringify(key);
    if (this.shown[name] === told) return;
    this.shown[name] = told;
    const focus = this.parts[name].contains(document.activeElement) ? document.activeElement.getAttribute("data-act") : null;
    fill(this.parts[name], make());
    if (focus) (this.parts[name].querySelector(`[data-act="${focus}"]`) ?? this.parts[name].querySelector("button"))?.focus();
  }

  /** Whether it waits for files that no page has. */
  stalled(one) {
    return one.state === "receiving" && isStalled(one.id);
  }

  /** What the page knows of it beyond the node's figures. */
  known(one) {
    return [this.stalled(one), isFolder(one.id), one.state === "receiving" && isElsewhere(one.id), trouble(one.id) !== null];
  }

  head(one) {
    const [tone, state] = this.stateOf(one);
    const where = one.kind === "upload" ? t("into", { folder: one.folder || t("drive") }) : t("to", { to: one.to });
    return [icon(one.kind === "upload" ? "upload" : "download", 24), h("div", {}, h("h2.clip", { title: one.name }, one.name), h("p.small.muted.clip", {}, where)),
      h(tone ? `span.badge.${tone}` : "span.badge", {}, t(state))];
  }

  stateOf(one) {
    if (this.stalled(one)) return ["warn", "state-stalled"];
    if (one.state === "receiving" && isElsewhere(one.id)) return ["sea", "state-elsewhere"];
    if (one.state === "receiving" && trouble(one.id) !== null) return ["warn", "state-trouble"];
    return [TONES[one.state], one.waits_for ? `waits-${one.waits_for}` : `state-${one.state}`];
  }

  /** A bar for each stage, of the node's own figures. */
  steps(one) {
    const total = one.total_bytes;
    const share = (bytes) => (total ? Math.min(1, bytes / total) : one.state === "done" ? 1 : 0);
    const stages = one.kind === "upload"
      ? [["received", share(one.received_bytes), sized(one.received_bytes, total)], ["sealed", share(one.sealed_bytes), sized(one.sealed_bytes, total)], ["confirmed", share(one.confirmed_bytes), sized(one.confirmed_bytes, total)]]
      : [["fetched", share(one.confirmed_bytes), sized(one.confirmed_bytes, total)]];
    const kind = one.state === "done" ? "good" : one.state === "failed" ? "bad" : "done";
    const place = this.parts.steps;
    if (place.children.length !== stages.length || this.kind !== kind) {
      this.kind = kind;
      fill(place, stages.map(([name, part]) => h("div.step", {}, h("span.small", {}, t(name)), bar(t(name), [[kind, part]]), h("span.small.muted.number"))));
    }
    stages.forEach(([, part, text], index) => {
      const [, meter, figure] = place.children[index].children;
      meter.setAttribute("aria-valuenow", Math.floor(part * 100));
      meter.firstElementChild.style.setProperty("--share", part);
      figure.textContent = text;
    });
    place.hidden = one.state === "cancelled";
  }

  figures(one) {
    const going = one.state === "running" || (one.state === "receiving" && !this.stalled(one)) ? pace(one) : null;
    const facts = [];
    if (one.kind === "upload" && one.chunks > 0) facts.push(t("chunks", { placed: count(one.placed_chunks), chunks: count(one.chunks) }));
    if (going) facts.push(speed(going.rate));
    if (going?.left !== undefined && going?.left !== null) facts.push(t(one.state === "receiving" ? "leftToHand" : "left", { time: duration(going.left) }));
    if (one.finished && one.state === "done") facts.push(moment(one.finished));
    return facts.join(" · ");
  }

  holders(one) {
    const codes = Object.entries(one.countries).sort((a, b) => b[1] - a[1]);
    const known = codes.filter(([code]) => /^[A-Z]{2}$/.test(code)).map(([code, chunks]) => `${country(code)} (${count(chunks)})`);
    const holders = one.kind === "upload" && one.nodes > 0 ? (known.length ? t("holdersIn", { count: one.nodes, countries: list(known) }) : t("holders", { count: one.nodes })) : null;
    return [holders && h("p.small.muted", {}, holders), (one.notes ?? []).map((note) => h("p.small", {}, sentence(note)))];
  }

  trouble(one, bad) {
    if (one.error) return problem({ message: one.error.text, hint: one.error.hint });
    if (bad) return problem(bad.error, bad.again ? h("div.small", {}, t("againIn", { time: duration((bad.again - Date.now()) / 1000) })) : null);
    if (this.stalled(one)) return h("div.notice.warn", {}, icon("info"), h("div", {}, t(isFolder(one.id) ? "stalledMany" : "stalledOne", { name: one.name })));
    return null;
  }

  buttons(one, bad) {
    const { acts } = this;
    const press = (act, drawing, kind = "button.button.small") => h(kind, { type: "button", "data-act": act, disabled: node.state === "lost", onclick: () => acts[act](one) }, icon(drawing, 18), t(act));
    const going = ["receiving", "waiting", "running"].includes(one.state);
    return [
      this.stalled(one) ? press("chooseAgain", isFolder(one.id) ? "folder" : "file", "button.button.small.primary") : null,
      bad && going ? press("tryAgain", "renew") : null,
      going && !this.stalled(one) ? press("pause", "pause") : null,
      ["paused", "failed"].includes(one.state) ? press("resume", "play", "button.button.small.primary") : null,
      going || ["paused", "failed"].includes(one.state) ? press("cancel", "cross", "button.button.small.quiet") : null,
      one.state === "done" && one.link_path ? h("a.button.small", { href: folderOf(one) }, icon("drive", 18), t("show")) : null,
      ["done", "cancelled"].includes(one.state) ? press("forget", "cross", "button.button.small.quiet") : null,
    ];
  }
}

const sized = (done, total) => (total === null ? size(done) : t("of", { done: size(done), total: size(total) }));

function folderOf(one) {
  const folder = one.link_path.split("/").slice(0, -1);
  return ["#/drive", ...folder.map(encodeURIComponent)].join("/");
}
