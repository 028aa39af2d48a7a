// The page, in a real browser, against the real server, with real sources.
//
// usage: node tests/page/run.mjs [WORD…]     only the tests whose names have one of the words
//
// Needs what scripts/setup installs: chromium, ffmpeg, and playwright-core and axe-core below
// target/tools. PAVS names the program under test; screenshots and the log go to target/page.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import fs from "node:fs";
import https from "node:https";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";

const project = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const target = process.env.CARGO_TARGET_DIR ?? path.join(project, "target");
const require = createRequire(path.join(target, "tools/node_modules/x"));
const { chromium } = require("playwright-core");
const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const PAVS = process.env.PAVS ?? path.join(target, "debug/pavs");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const OUT = path.join(target, "page");
fs.mkdirSync(OUT, { recursive: true });

const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 844 };
/** How long anything may take that should be quick. Generous: the machine may be busy. */
const DEADLINE = 60_000;

const children = new Set();

function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  children.add(child);
  child.text = "";
  for (const pipe of [child.stdout, child.stderr]) pipe.on("data", (data) => (child.text = (child.text + data).slice(-200_000)));
  child.ended = new Promise((resolve) => child.on("close", (code) => (children.delete(child), resolve(code))));
  child.on("error", (error) => (child.text += error));
  return child;
}

async function until(what, condition) {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`did not come true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

class Server {
  static async start(...args) {
    const server = new Server();
    server.dir = fs.mkdtempSync(path.join(os.tmpdir(), "pavs-page-"));
    await server.up(args);
    return server;
  }

  async up(args) {
    this.args = args;
    this.child = start(PAVS, ["serve", "--port", "0", "--working-directory", path.join(this.dir, "wd"), ...args]);
    await until(`the server is ready:\n${this.child.text}`, () => this.child.text.includes("CTRL + C") || this.child.exitCode !== null);
    const port = /Running on https:\/\/[^ ]*:(\d+) /.exec(this.child.text)?.[1];
    assert(port, this.child.text);
    this.base = `https://localhost:${port}`;
    this.ca = this.file("certs/server/root.pem");
  }

  file(name) {
    return path.join(this.dir, "wd", name);
  }

  async down() {
    this.child.kill("SIGTERM");
    const code = await this.child.ended;
    fs.appendFileSync(path.join(OUT, "server.log"), this.child.text);
    assert(!/panicked/.test(this.child.text), this.child.text);
    assert.equal(code, 0, this.child.text);
  }

  async end() {
    await this.down();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  call(method, where, { body, headers = {}, cert } = {}) {
    const url = new URL(where, this.base);
    // As it is: URL would tidy up what the test wants to send.
    const options = { method, host: "localhost", port: url.port, path: where, headers, ca: fs.readFileSync(this.ca), agent: false };
    if (cert) Object.assign(options, { cert: fs.readFileSync(this.file(`certs/device/${cert}.pem`)), key: fs.readFileSync(this.file(`certs/device/${cert}.key`)) });
    return new Promise((resolve, reject) => {
      const request = https.request(options, (answer) => {
        const chunks = [];
        answer.on("data", (chunk) => chunks.push(chunk));
        answer.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          let json = null;
          try {
            json = JSON.parse(text);
          } catch {
            // Not all answers are JSON.
          }
          resolve({ status: answer.statusCode, headers: answer.headers, text, json });
        });
      });
      request.on("error", reject);
      request.end(body);
    });
  }

  async device(name) {
    const made = await this.call("POST", `/certs/${encodeURIComponent(name)}/keypair`);
    assert.equal(made.status, 200, made.text);
    return name;
  }

  async stream(query) {
    const opened = await this.call("POST", `/streams?${query}`);
    assert.equal(opened.status, 201, opened.text);
    return opened.json.id;
  }

  /** ffmpeg's arguments for a push with this device's certificate. */
  tls(device) {
    return ["-tls_verify", "1", "-ca_file", this.ca, "-cert_file", this.file(`certs/device/${device}.pem`), "-key_file", this.file(`certs/device/${device}.key`)];
  }
}

const INPUT = ["-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", "sine=frequency=440"];
const CODING = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac"];
const ffmpeg = (...args) => start("ffmpeg", ["-hide_banner", "-loglevel", "warning", "-nostdin", ...args]);

/** A page of a browser that notes what must not happen. */
async function open(browser, server, where, options = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: WIDE, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  page.wrongs = [];
  page.expected = [];
  page.on("console", (message) => message.type() === "error" && page.wrongs.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => page.wrongs.push(`script: ${error}`));
  page.on("dialog", (dialog) => (page.wrongs.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(server.base) && !/^(blob|data):/.test(url)) page.wrongs.push(`request to ${url}`);
  });
  if (where) await page.goto(server.base + where);
  return page;
}

/** Closes a page and fails where something was wrong on it. */
async function close(page) {
  const wrongs = page.wrongs.filter((wrong) => !page.expected.some((expected) => expected.test(wrong)));
  await page.context().close();
  assert.deepEqual(wrongs, []);
}

/** Pictures of a page at both widths, and in the dark, and what axe has to say. */
async function picture(page, name) {
  for (const [scheme, view, width] of [["light", WIDE, "1280"], ["dark", WIDE, "1280-dark"], ["light", NARROW, "390"]]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize(view);
    await page.screenshot({ path: path.join(OUT, `${name}-${width}.png`), fullPage: true });
    // axe comes in by the debugger's door: the page's policy lets no script in.
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    assert.deepEqual(violations.map((v) => [v.id, v.nodes.map((n) => n.html.slice(0, 200))]), [], `${name} at ${width}`);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert(overflow <= 0, `${name} is ${overflow} px too wide at ${width}`);
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(WIDE);
}

/** Plays a source and sees that it runs. */
async function plays(page, label) {
  await page.selectOption("#source", { label });
  await page.click("#play");
  const state = () => page.$eval("#video", (video) => ({ time: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames }));
  const first = await until(`${label} plays: ${await page.textContent("#player-note")}`, async () => {
    const now = await state();
    return now.frames > 5 && now;
  });
  await until(`${label} goes on`, async () => (await state()).time > first.time + 0.5);
  assert.equal(await page.textContent("#player-note"), "");
}

const tests = {
  async "a stream appears without a reload, and its count rises"(browser) {
    const server = await Server.start();
    const page = await open(browser, server, "/");
    assert.equal(new URL(page.url()).pathname, "/ui/streams");
    assert(await page.isVisible("text=No streams yet"));
    await picture(page, "streams-empty");
    await page.evaluate(() => (window.same = true));
    await server.device("cam-1");
    const id = (await server.call("POST", "/streams?interface=cmaf-ingest", { cert: "cam-1" })).json.id;
    await page.waitForSelector(`a[href="streams/${id}"]`);
    await server.call("PUT", `/streams/${id}/a.bin`, { body: "x", cert: "cam-1" });
    await page.waitForSelector("td[data-label=Uploads]:has-text('1')");
    assert(await page.evaluate(() => window.same), "the page was not loaded anew");
    // Opened by the page's own form.
    await page.click("text=New stream");
    await page.check("input[value=dash]");
    await page.click("button:has-text('Open stream')");
    await page.waitForURL(/\/ui\/streams\/2$/);
    assert.equal(await page.textContent("#endpoint"), `${server.base}/streams/2/`);
    await picture(page, "stream-empty");
    // Named, and found by its name, at every address.
    await page.click("summary:has-text('Settings')");
    await page.fill("input[name=name]", "front-door");
    await page.fill("input[name=tags]", "lab, outdoor");
    await page.click("button:has-text('Save')");
    await page.waitForSelector("h1:has-text('front-door')");
    assert.equal((await server.call("GET", "/streams/front-door")).json.id, 2);
    await page.goto(`${server.base}/ui/streams?q=outdoor`);
    assert.equal(await page.locator("table.streams tbody tr").count(), 1);
    await page.goto(`${server.base}/ui/streams/front-door`);
    page.on("dialog", () => {});
    page.removeAllListeners("dialog");
    page.on("dialog", (dialog) => dialog.accept());
    await page.click("summary:has-text('Settings')");
    await page.click("button:has-text('Delete stream')");
    await page.waitForURL(/\/ui\/streams$/);
    assert.equal((await server.call("GET", "/streams/2")).status, 404);
    await close(page);
    await server.end();
  },

  async "DASH and HLS play while they are pushed"(browser) {
    const server = await Server.start();
    await server.device("cam-1");
    const dash = await server.stream("interface=dash");
    const hls = await server.stream("interface=hls");
    const pushes = [
      ffmpeg(...INPUT, ...CODING, "-f", "dash", "-seg_duration", "1", "-window_size", "30", "-method", "PUT", ...server.tls("cam-1"), `${server.base}/streams/${dash}/session_1/index.mpd`),
      ffmpeg(...INPUT, ...CODING, "-f", "hls", "-hls_segment_type", "fmp4", "-hls_time", "1", "-hls_list_size", "30", "-method", "PUT", ...server.tls("cam-1"), `${server.base}/streams/${hls}/session_1/index.m3u8`),
    ];
    try {
      const page = await open(browser, server, `/ui/streams/${dash}`);
      const count = async () => Number((await page.textContent("[data-count=objects]")).replaceAll(/\D/g, ""));
      const before = await until("objects come", async () => await count());
      await until("more come", async () => (await count()) > before);
      await page.waitForSelector("#source");
      await plays(page, "session_1/index.mpd");
      await plays(page, "Tracks as stored");
      await until("the timeline has marks", async () => (await page.locator("#timeline rect.sync").count()) > 2);
      await page.waitForSelector(".lane:nth-child(2)");
      await picture(page, "stream-live");
      await page.goto(`${server.base}/ui/streams`);
      await page.waitForSelector(".state.live");
      await picture(page, "streams");
      await page.goto(`${server.base}/ui/streams/${hls}`);
      await page.waitForSelector("#source");
      await plays(page, "session_1/index.m3u8");
      await close(page);
    } catch (error) {
      error.message += `\n${pushes.map((push) => push.text).join("\n")}`;
      throw error;
    } finally {
      for (const push of pushes) push.kill("SIGINT");
      await Promise.all(pushes.map((push) => push.ended));
    }
    const page = await open(browser, server, `/ui/streams/${dash}/session_1/init-stream0.m4s`);
    assert(await page.isVisible("th:has-text('codec_name')"));
    await page.click(".tree summary:has-text('moov')");
    await page.click(".tree summary:has-text('mvhd')");
    await page.click("a[data-hex='0']");
    await page.waitForSelector("#hex-bytes:has-text('66 74 79 70')");
    await picture(page, "object");
    // The same without the script.
    const plain = await open(browser, server, `/ui/streams/${dash}/session_1/init-stream0.m4s?at=0`, { javaScriptEnabled: false });
    assert((await plain.textContent("#hex-bytes")).includes("66 74 79 70"));
    await plain.goto(`${server.base}/ui/streams/${dash}`);
    assert(await plain.isVisible("#uploads a:has-text('session_1/index.mpd') >> nth=0"));
    await close(plain);
    await close(page);
    await server.end();
  },

  async "a lone track plays while it grows, and what cannot be decoded is named"(browser) {
    const server = await Server.start();
    await server.device("cam-1");
    const id = await server.stream("interface=cmaf-ingest");
    const push = ffmpeg(...INPUT.slice(0, 5), ...CODING.slice(0, -2), "-f", "mp4", "-movflags", "+cmaf+frag_keyframe+empty_moov+default_base_moof", "-method", "PUT", ...server.tls("cam-1"), `${server.base}/streams/${id}/video.cmfv`);
    try {
      const page = await open(browser, server, `/ui/streams/${id}`);
      await page.waitForSelector("#source");
      await plays(page, "Tracks as stored");
      await close(page);
    } catch (error) {
      error.message += `\n${push.text}`;
      throw error;
    } finally {
      push.kill("SIGINT");
      await push.ended;
    }
    const hevc = await server.stream("interface=cmaf-ingest");
    const body = fs.readFileSync(path.join(project, "tests/data/media/tracks/hevc-hev1-180p.cmfv"));
    assert.equal((await server.call("PUT", `/streams/${hevc}/video.cmfv`, { body, cert: "cam-1" })).status, 202);
    const page = await open(browser, server, `/ui/streams/${hevc}`);
    const able = await page.evaluate(() => MediaSource.isTypeSupported('video/mp4; codecs="hev1.1.6.L60.90"'));
    if (!able) {
      await page.click("#play");
      await page.waitForSelector("#player-note:has-text('cannot decode HEVC (H.265), hev1')");
    }
    await close(page);
    await server.end();
  },

  async "broken uploads are shown with their rules"(browser) {
    const server = await Server.start("--strict-mode");
    await server.device("cam-1");
    const id = await server.stream("interface=dash");
    const page = await open(browser, server, `/ui/streams/${id}`);
    const put = await server.call("PUT", `/streams/${id}/index.mpd`, { body: "<MPD/>", cert: "cam-1" });
    assert.equal(put.status, 400, put.text);
    const sentence = put.json.errors[0];
    await page.waitForSelector("#broken summary");
    assert((await page.textContent("#broken")).includes(sentence));
    await page.waitForSelector(".outcome.rejected, .outcome.refused");
    await page.click("#broken summary");
    await page.click("#broken ul a");
    await page.waitForSelector(`.errors:has-text("${sentence}")`);
    assert((await page.textContent("details.upload")).includes(`PUT /streams/${id}/index.mpd`));
    await picture(page, "object-rejected");
    await page.goto(`${server.base}/ui/streams/${id}`);
    await picture(page, "stream-broken");
    await close(page);
    await server.end();
  },

  async "what strangers write stays text"(browser) {
    const server = await Server.start();
    const evil = "<img src=x onerror=alert(1)>";
    await server.device('"><script>alert(2)<script>');
    await server.device("cam-1");
    const id = await server.stream("interface=cmaf-ingest");
    const put = (name, body, headers) => server.call("PUT", `/streams/${id}/${encodeURIComponent(name)}`, { body, headers, cert: "cam-1" });
    assert.equal((await put(evil, "x", { "x-evil": evil, "user-agent": "<script>alert(3)</script>" })).status, 202);
    assert.equal((await put(`${evil}.m4s`, "x")).status, 202);
    const named = await server.call("POST", `/streams/${id}/trackName`, { body: JSON.stringify({ track_name: "'\"><svg onload=alert(4)>" }) });
    assert.equal(named.status, 202, named.text);
    assert.equal((await server.call("PATCH", `/api/v1/streams/${id}`, { body: JSON.stringify({ tags: ['"><b onmouseover=alert(5)>'] }) })).status, 200);
    const script = "<script xmlns='http://www.w3.org/1999/xhtml'>document.title='ran';alert(6)</script>";
    for (const name of ["a.html", "a.svg", "a.mpd", "a.m3u8"]) {
      assert.equal((await put(name, name === "a.svg" ? `<svg xmlns='http://www.w3.org/2000/svg'>${script}</svg>` : `<html xmlns='http://www.w3.org/1999/xhtml'>${script}</html>`)).status, 202);
    }
    const page = await open(browser, server, "/ui/streams");
    for (const where of [`/ui/streams/${id}`, `/ui/streams/${id}/${encodeURIComponent(evil)}`, `/ui/streams/${id}/a.mpd`, `/ui/streams/${id}/a.html`, "/ui/certificates", "/ui/status", `/ui/streams?q=${encodeURIComponent(evil)}`]) {
      await page.goto(server.base + where);
      assert.equal(await page.locator("img[src=x], svg[onload], b[onmouseover]").count(), 0, where);
    }
    await page.goto(`${server.base}/ui/streams/${id}/${encodeURIComponent(evil)}`);
    assert((await page.textContent("details.upload pre")).includes(`x-evil: ${evil}`));
    assert.equal(await page.textContent("h1"), evil);
    for (const name of ["a.html", "a.svg", "a.mpd", "a.m3u8"]) {
      // A download ends the navigation.
      await page.goto(`${server.base}/streams/${id}/${name}`).catch(() => {});
      assert.notEqual(await page.title(), "ran", name);
    }
    page.expected.push(/sandboxed|Content Security Policy|Content-Security-Policy/);
    await close(page);
    await server.end();
  },

  async "logging in, out, and not at all"(browser) {
    const server = await Server.start("--access", "closed");
    const token = fs.readFileSync(server.file("admin.token"), "utf8").trim();
    const page = await open(browser, server);
    page.expected.push(/status of 401/);
    assert.equal((await page.goto(`${server.base}/ui/status`)).status(), 401);
    await picture(page, "login");
    await page.fill("#token", "wrong");
    await page.click("main button");
    await page.waitForSelector("[role=alert]");
    await page.fill("#token", token);
    await page.click("main button");
    await page.waitForURL(/\/ui\/(status|streams)$/);
    const cookie = (await page.context().cookies()).find((c) => c.name === "__Host-pavs");
    assert(cookie.httpOnly && cookie.secure && cookie.sameSite === "Strict" && cookie.path === "/");
    assert(!cookie.value.includes(token));
    assert(!(await page.content()).includes(token));
    await page.goto(`${server.base}/ui/streams`);
    await page.click("text=New stream");
    await page.click("button:has-text('Open stream')");
    await page.waitForURL(/\/ui\/streams\/1$/);
    // Another site's form is turned away, whatever cookie comes along.
    const crossed = await server.call("DELETE", "/api/v1/streams/1", { headers: { cookie: `__Host-pavs=${cookie.value}`, origin: "https://evil.example", "sec-fetch-site": "cross-site" } });
    assert.equal(crossed.status, 403, crossed.text);
    await page.click("button:has-text('Log out')");
    await page.waitForSelector("#token");
    assert.equal((await server.call("GET", "/api/v1/status", { headers: { cookie: `__Host-pavs=${cookie.value}` } })).status, 401);
    await close(page);
    await server.end();
  },

  async "many streams and many uploads stay quick"(browser) {
    const server = await Server.start();
    const first = await server.stream("interface=dash");
    await server.call("PUT", `/streams/${first}/seed.bin`, { body: "x" });
    await server.down();
    const fill = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
columns = [row[1] for row in db.execute("PRAGMA table_info(upload)") if row[1] not in ("id", "path")]
names = ", ".join(columns)
for start in range(0, 100000, 10000):
    db.execute(f"INSERT INTO upload (path, {names}) WITH RECURSIVE n(i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n WHERE i < {start} + 9999) SELECT 'v/segment_' || i || '.m4s', {names} FROM n, (SELECT * FROM upload ORDER BY id LIMIT 1)")
columns = [row[1] for row in db.execute("PRAGMA table_info(stream)") if row[1] not in ("id", "name")]
names = ", ".join(columns)
db.execute(f"INSERT INTO stream (name, {names}) WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 1001) SELECT 'door-' || i, {names} FROM n, (SELECT * FROM stream WHERE id = 1)")
db.commit()
`;
    const filling = start("python3", ["-c", fill, server.file("catalog.sqlite3")]);
    assert.equal(await filling.ended, 0, filling.text);
    await server.up([]);
    const page = await open(browser, server, "/ui/streams");
    const loads = async (where) => {
      let best = Infinity;
      for (let i = 0; i < 3; i++) {
        await page.goto(server.base + where);
        best = Math.min(best, await page.evaluate(() => performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd));
      }
      return best;
    };
    assert.equal(await page.locator("table.streams tbody tr").count(), 50);
    const list = await loads("/ui/streams");
    const one = await loads(`/ui/streams/${first}`);
    console.log(`  1,001 streams: ${list.toFixed(0)} ms; 100,001 uploads: ${one.toFixed(0)} ms`);
    assert(one < 1000 && list < 1000, `${list} ms, ${one} ms`);
    assert.equal(await page.locator("table.uploads tbody tr").count(), 100);
    await page.click("#uploads a[rel=next]");
    await page.waitForURL(/before=/);
    assert.equal(await page.locator("table.uploads tbody tr").count(), 100);
    await page.goto(`${server.base}/ui/streams?q=door-77`);
    assert.equal(await page.locator("table.streams tbody tr").count(), 11);
    await close(page);
    await server.end();
  },

  async "status and certificates"(browser) {
    const server = await Server.start();
    const page = await open(browser, server, "/ui/status");
    assert(await page.isVisible("dt:has-text('Version')"));
    await picture(page, "status");
    await page.goto(`${server.base}/ui/certificates`);
    const form = (title) => page.locator(".card", { has: page.locator(`h2:text-is("${title}")`) });
    await form("Key and certificate").locator("input").fill("cam-1");
    await form("Key and certificate").locator("button[type=submit]").click();
    await page.waitForSelector("#made pre:has-text('PRIVATE KEY')");
    await form("Enrolment token").locator("input[name=name]").fill("cam-2");
    await form("Enrolment token").locator("button[type=submit]").click();
    await page.waitForSelector("#enrolled:not([hidden]) #token-text:not(:empty)");
    const token = await page.textContent("#token-text");
    await page.reload();
    assert(!(await page.content()).includes("PRIVATE KEY"), "the key is shown once");
    assert(!(await page.content()).includes(token), "the token is shown once");
    const csr = start("openssl", ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", server.file("cam-3.key"), "-subj", "/CN=x"]);
    assert.equal(await csr.ended, 0, csr.text);
    await form("Sign a request").locator("input").fill("cam-3");
    await form("Sign a request").locator("textarea").fill(/-----BEGIN[^]*REQUEST-----/.exec(csr.text)[0]);
    await form("Sign a request").locator("button[type=submit]").click();
    await page.waitForSelector("#signed pre:has-text('BEGIN CERTIFICATE')");
    await page.reload();
    await picture(page, "certificates");
    await page.waitForSelector("td:has-text('cam-2')");
    page.removeAllListeners("dialog");
    page.on("dialog", (dialog) => dialog.accept());
    await page.click("[aria-label='Revoke cam-1']");
    await page.waitForSelector(".outcome.revoked");
    await close(page);
    await server.end();
  },
};

const words = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"],
});
let failed = 0;
fs.rmSync(path.join(OUT, "server.log"), { force: true });
for (const [name, test] of Object.entries(tests)) {
  if (words.length && !words.some((word) => name.includes(word))) continue;
  const began = Date.now();
  try {
    await test(browser);
    console.log(`ok    ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n${error.stack}`);
  }
  for (const context of browser.contexts()) await context.close();
  for (const child of children) {
    child.kill("SIGKILL");
    await child.ended;
  }
}
await browser.close();
console.log(failed ? `${failed} failed` : "all passed", `— pictures in ${OUT}`);
process.exitCode = failed ? 1 : 0;
