// Keeps a page fresh, sends its forms to the API, copies. Without it every page can be read as it is.
"use strict";

const body = document.body;
const root = new URL(body.dataset.root, location.href);

// --- Times and addresses -----------------------------------------------------------------------------

function ago(time) {
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(time)) / 1000));
  if (seconds < 2) return "now";
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

function freshen() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = ago(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}

// The page knows under which address the server is reached, also behind a proxy.
for (const place of document.querySelectorAll("[data-endpoint]")) {
  place.textContent = new URL(place.dataset.endpoint, location.href).href;
}

// --- Live parts --------------------------------------------------------------------------------------

let asked = false;
let again = false;

// Fetches the page anew and puts in the parts that have changed. What is open stays open.
async function refresh() {
  if (asked) {
    again = true;
    return;
  }
  asked = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const newer = fresh.getElementById(part.id);
      if (!newer || newer.innerHTML === part.dataset.seen || part.contains(document.activeElement)) continue;
      const open = [...part.querySelectorAll("details[open] > summary")].map((s) => s.textContent);
      part.dataset.seen = newer.innerHTML;
      part.replaceChildren(...newer.childNodes);
      for (const summary of part.querySelectorAll("details > summary")) {
        if (open.includes(summary.textContent)) summary.parentElement.open = true;
      }
    }
    // There is something to play now: the player comes with the page.
    if (document.querySelector("[data-live-reload]") && fresh.querySelector("#player video")) location.reload();
    freshen();
  } catch {
    // The server is away: the next event or the next tick asks again.
  } finally {
    asked = false;
    if (again) {
      again = false;
      soon();
    }
  }
}

let waiting = 0;
function soon() {
  if (!waiting) {
    waiting = setTimeout(() => {
      waiting = 0;
      if (!document.hidden) refresh();
    }, 700);
  }
}

function follow() {
  if (body.dataset.events === undefined) return;
  const mark = document.getElementById("live-mark");
  const url = new URL("api/v1/events", root);
  if (body.dataset.events) url.searchParams.set("stream", body.dataset.events);
  const source = new EventSource(url);
  const kinds = ["stream-created", "stream-changed", "stream-deleted", "upload", "object-deleted", "certificate-issued"];
  for (const kind of kinds) source.addEventListener(kind, soon);
  source.onopen = () => {
    mark.className = "live-mark on";
    mark.textContent = "live";
    soon();
  };
  source.onerror = () => {
    mark.className = "live-mark off";
    mark.textContent = "offline";
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 10000);
  };
  addEventListener("pagehide", () => source.close());
}

addEventListener("visibilitychange", () => document.hidden || soon());
setInterval(() => {
  freshen();
  // Charts move on also when nothing comes.
  if (body.dataset.events !== undefined && !document.hidden && Date.now() % 10000 < 1000) soon();
}, 1000);

// --- Forms -------------------------------------------------------------------------------------------

function fields(form) {
  const value = {};
  for (const field of form.elements) {
    if (!field.name || (field.type === "radio" && !field.checked)) continue;
    const changed = field.type === "checkbox" ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
    if ("changed" in field.dataset && !changed) continue;
    const text = field.value.trim();
    if (field.type === "checkbox") value[field.name] = field.checked;
    else if ("list" in field.dataset) value[field.name] = text.split(",").map((t) => t.trim()).filter(Boolean);
    else if ("null" in field.dataset) value[field.name] = text || null;
    else if (text || !("optional" in field.dataset)) value[field.name] = text;
  }
  return value;
}

async function send(form) {
  const output = form.querySelector("output");
  const say = (text, good) => {
    output.textContent = text;
    output.classList.toggle("good", Boolean(good));
  };
  if (form.dataset.confirm && !confirm(form.dataset.confirm)) return;
  const value = fields(form);
  // `{name}` in the address is the field of that name.
  const path = form.dataset.url.replace(/\{(\w+)\}/g, (_, name) => {
    const text = value[name];
    delete value[name];
    return encodeURIComponent(text);
  });
  const url = new URL(path, location.href);
  const options = { method: form.dataset.api };
  if ("query" in form.dataset) {
    for (const [name, text] of Object.entries(value)) url.searchParams.set(name, text);
  } else if (form.dataset.api !== "DELETE") {
    options.headers = { "content-type": "application/json" };
    options.body = JSON.stringify(value);
  }
  say("");
  let answer, text;
  try {
    answer = await fetch(url, options);
    text = await answer.text();
  } catch {
    return say("The server does not answer.");
  }
  let data = null;
  try {
    data = JSON.parse(text);
  } catch {
    // Nothing to read: the status says it all.
  }
  if (!answer.ok) return say(data?.detail ?? `The server answers ${answer.status}.`);
  if (form.dataset.go) location.assign(new URL(form.dataset.go + data.id, location.href));
  else if (form.dataset.goTo) location.assign(new URL(form.dataset.goTo, location.href));
  else if (form.dataset.show) show(form, data);
  else location.reload();
}

// Puts what the server gave into the places of the form that ask for it: `data-value="private_key"`.
function show(form, data) {
  const result = document.getElementById(form.dataset.show);
  for (const place of result.querySelectorAll("[data-value]")) {
    const text = data[place.dataset.value];
    const holder = place.closest("[data-if]") ?? place;
    holder.hidden = text === undefined || text === null;
    place.textContent = text ?? "";
  }
  for (const link of result.querySelectorAll("a[data-file]")) {
    const text = data[link.dataset.file];
    link.hidden = !text;
    if (!text) continue;
    URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([text], { type: "application/x-pem-file" }));
  }
  result.hidden = false;
  result.focus();
}

addEventListener("submit", (event) => {
  if (!event.target.dataset.api) return;
  event.preventDefault();
  send(event.target);
});

// --- Clicks ------------------------------------------------------------------------------------------

addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const text = document.getElementById(copy.dataset.copy).textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(document.getElementById(copy.dataset.copy));
      copy.textContent = "Press Ctrl C";
    }
    setTimeout(() => (copy.textContent = "Copy"), 1500);
    return;
  }
  const bar = event.target.closest("rect[data-path]");
  if (bar) {
    location.assign(new URL(`ui/streams/${body.dataset.stream}/${bar.dataset.path}?from=${bar.dataset.at}&at=${bar.dataset.at}#boxes-title`, root));
    return;
  }
  const box = event.target.closest("a[data-hex]");
  if (box) {
    event.preventDefault();
    dump(box);
    return;
  }
  for (const drop of document.querySelectorAll("details.drop[open]")) {
    if (!drop.contains(event.target)) drop.open = false;
  }
});

addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const drop of document.querySelectorAll("details.drop[open]")) {
    drop.open = false;
    drop.querySelector("summary").focus();
  }
});

// The first bytes of a box, as a hexadecimal dump.
async function dump(box) {
  const offset = Number(box.dataset.hex);
  const end = offset + Math.min(256, Number(box.dataset.size)) - 1;
  const object = box.closest("[data-object]").dataset.object;
  const answer = await fetch(new URL(object, location.href), { headers: { range: `bytes=${offset}-${end}` } });
  if (answer.status !== 206) return;
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const line = bytes.subarray(at, at + 16);
    const digits = [...line].map((b) => b.toString(16).padStart(2, "0")).join(" ");
    const text = [...line].map((b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : "·")).join("");
    lines.push(`${(offset + at).toString(16).padStart(8, "0")}  ${digits.padEnd(47)}  ${text}`);
  }
  document.getElementById("hex-at").textContent = `@${offset}`;
  document.getElementById("hex-bytes").textContent = lines.join("\n");
  document.getElementById("hex").hidden = false;
  for (const other of document.querySelectorAll(".tree .at")) other.classList.remove("at");
  box.closest("li").classList.add("at");
}

follow();
freshen();
