// api.js - the server's JSON interface. An error is an Error whose message is a sentence for the user.

const key = "tessera-token";

/* The page is opened with #token=WORD where the server wants one; it stays with this tab. */
export function takeToken() {
  const found = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (!found) return;
  sessionStorage.setItem(key, decodeURIComponent(found[1]));
  history.replaceState(null, "", location.pathname + "#/example");
}

function headers(more = {}) {
  const token = sessionStorage.getItem(key);
  return token ? {...more, Authorization: `Bearer ${token}`} : more;
}

async function ask(path, options) {
  try {
    return await fetch(path, options);
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Error("The server does not answer: is `tessera serve` still running?");
  }
}

async function problemOf(response) {
  try {
    const body = await response.json();
    const text = body.error.message;
    return new Error(text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : "."));
  } catch {
    return new Error(`The server refused it (${response.status}).`);
  }
}

export async function get(path) {
  const response = await ask(path, {headers: headers()});
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

export async function getBlob(path) {
  const response = await ask(path, {headers: headers()});
  if (!response.ok) throw await problemOf(response);
  return response.blob();
}

const pause = (ms, signal) => new Promise((done, stop) => {
  const timer = setTimeout(done, ms);
  signal?.addEventListener("abort", () => { clearTimeout(timer); stop(new DOMException("", "AbortError")); }, {once: true});
});

/* Where the queue is full it is tried again for a while: other tabs and programs wait as well. */
async function askPatiently(path, options, busy) {
  for (let tries = 0;; tries++) {
    const response = await ask(path, options);
    if (response.status !== 429 || tries === 30) return response;
    busy?.();
    await pause(1000 + 500 * Math.random(), options.signal);
  }
}

export let mostBytes = Infinity;
export function setMostBytes(bytes) { mostBytes = bytes; }

function bodyOf(data) {
  const body = JSON.stringify(data);
  if (body.length > mostBytes) {
    throw new Error(`These pictures are ${Math.ceil(body.length / 1048576)} MB in all, and the server takes ` +
      `${Math.floor(mostBytes / 1048576)} MB: use fewer or smaller ones, or start it with --most-megabytes.`);
  }
  return body;
}

export async function post(path, data, signal) {
  const options = {method: "POST", headers: headers({"Content-Type": "application/json"}), body: bodyOf(data), signal};
  const response = await askPatiently(path, options);
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

/* The same with events on the way: `on.progress(data)` and so on. Resolves with what the event `answer` brings. */
export async function follow(path, data, on, signal) {
  const options = {
    method: "POST", body: bodyOf(data), signal,
    headers: headers({"Content-Type": "application/json", Accept: "text/event-stream"}),
  };
  const response = await askPatiently(path, options, () => on.busy?.());
  if (!response.ok) throw await problemOf(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) throw new Error("The server ended before the answer was there.");
    rest += value;
    for (let end; (end = rest.indexOf("\n\n")) >= 0;) {
      const lines = rest.slice(0, end).split("\n");
      rest = rest.slice(end + 2);
      const event = lines[0].slice("event: ".length), brought = JSON.parse(lines[1].slice("data: ".length));
      if (event === "answer") return brought;
      if (event === "problem") {
        const text = brought.error.message;
        throw new Error(text.charAt(0).toUpperCase() + text.slice(1) + ".");
      }
      on[event]?.(brought);
    }
  }
}

/* base64 to a file's bytes. */
export function blobOf(base64, type = "image/png") {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Blob([bytes], {type});
}
