// Elements without a framework: h("p", { class: "note" }, "text", child).

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

// What a screen reader hears, and everybody sees for a moment.
export function say(text, { wrong = false } = {}) {
  const said = byId("said");
  said.textContent = text;
  said.classList.toggle("wrong", wrong);
  clearTimeout(said.timer);
  said.timer = setTimeout(() => { said.textContent = ""; }, wrong ? 9000 : 4000);
}

export const number = (value, digits = 1) => Number(value).toFixed(digits);
export const percent = (value) => `${Math.round(value * 100)} %`;

export function feeling(point) {
  const word = (value, words) => words[value < 2.5 ? 0 : value < 4.25 ? 1 : value < 5.75 ? 2 : value < 7.5 ? 3 : 4];
  const valence = word(point.valence, ["very unpleasant", "unpleasant", "neutral", "pleasant", "very pleasant"]);
  return `${valence}, ${word(point.arousal, ["very calm", "calm", "awake", "stirring", "thrilling"])}`;
}

// Words that went in <del>, words that came in <ins>: the longest common run of words stays.
export function difference(before, after) {
  const [a, b] = [before.split(/\s+/), after.split(/\s+/)];
  const longest = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
  const parts = [];
  const add = (kind, word) => {
    if (parts.at(-1)?.kind === kind) parts.at(-1).words.push(word);
    else parts.push({ kind, words: [word] });
  };
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { add("span", a[i]); i++; j++; }
    else if (i < a.length && (j === b.length || longest[i + 1][j] >= longest[i][j + 1])) add("del", a[i++]);
    else add("ins", b[j++]);
  }
  return parts.flatMap(({ kind, words }) => [h(kind, {}, words.join(" ")), " "]);
}
