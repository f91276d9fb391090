// The HTTP API, and nothing else: what the studio can, any program can.

import { byId } from "./dom.js";

const KEY = "emofeedback.token";
const pictures = new Map();

export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.fields = error.violations ?? [];
  }
}

async function call(path, options = {}) {
  const token = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
  let reply;
  try {
    reply = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { message: "The studio's server does not answer. Is it still running?" });
  }
  if (reply.ok) return reply;
  if (reply.status === 401) {
    await askForToken();
    return call(path, options);
  }
  const content = await reply.json().catch(() => ({}));
  throw new Refused(reply.status, content.error ?? { message: reply.statusText });
}

let asking = null;
function askForToken() {
  asking ??= new Promise((resolve) => {
    const dialog = byId("token");
    dialog.showModal();
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, byId("token-value").value);
      asking = null;
      resolve();
    }, { once: true });
  });
  return asking;
}

export const get = async (path) => (await call(path)).json();

export const post = async (path, body = {}) =>
  (await call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })).json();

export const send = async (path, form) => (await call(path, { method: "POST", body: form })).json();

export async function blob(path) {
  return (await call(path)).blob();
}

// The object URL of a picture; a finished run's pictures do not change, so each is fetched once.
export function picture(path) {
  if (!pictures.has(path)) {
    const url = blob(path).then((data) => URL.createObjectURL(data));
    url.catch(() => pictures.delete(path));
    pictures.set(path, url);
  }
  return pictures.get(path);
}

// Calls `tell(name, content)` for every server-sent event, until the stream ends or `signal` says so.
export async function follow(path, tell, signal) {
  const reply = await call(path, { signal });
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (lines.event) tell(lines.event, JSON.parse(lines.data));
    }
  }
}

export async function download(path, name) {
  const url = URL.createObjectURL(await blob(path));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export async function open(path) {
  const page = window.open("", "_blank");
  const url = URL.createObjectURL(await blob(path));
  if (page) page.location = url;
}
