// The page: the form, the rooms, and what its address says. A reload finds the run again by `#/run/NAME`.

import * as api from "./api.js";
import { byId, feeling, h, number, say } from "./dom.js";
import { Plane } from "./plane.js";
import { compare, gallery, judge } from "./rooms.js";
import { complain, image, RunView } from "./run.js";
import { Sweep } from "./sweep.js";

const THEME = "emofeedback.theme";
const canvas = byId("main");
const plane = new Plane(byId("pad"), { choose: aim, label: "Put the feeling on the plane: valence to the right, arousal upwards" });
let sweep = null;
const reached = { measured: [], landed: [] };
const view = new RunView(canvas, plane, {
  adopt(run) {
    byId("prompt").value = run.prompt;
    aim(run.target);
  },
  reuse(prompt, seed) {
    byId("prompt").value = prompt;
    byId("seed").value = seed;
    location.hash = "#/";
    byId("prompt").focus();
  },
});

function aim(point) {
  byId("valence").value = point.valence;
  byId("arousal").value = point.arousal;
  aimed();
}

function aimed() {
  const point = { valence: Number(byId("valence").value), arousal: Number(byId("arousal").value) };
  plane.aim(point);
  byId("valence-out").textContent = number(point.valence);
  byId("arousal-out").textContent = number(point.arousal);
  byId("feeling").textContent = feeling(point);
  for (const chip of byId("emotions").children)
    chip.setAttribute("aria-pressed", String(Math.abs(chip.dataset.valence - point.valence) < 0.06 && Math.abs(chip.dataset.arousal - point.arousal) < 0.06));
}

function wished() {
  const whole = (id) => Number.parseInt(byId(id).value, 10);
  return { prompt: byId("prompt").value, valence: Number(byId("valence").value), arousal: Number(byId("arousal").value),
    rounds: whole("rounds"), images: whole("images"), seed: whole("seed"), policy: byId("policy").value,
    steps: whole("steps") || null, person: byId("person").value.trim(), pause: byId("pause").checked };
}

async function paint(event) {
  event.preventDefault();
  for (const wrong of byId("wish").querySelectorAll("[aria-invalid]")) wrong.removeAttribute("aria-invalid");
  try {
    const { id } = await api.post("/v1/runs", wished());
    location.hash = `#/run/${encodeURIComponent(id)}`;
    canvas.scrollIntoView({ block: "start", behavior: "smooth" });
  } catch (error) {
    complain(error);
    const field = byId(error.fields?.[0]?.field ?? "");
    field?.setAttribute("aria-invalid", "true");
    if (field?.closest("details")) field.closest("details").open = true;
    field?.focus();
  }
}

function welcome() {
  canvas.replaceChildren(h("section", { class: "welcome" },
    h("h1", {}, "Pictures that make people feel what you ask for"),
    h("p", {}, "Say what the picture shows, put a finger where it should feel, and watch: candidates are painted, a judge says what each makes people feel, and the prompt is rewritten by its criticism, round after round, until the feeling is right."),
    h("div", { class: "recent", id: "recent" })));
  recent().catch(complain);
}

async function recent() {
  const { data } = await api.get("/v1/runs?limit=60");
  shade({ landed: data.filter((run) => run.point).map((run) => run.point) });
  const newest = new Map();
  for (const run of data) if (run.best && !newest.has(run.prompt)) newest.set(run.prompt, run);
  const shown = [...newest.values()].slice(0, 8);
  const holder = byId("recent");
  if (!shown.length || !holder) return;
  holder.replaceChildren(h("h2", {}, "Lately"), h("div", { class: "strip" }, ...shown.map((run) =>
    h("a", { href: `#/run/${encodeURIComponent(run.id)}`, class: "frame" },
      image(`/v1/runs/${encodeURIComponent(run.id)}/images/${run.best.round}/${run.best.index}`, run.prompt)))));
}

// What the model reaches: what was measured of it, and where the runs of this folder came out.
function shade(found) {
  Object.assign(reached, found);
  const points = [...reached.measured, ...reached.landed];
  plane.shade(points);
  byId("legend").hidden = points.length === 0;
}

let turn = 0;
async function route() {
  const mine = ++turn;
  const here = () => mine === turn;
  const [, room = "", ...names] = location.hash.split("/");
  const parts = names.map(decodeURIComponent);
  const inRun = room === "" || room === "run";
  document.body.dataset.room = inRun ? "create" : room;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.dataset.room === (inRun ? "create" : room === "compare" ? "gallery" : room);
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  view.leave();
  sweep?.leave();
  if (room === "run") {
    try {
      await view.show(parts[0]);
    } catch (error) {
      canvas.replaceChildren(h("p", { class: "note" }, error.message));
    }
  } else if (room === "sweep") {
    const policies = (await api.get("/v1/policies")).data;
    if (!here()) return;
    sweep ??= new Sweep(canvas, policies);
    await sweep.show(parts);
  } else if (room === "gallery") await gallery(canvas);
  else if (room === "compare") await compare(canvas, parts, here);
  else if (room === "judge") judge(canvas, { lend, again, files: dropped.splice(0) });
  else welcome();
}

function lend(point) {
  aim({ valence: Math.round(point.valence * 10) / 10, arousal: Math.round(point.arousal * 10) / 10 });
  location.hash = "#/";
  say("The target is where the picture lies");
}

function again(recipe) {
  byId("prompt").value = recipe.wish?.prompt ?? recipe.prompt;
  byId("seed").value = recipe.seed;
  if (recipe.wish) aim(recipe.wish.target);
  location.hash = "#/";
  say("Its run is not here; its recipe is in the form");
}

function dress(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

// A picture may be dropped anywhere: it is judged, and one that was painted here opens its run.
const dropped = [];
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  if (event.defaultPrevented) return;
  event.preventDefault();
  dropped.push(...event.dataTransfer.files);
  if (!dropped.length) return;
  if (location.hash === "#/judge") route().catch(complain);
  else location.hash = "#/judge";
});

byId("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme.startsWith("dark");
  localStorage.setItem(THEME, dark ? "light" : "dark");
  dress(localStorage.getItem(THEME));
});
dress(localStorage.getItem(THEME));
byId("wish").addEventListener("submit", paint);
for (const id of ["valence", "arousal"]) byId(id).addEventListener("input", aimed);
byId("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("wish").requestSubmit();
});
window.addEventListener("hashchange", () => route().catch(complain));
byId("picture").addEventListener("click", (event) => {
  if (event.target === byId("picture")) byId("picture").close();
});

async function begin() {
  aimed();
  route().catch(complain);
  api.get("/v1/reach").then(({ data }) => shade({ measured: data })).catch(complain);
  const emotions = (await api.get("/v1/emotions")).data;
  plane.name(emotions);
  byId("emotions").replaceChildren(...emotions.map((emotion) => h("button", { type: "button", "data-valence": emotion.valence,
    "data-arousal": emotion.arousal, "aria-pressed": "false", onclick: () => { aim(emotion); } }, emotion.name)));
  aimed();
  const policies = (await api.get("/v1/policies")).data;
  byId("policy").append(...policies.map((name) => h("option", { value: name }, name)));
}

begin().catch(complain);
