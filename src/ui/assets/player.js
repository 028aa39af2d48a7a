// Plays what a stream holds: manifests by Shaka Player; tracks and segments as they are stored, by media
// source extensions; other files by the browser itself.
"use strict";

(() => {
  const section = document.getElementById("player");
  const video = document.getElementById("video");
  const note = document.getElementById("player-note");
  const source = document.getElementById("source");
  const base = new URL(section.dataset.base, location.href);
  let stop = () => {};

  const say = (text) => (note.textContent = text);
  say("");

  const NAMES = { hvc1: "HEVC (H.265)", hev1: "HEVC (H.265)", vvc1: "VVC (H.266)", vvi1: "VVC (H.266)", av01: "AV1", vp09: "VP9", avc1: "H.264", avc3: "H.264", mp4a: "AAC", opus: "Opus", "ac-3": "AC-3", "ec-3": "E-AC-3", dvh1: "Dolby Vision" };
  const named = (codec) => {
    const name = NAMES[codec.split(".")[0]] ?? NAMES[codec.split(".")[0].toLowerCase()];
    return name ? `${name}, ${codec}` : codec;
  };
  const cannot = (codecs) => `This browser cannot decode ${codecs.map(named).join(" and ")}. The stream itself may be fine: download it, or use a browser or player that has the decoder.`;

  // --- Manifests ---

  async function playManifest(path) {
    shaka.polyfill.installAll();
    if (!shaka.Player.isBrowserSupported()) return say("This browser has no media source extensions, which playing needs.");
    const player = new shaka.Player();
    await player.attach(video);
    stop = () => player.destroy();
    player.addEventListener("error", (event) => say(explain(event.detail)));
    player.configure({ streaming: { rebufferingGoal: 0.5, bufferingGoal: 15, retryParameters: { maxAttempts: 5 } } });
    try {
      await player.load(new URL(path, base).href);
      await video.play();
    } catch (error) {
      say(await why(error));
    }
  }

  function explain(error) {
    const codes = shaka.util.Error.Code;
    if (error?.code === codes.CONTENT_UNSUPPORTED_BY_BROWSER || error?.code === codes.RESTRICTIONS_CANNOT_BE_MET) return cannot(["the codecs of this session"]);
    const name = Object.keys(codes).find((key) => codes[key] === error?.code);
    return name ? `Playing stopped: ${name.toLowerCase().replaceAll("_", " ")} (Shaka ${error.code}).` : `Playing stopped: ${error?.message ?? error}`;
  }

  // Which of the session's codecs it is that the browser lacks is known to the server.
  async function why(error) {
    const lacking = (await timeline()).tracks
      .filter((track) => track.header && !MediaSource.isTypeSupported(type(track.header)))
      .map((track) => track.header.codec);
    return lacking.length ? cannot([...new Set(lacking)]) : explain(error);
  }

  // --- Tracks as stored ---

  const type = (header) => `${header.kind === "audio" ? "audio" : "video"}/mp4; codecs="${header.codec}"`;

  async function timeline() {
    const answer = await fetch(new URL(section.dataset.timeline, location.href));
    if (!answer.ok) throw new Error(`the timeline cannot be had (${answer.status})`);
    return answer.json();
  }

  async function bytes(path, from, length, signal) {
    const url = new URL(path.split("/").map(encodeURIComponent).join("/"), base);
    const answer = await fetch(url, { headers: { range: `bytes=${from}-${from + length - 1}` }, signal });
    if (answer.status !== 206) throw new Error(`${path} cannot be read (${answer.status})`);
    return answer.arrayBuffer();
  }

  const done = (buffer) => new Promise((resolve, reject) => {
    buffer.addEventListener("updateend", resolve, { once: true });
    buffer.addEventListener("error", () => reject(new Error("the browser refuses these bytes")), { once: true });
  });

  async function playTracks() {
    const tracks = (await timeline()).tracks.filter((track) => track.header && track.bars.some((bar) => bar.start !== null));
    const first = (kind) => tracks.find((track) => track.header.kind === kind);
    const chosen = [first("video"), first("audio")].filter(Boolean);
    if (!chosen.length) return say("There is no track with a header and media yet.");
    const lacking = chosen.filter((track) => !MediaSource.isTypeSupported(type(track.header)));
    if (lacking.length) say(cannot(lacking.map((track) => track.header.codec)));
    const playable = chosen.filter((track) => !lacking.includes(track));
    if (!playable.length) return;
    const abort = new AbortController();
    const media = new MediaSource();
    video.src = URL.createObjectURL(media);
    stop = () => {
      abort.abort();
      URL.revokeObjectURL(video.src);
      video.removeAttribute("src");
      video.load();
    };
    await new Promise((resolve) => media.addEventListener("sourceopen", resolve, { once: true }));
    const feeds = playable.map((track) => ({ track, name: track.name, buffer: media.addSourceBuffer(type(track.header)), given: new Set() }));
    video.play().catch(() => {});
    await Promise.all(feeds.map(async (feed) => {
      const { header } = feed.track;
      feed.buffer.appendBuffer(await bytes(header.path, 0, header.size, abort.signal));
      await done(feed.buffer);
    }));
    let started = false;
    while (!abort.signal.aborted) {
      let gave = false;
      for (const feed of feeds) gave = (await give(feed, abort.signal)) || gave;
      if (!started && feeds.every((feed) => feed.buffer.buffered.length)) {
        started = true;
        video.currentTime = Math.max(...feeds.map((feed) => feed.buffer.buffered.start(0)));
      }
      hop(feeds);
      if (gave) continue;
      await new Promise((resolve) => setTimeout(resolve, 800));
      const fresh = await timeline().catch(() => null);
      for (const feed of feeds) feed.track = fresh?.tracks.find((track) => track.name === feed.name) ?? feed.track;
    }
  }

  // Appends the next fragment of a track, unless enough is there already.
  async function give(feed, signal) {
    const { buffer, track } = feed;
    const ahead = buffer.buffered.length ? buffer.buffered.end(buffer.buffered.length - 1) - video.currentTime : 0;
    if (ahead > 20) return false;
    const key = (bar) => `${bar.path} ${bar.offset} ${bar.upload}`;
    const bars = track.bars.filter((bar) => bar.start !== null);
    if (!feed.given.size) {
      // The first one must begin with a key frame.
      const at = bars.findIndex((bar) => bar.sync);
      for (const bar of bars.slice(0, Math.max(at, 0))) feed.given.add(key(bar));
    }
    const next = bars.find((bar) => !feed.given.has(key(bar)));
    if (!next) return false;
    feed.given.add(key(next));
    const behind = video.currentTime - 30;
    if (buffer.buffered.length && buffer.buffered.start(0) < behind) {
      buffer.remove(0, behind);
      await done(buffer);
    }
    buffer.appendBuffer(await bytes(next.path, next.offset, next.size, signal));
    await done(buffer);
    return true;
  }

  // Over a gap in the media to what comes after it.
  function hop(feeds) {
    const ranges = video.buffered;
    for (let i = 0; i < ranges.length; i++) {
      const start = ranges.start(i);
      const inside = video.currentTime >= start - 0.05 && video.currentTime < ranges.end(i) - 0.05;
      if (inside) return;
      if (start > video.currentTime && feeds.length) {
        video.currentTime = start + 0.01;
        return;
      }
    }
  }

  // --- Files ---

  async function playFile(path) {
    video.src = new URL(path, base).href;
    stop = () => {
      video.removeAttribute("src");
      video.load();
    };
    video.onerror = () => video.getAttribute("src") && say(`The browser cannot play this file: ${video.error?.message || "unknown coding"}`);
    await video.play().catch(() => {});
  }

  async function play() {
    await stop();
    stop = () => {};
    say("");
    document.getElementById("screen").hidden = false;
    const { value, selectedOptions } = source;
    const kind = selectedOptions[0].dataset.kind;
    const path = value.split("/").map(encodeURIComponent).join("/");
    try {
      if (kind === "manifest") await playManifest(path);
      else if (kind === "tracks") await playTracks();
      else await playFile(path);
    } catch (error) {
      if (error.name !== "AbortError") say(`Playing stopped: ${error.message}`);
    }
  }

  document.getElementById("play").addEventListener("click", play);
  source.addEventListener("change", () => document.getElementById("screen").hidden || play());
})();
