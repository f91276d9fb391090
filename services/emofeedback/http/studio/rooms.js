// The gallery, two runs side by side, and the judge's room.

import * as api from "./api.js";
import { difference, feeling, h, number, percent } from "./dom.js";
import { fromResult, tileAt } from "./model.js";
import { Plane, roundColor } from "./plane.js";
import { complain, facts, image } from "./run.js";

export function gallery(canvas) {
  const chosen = new Set();
  const list = h("div", { class: "cards" });
  const compare = h("a", { class: "button", hidden: true }, "Compare the two");
  const search = h("input", { type: "search", id: "search", placeholder: "words of a prompt", autocomplete: "off" });
  let asked = 0;
  async function find() {
    const turn = ++asked;
    const { data } = await api.get(`/v1/runs?q=${encodeURIComponent(search.value)}`);
    if (turn !== asked) return;
    list.replaceChildren(...data.map(card));
    if (!data.length) list.append(h("p", { class: "soft" }, search.value ? "No run has these words." : "No runs yet: create one."));
  }
  function card(run) {
    const link = `#/run/${encodeURIComponent(run.id)}`;
    const box = h("input", { type: "checkbox", checked: chosen.has(run.id), onchange: (event) => {
      if (event.target.checked) chosen.add(run.id); else chosen.delete(run.id);
      compare.hidden = chosen.size !== 2;
      compare.href = `#/compare/${[...chosen].map(encodeURIComponent).join("/")}`;
    } });
    const best = run.best && `/v1/runs/${encodeURIComponent(run.id)}/images/${run.best.round}/${run.best.index}`;
    return h("article", { class: "card" },
      h("a", { href: link, class: "frame", tabindex: "-1", "aria-hidden": "true" }, best ? image(best, "") : h("span", { class: "veil" }, "no picture yet")),
      h("h2", {}, h("a", { href: link }, run.prompt)),
      h("p", { class: "soft" }, feeling(run.target), run.loss !== null && `, off by ${number(run.loss)}`),
      h("p", { class: "soft" }, run.live ? "under way" : run.state, ` \u00b7 ${new Date(run.changed * 1000).toLocaleDateString()}`),
      h("label", { class: "check" }, box, "compare"));
  }
  search.addEventListener("input", () => find().catch(complain));
  canvas.replaceChildren(
    h("header", { class: "run-head" }, h("h1", {}, "Gallery"), h("div", { class: "actions" }, compare)),
    h("label", { class: "search", for: "search" }, "Search", search), list);
  return find();
}

// `here()` says whether its reader is still there when the runs have come.
export async function compare(canvas, names, here) {
  const runs = await Promise.all(names.map(async (name) => fromResult(await api.get(`/v1/runs/${encodeURIComponent(name)}`))));
  if (!here()) return;
  const column = (run, other) => {
    const tile = tileAt(run, run.best);
    const prompt = tile ? tile.prompt || run.rounds[run.best.round].prompt : run.prompt;
    const rival = other && tileAt(other, other.best);
    const holder = h("div", { class: "pad" });
    const plane = new Plane(holder, { label: `Where the pictures of ${run.prompt} landed` });
    plane.aim(run.target);
    plane.land(run.rounds.flatMap((round) => round.tiles.filter((t) => t.outcome?.emotion).map((t) => ({
      key: `${round.index}/${t.index}`, ...t.outcome, color: roundColor(round.index, run.rounds.length),
      best: t === tile, label: t.outcome.emotion }))));
    return h("section", { class: "column" },
      h("h2", {}, h("a", { href: `#/run/${encodeURIComponent(run.id)}` }, run.prompt)),
      h("p", { class: "soft" }, `to feel ${feeling(run.target)}; ${run.rounds.length} rounds, ${number(run.seconds)} s, ${run.state}`),
      tile ? h("div", { class: "frame" }, image(tile.url, prompt)) : h("p", {}, "No picture yet."),
      tile && facts(tile),
      h("p", { class: "painted" }, ...(rival ? difference(rival.prompt || other.prompt, prompt) : [prompt])),
      holder);
  };
  canvas.replaceChildren(h("header", { class: "run-head" }, h("h1", {}, "Side by side")),
    h("div", { class: "columns" }, column(runs[0], null), column(runs[1], runs[0])));
}

// `lend(point)` takes a picture's feeling as the target, `again(recipe)` its whole recipe; `files` are looked at at once,
// and where it is one that was painted here, its run is opened.
export function judge(canvas, { lend, again, files }) {
  const found = h("div", { class: "cards", "aria-live": "polite" });
  const aloud = h("input", { type: "checkbox" });
  const picker = h("input", { type: "file", id: "files", accept: "image/png,image/jpeg,image/webp", multiple: true });
  const drop = h("label", { class: "drop", for: "files" }, picker,
    h("strong", {}, "Drop pictures here"), h("span", { class: "soft" }, "or choose some: PNG, JPEG or WebP"));
  async function look(files) {
    const pictures = [...files];
    if (!pictures.length) return [];
    const form = new FormData();
    pictures.forEach((file) => form.append("images", file));
    if (aloud.checked) form.append("reasoning", "true");
    drop.classList.add("busy");
    try {
      const { data } = await api.send("/v1/assessments", form);
      found.prepend(...data.map((outcome, i) => seen(pictures[i], outcome)));
      return data;
    } finally {
      drop.classList.remove("busy");
      picker.value = "";
    }
  }
  function seen(file, outcome) {
    const picture = h("img", { src: URL.createObjectURL(file), alt: file.name, width: 256, height: 256 });
    const { recipe } = outcome;
    return h("article", { class: "card seen" },
      h("div", { class: "frame" }, picture), h("h2", {}, file.name), facts({ outcome }),
      outcome.in_domain === false && h("p", { class: "note" }, "Not a picture of this judge's world: its reading means little."),
      outcome.reasoning && h("blockquote", {}, h("p", {}, outcome.reasoning), h("footer", {}, "the judge")),
      recipe && h("p", { class: "soft" }, `Painted by EmoFeedback from \u201c${recipe.prompt}\u201d, seed ${recipe.seed}`,
        recipe.reading && `; it read ${recipe.reading.emotion} ${percent(recipe.reading.confidence)}`),
      h("div", { class: "actions" },
        outcome.emotion && h("button", { type: "button", onclick: () => lend(outcome) }, "Paint with this feeling"),
        recipe && h("button", { type: "button", onclick: () => openRun(recipe, again).catch(complain) }, "Open its run")));
  }
  picker.addEventListener("change", () => look(picker.files).catch(complain));
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    look(event.dataTransfer.files).catch(complain);
  });
  canvas.replaceChildren(h("header", { class: "run-head" }, h("div", {}, h("h1", {}, "What does it make people feel?"),
    h("p", { class: "soft" }, "A picture of yours, as the judge sees it. It stays on the machine that this studio runs on."))),
    drop, h("label", { class: "check" }, aloud, "Tell me why, too (slower)"), found);
  look(files).then(async (data) => {
    const run = data.length === 1 && data[0].recipe && await runOf(data[0].recipe);
    if (run) location.hash = run;
  }).catch(complain);
}

// Opens the run that a picture says it is of; where that is not here, its recipe goes into the form.
async function openRun(recipe, again) {
  const run = await runOf(recipe);
  if (run) location.hash = run;
  else again(recipe);
}

// The address of the run that a picture says it is of, where it lies here.
async function runOf(recipe) {
  if (recipe.wish) {
    const { data } = await api.get(`/v1/runs?q=${encodeURIComponent(recipe.wish.prompt)}`);
    for (const run of data.filter((r) => r.prompt === recipe.wish.prompt && r.target.valence === recipe.wish.target.valence
      && r.target.arousal === recipe.wish.target.arousal)) {
      const whole = fromResult(await api.get(`/v1/runs/${encodeURIComponent(run.id)}`));
      if (whole.rounds.some((round) => round.tiles.some((tile) => tile.seed === recipe.seed
        && recipe.prompt.startsWith(tile.prompt)))) {
        return `#/run/${encodeURIComponent(run.id)}`;
      }
    }
  }
  return null;
}
