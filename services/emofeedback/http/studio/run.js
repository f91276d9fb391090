// One run on the canvas: its rounds as they happen, and the ways to take it over.

import * as api from "./api.js";
import { byId, difference, feeling, h, number, percent, say } from "./dom.js";
import { fromResult, nextPrompt, take, tileAt } from "./model.js";
import { roundColor } from "./plane.js";

export class RunView {
  // `plane` shows where pictures land; `adopt(run)` shows in the form what was wished, `reuse(prompt, seed)` a picture's prompt
  // and seed.
  constructor(canvas, plane, { adopt, reuse }) {
    Object.assign(this, { canvas, plane, adopt, reuse, run: null, following: null, tiles: new Map() });
  }

  async show(id) {
    this.leave();
    const following = new AbortController();
    this.following = following;
    const run = fromResult(await api.get(`/v1/runs/${encodeURIComponent(id)}`));
    if (following.signal.aborted) return; // its reader has gone on
    this.run = run;
    this.adopt(this.run);
    this.build();
    if (!this.run.live) return;
    try {
      await api.follow(`/v1/runs/${encodeURIComponent(id)}/events`, (name, told) => {
        const text = take(this.run, name, told);
        if (text) say(text, { wrong: name === "error" });
        if (name === "painting_step") this.updateTile(told.round, told.step.index);
        else this.update();
      }, following.signal);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  }

  leave() {
    this.following?.abort();
    this.run = null;
    this.plane.land([]);
  }

  build() {
    this.tiles.clear();
    this.head = h("header", { class: "run-head" });
    this.answer = h("section", { class: "answer", "aria-label": "The answer so far" });
    this.over = h("section", { class: "over", "aria-label": "Go on" });
    this.rounds = h("div", { class: "rounds" });
    this.canvas.replaceChildren(this.head, this.answer, this.over, this.rounds);
    this.update();
  }

  update() {
    const { run } = this;
    if (!run) return;
    this.updateHead();
    this.updateAnswer();
    this.updateOver();
    run.rounds.forEach((round) => this.updateRound(round));
    this.land();
  }

  updateHead() {
    const { run } = this;
    const name = encodeURIComponent(run.id);
    const state = run.live ? this.progress() : run.error ?? run.state;
    const actions = run.live
      ? [h("button", { type: "button", class: "warn", onclick: () => this.stop() }, "Stop")]
      : [
          h("button", { type: "button", onclick: () => api.open(`/v1/runs/${name}/report`).catch(complain) }, "Report"),
          h("button", { type: "button", onclick: () => api.download(`/v1/runs/${name}/zip`, `${run.id}.zip`).catch(complain) }, "Download"),
        ];
    const now = `${state}|${run.live}`;
    if (this.head.dataset.now === now) return;
    this.head.dataset.now = now;
    this.head.replaceChildren(
      h("div", {},
        h("h1", {}, run.prompt),
        h("p", { class: "aim" }, `to feel ${feeling(run.target)} `, h("span", { class: "soft" },
          `(valence ${number(run.target.valence)}, arousal ${number(run.target.arousal)})`)),
        h("p", { class: run.error ? "state wrong" : "state" }, run.live && h("span", { class: "pulse", "aria-hidden": "true" }), state),
        run.unknown.length > 0 && h("p", { class: "note" }, `The generator has never seen: ${run.unknown.join(", ")}.`,
          run.subjects && ` It can paint ${run.subjects}.`)),
      h("div", { class: "actions" }, ...actions));
  }

  progress() {
    const round = this.run.rounds.at(-1);
    if (!round) return "begins";
    const painted = round.tiles.filter((tile) => tile?.url).length;
    const total = this.run.asked.images ?? round.tiles.length;
    const what = painted < total ? `${painted} of ${total} painted` : round.analysis ? "rewriting the prompt" : "looking closely";
    return `Round ${round.index + 1} of ${this.run.asked.rounds}: ${what}`;
  }

  updateAnswer() {
    const { run } = this;
    const tile = tileAt(run, run.best);
    const now = tile ? `${run.best.round}/${run.best.index}/${run.done}/${run.rounds.length}` : "";
    if (this.answer.dataset.now === now) return;
    this.answer.dataset.now = now;
    if (!tile) { this.answer.replaceChildren(); return; }
    const prompt = tile.prompt || run.rounds[run.best.round].prompt;
    this.answer.replaceChildren(
      h("button", { type: "button", class: "frame", "aria-label": "The nearest picture, larger", onclick: () => this.open(run.best.round, tile) },
        image(tile.url, `The nearest picture so far: ${prompt}`)),
      h("div", {},
        h("h2", {}, run.done ? "The answer" : "Nearest so far"),
        facts(tile),
        h("p", { class: "painted" }, `\u201c${prompt}\u201d`),
        this.isNearest(tile) ? null : h("p", { class: "note" }, "Another picture reads nearer, but such words seldom do: less is believed of it."),
        h("div", { class: "actions" },
          h("button", { type: "button", onclick: () => api.download(tile.url, `${run.id}.png`).catch(complain) }, "Download picture"),
          h("button", { type: "button", onclick: () => this.reuse(prompt, tile.seed) }, "Start anew from this"))));
  }

  isNearest(tile) {
    const tiles = this.run.rounds.flatMap((round) => round.tiles).filter((other) => other?.on_subject && other.loss !== null);
    return tiles.every((other) => other.loss >= tile.loss);
  }

  updateOver() {
    const { run } = this;
    const rounds = run.rounds.filter((round) => round.finished).length;
    const now = `${run.live}/${rounds}/${run.state}`;
    if (this.over.dataset.now === now) return;
    this.over.dataset.now = now;
    if (run.live || rounds === 0) { this.over.replaceChildren(); return; }
    const prompt = h("textarea", { id: "next", rows: 2, maxlength: 2000 });
    prompt.value = nextPrompt(run);
    const written = prompt.value;
    const pause = h("input", { type: "checkbox", checked: run.paused });
    const seed = h("input", { type: "number", id: "next-seed", min: 0, value: run.asked.seed ?? 0 });
    const go = () => this.goOn({ pause: pause.checked, seed: Number.parseInt(seed.value, 10),
      prompt: prompt.value === written ? null : prompt.value });
    this.next = { prompt, seed, go };
    this.over.replaceChildren(
      h("h2", {}, run.paused ? "Your turn" : "Take it further"),
      h("label", { for: "next" }, "What the next round paints"),
      prompt,
      h("div", { class: "actions" },
        h("button", { type: "button", class: "primary", onclick: go },
          run.done ? "One more round" : "Continue"),
        h("label", { class: "seed" }, "Seed", seed),
        h("label", { class: "check" }, pause, "Ask me after every round")),
      h("p", { class: "soft" }, "The first picture of the next round has this seed; words that were painted before go on with further seeds."));
  }

  updateRound(round) {
    let section = this.rounds.querySelector(`[data-round="${round.index}"]`);
    if (!section) {
      section = h("section", { "data-round": round.index, class: "round" },
        h("h2", {}, h("span", { class: "ball" }, String(round.index + 1)), `Round ${round.index + 1}`), h("p", { class: "prompt" }),
        h("div", { class: "tiles" }), h("div", { class: "words" }));
      this.rounds.prepend(section);
    }
    section.querySelector(".ball").style.background = roundColor(round.index, this.total());
    const before = round.index ? this.run.rounds[round.index - 1].prompt : this.run.prompt;
    const [prompt, words] = [section.querySelector(".prompt"), section.querySelector(".words")];
    if (prompt.dataset.now !== round.prompt) {
      prompt.dataset.now = round.prompt;
      prompt.replaceChildren(...(round.prompt === before ? [round.prompt] : difference(before, round.prompt)));
    }
    round.tiles.forEach((tile) => tile && this.updateTile(round.index, tile.index));
    const now = `${round.analysis}|${round.rejected.length}|${round.further.length}`;
    if (words.dataset.now !== now) {
      words.dataset.now = now;
      words.replaceChildren(...[
        round.analysis && h("blockquote", {}, h("p", {}, round.analysis), h("footer", {}, "the judge")),
        round.further.length > 0 && h("details", {}, h("summary", {}, `${round.further.length} other rewrites, painted beside`),
          h("ul", {}, ...round.further.map((other) => h("li", {}, other.prompt)))),
        round.rejected.length > 0 && h("details", {}, h("summary", {}, `${round.rejected.length} rewrites not used`),
          h("ul", {}, ...round.rejected.map((r) => h("li", {}, `${r.prompt} \u2014 ${r.reason}`)))),
      ].filter(Boolean));
    }
  }

  updateTile(round, index) {
    const tile = this.run.rounds[round].tiles[index];
    const key = `${round}/${index}`;
    let view = this.tiles.get(key);
    if (!view) {
      const button = h("button", { type: "button", class: "tile", disabled: true });
      view = { button, url: undefined, now: "" };
      this.tiles.set(key, view);
      const tiles = this.rounds.querySelector(`[data-round="${round}"] .tiles`);
      if (!tiles) return;
      tiles.append(button);
      button.addEventListener("click", () => this.open(round, this.run.rounds[round].tiles[index]));
    }
    const { button } = view;
    const isBest = this.run.best?.round === round && this.run.best?.index === index;
    const now = `${tile.url}|${tile.step}|${tile.judged}|${tile.loss}|${isBest}`;
    if (view.now === now) return;
    view.now = now;
    button.classList.toggle("best", isBest);
    if (!tile.url) {
      const bar = h("progress", { max: tile.steps, value: tile.step, "aria-label": `Picture ${index + 1}` });
      button.replaceChildren(h("span", { class: "veil" }, tile.step ? bar : "waits"));
      return;
    }
    button.disabled = false;
    const label = caption(tile);
    button.setAttribute("aria-label", `Picture ${index + 1} of round ${round + 1}: ${label}`);
    if (view.url !== tile.url) {
      view.url = tile.url;
      view.image = image(tile.url, "");
    }
    button.replaceChildren(view.image, h("span", { class: tile.judged ? "caption" : "caption soft" }, label));
  }

  land() {
    const total = this.total();
    const points = this.run.rounds.flatMap((round) => round.tiles.filter((tile) => tile?.outcome?.emotion).map((tile) => ({
      key: `${round.index}/${tile.index}`, valence: tile.outcome.valence, arousal: tile.outcome.arousal,
      color: roundColor(round.index, total), best: this.run.best?.round === round.index && this.run.best?.index === tile.index,
      label: `round ${round.index + 1}, picture ${tile.index + 1}: ${caption(tile)}`,
    })));
    this.plane.land(points.sort((a, b) => a.best - b.best));
  }

  total() {
    return Math.max(this.run.rounds.length, this.run.asked.rounds ?? 1);
  }

  open(round, tile) {
    const dialog = byId("picture");
    const prompt = tile.prompt || this.run.rounds[round].prompt;
    const act = (what) => () => { dialog.close(); what(); };
    dialog.replaceChildren(h("div", { class: "large" },
      image(tile.url, prompt),
      h("div", {},
        h("h2", {}, `Round ${round + 1}, picture ${tile.index + 1}`),
        facts(tile),
        h("p", { class: "painted" }, `\u201c${prompt}\u201d`),
        h("p", { class: "soft" }, `seed ${tile.seed}`, tile.alignment !== undefined && `, likeness to your words ${number(tile.alignment, 2)}`),
        tile.imagined && h("p", { class: "soft" }, "Painted from these words and from what the judge imagines of words and feeling."),
        tile.on_subject === false && h("p", { class: "note" }, "It has lost the subject."),
        h("div", { class: "actions" },
          h("button", { type: "button", onclick: () => api.download(tile.url, `${this.run.id}-${round + 1}-${tile.index + 1}.png`).catch(complain) }, "Download"),
          ...(this.run.live || !this.next ? [] : [
            h("button", { type: "button", onclick: act(() => this.pick(prompt)) }, "Go on from this one"),
            h("button", { type: "button", onclick: act(() => this.pick(nextPrompt(this.run), tile.seed)) }, "Keep its seed"),
            h("button", { type: "button", onclick: act(() => this.more(prompt)) }, "More like this one"),
          ]),
          h("button", { type: "button", onclick: act(() => this.reuse(prompt, tile.seed)) }, "Start anew from this"),
          h("button", { type: "button", class: "primary", autofocus: true, onclick: () => dialog.close() }, "Close")))));
    dialog.showModal();
  }

  // Into the form of the next round: a picture's prompt, or its seed, which then stays the first of every round.
  pick(prompt, seed = this.run.asked.seed) {
    this.next.prompt.value = prompt;
    this.next.seed.value = seed;
    this.next.prompt.focus();
    this.next.prompt.scrollIntoView({ block: "center" });
  }

  // The same words again: a prompt that was painted goes on with further seeds.
  more(prompt) {
    this.pick(prompt);
    this.next.go();
  }

  async stop() {
    await api.post(`/v1/runs/${encodeURIComponent(this.run.id)}/stop`).catch(complain);
  }

  async goOn(asked) {
    try {
      const { id } = await api.post(`/v1/runs/${encodeURIComponent(this.run.id)}/continue`, asked);
      await this.show(id);
    } catch (error) {
      complain(error);
    }
  }
}

export function complain(error) {
  say(error.message, { wrong: true });
}

export function image(path, alt) {
  const shown = h("img", { alt, width: 256, height: 256 });
  api.picture(path).then((url) => { shown.src = url; }, complain);
  return shown;
}

function caption(tile) {
  if (!tile.judged) return "being judged";
  if (!tile.outcome.emotion) return "not readable";
  return tile.loss === null ? tile.outcome.emotion : `${tile.outcome.emotion}, off by ${number(tile.loss)}`;
}

// How sure the judge is, where it says so.
function between(distribution) {
  return distribution && h("small", {}, ` ${number(distribution.low)} to ${number(distribution.high)}`);
}

export function facts(tile) {
  const read = tile.outcome;
  if (!read?.emotion) return h("p", {}, "The judge could not read it.");
  return h("dl", { class: "facts" },
    h("div", {}, h("dt", {}, "valence"), h("dd", {}, number(read.valence), between(read.valence_distribution))),
    h("div", {}, h("dt", {}, "arousal"), h("dd", {}, number(read.arousal), between(read.arousal_distribution))),
    read.dominance != null && h("div", {}, h("dt", {}, "dominance"), h("dd", {}, number(read.dominance), between(read.dominance_distribution))),
    h("div", {}, h("dt", {}, "emotion"), h("dd", {}, `${read.emotion} `, h("small", {}, percent(read.confidence)))),
    tile.loss !== undefined && tile.loss !== null && h("div", {}, h("dt", {}, "off by"), h("dd", {}, number(tile.loss, 2))));
}
