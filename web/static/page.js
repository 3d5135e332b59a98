// The panel of the demo: buttons, meters, the transcript, the picture of the last exchange.

import { Call, obstacle } from "./call.js";

const SILENCE_MS = { high: 300, auto: 600, low: 1_000 }; // what the server waits for
const STALLED_MS = 15_000;

/** Bring a panel to life. */
export function start(panel) {
  if (panel.dataset.alive) return; // the component may be loaded again
  panel.dataset.alive = "yes";
  const find = (name) => panel.querySelector(`[data-part="${name}"]`);
  const view = new View(find);
  let call = null;
  let opening = null; // settled once the call can be written to

  const settings = () => ({
    instructions: find("instructions").value,
    eagerness: find("patience").value,
    voice: find("speaker").value,
  });

  async function open(microphone) {
    const url = new URL("v1/realtime?model=demo", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    call = new Call(url, find("key").value);
    call.silenceMs = SILENCE_MS[find("patience").value];
    window.voiceglm = call; // for the curious, and for the tests
    view.follow(call);
    const mine = call;
    call.addEventListener("closed", ({ detail }) => call === mine && close(detail));
    await call.start({ microphone, settings: settings() });
    if (call !== mine) await mine.stop(); // given up while the browser asked for permission
    mine.mute(find("mute").getAttribute("aria-pressed") === "true");
  }

  async function close(detail) {
    const over = call;
    call = null;
    view.idle(detail);
    await over?.stop();
  }

  async function guarded(work) {
    try {
      view.trouble("");
      await work();
    } catch (error) {
      const denied = error.name === "NotAllowedError";
      view.trouble(denied ? "The microphone was not allowed: see the browser's address bar." : error.message);
      await close();
    }
  }

  find("talk").addEventListener("click", () =>
    guarded(async () => {
      if (call) return close();
      const reason = obstacle();
      if (reason) return view.trouble(reason);
      view.busy();
      await (opening = open(true));
    }),
  );
  find("mute").addEventListener("click", () => {
    const muted = find("mute").getAttribute("aria-pressed") !== "true";
    find("mute").setAttribute("aria-pressed", muted);
    call?.mute(muted);
  });
  find("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = find("text").value.trim();
    if (!text) return;
    find("text").value = "";
    guarded(async () => {
      if (!call) opening = open(false);
      await opening;
      view.said("user", `written-${Date.now()}`, text);
      call?.write(text);
    });
  });
  for (const part of ["instructions", "patience", "speaker"]) {
    find(part).addEventListener("change", () => {
      if (!call) return;
      call.silenceMs = SILENCE_MS[find("patience").value];
      call.update(settings());
    });
  }
  setInterval(() => view.tick(call), 250);
  const reason = obstacle();
  if (reason) view.trouble(reason);
}

/** What is seen. */
class View {
  constructor(find) {
    this.find = find;
    this.lines = new Map();
  }

  follow(call) {
    this.call = call;
    const on = (name, work) => call.addEventListener(name, ({ detail }) => work(detail));
    on("ready", () => this.status(call.stream ? "Listening" : "Connected"));
    on("settings", ({ session }) => this.settings(session));
    on("level", ({ who, level }) => this.level(who, level));
    on("turn", ({ id }) => {
      this.status("Listening to you");
      this.said("user", id, "");
    });
    on("thinking", () => this.status("Thinking"));
    on("silent", () => this.status(call.stream ? "Listening" : "Connected"));
    on("text", ({ who, id, text }) => this.said(who, id, text));
    on("trouble", ({ message }) => this.trouble(message));
    on("stats", () => this.stats());
    this.find("talk").textContent = "Stop";
    this.find("talk").classList.add("live");
    this.find("mute").hidden = false;
  }

  settings(session) {
    this.find("model").textContent = session.model;
    this.find("voice").textContent = session.audio.output.voice;
  }

  status(text) {
    this.find("status").textContent = text;
  }

  busy() {
    this.status("Connecting");
  }

  idle(detail) {
    this.find("talk").textContent = "Start talking";
    this.find("talk").classList.remove("live");
    this.find("mute").hidden = true;
    this.status("Not connected");
    for (const who of ["user", "assistant"]) this.level(who, 0);
    if (detail && detail.code !== 1000 && detail.code !== 1005) {
      this.trouble(detail.reason || `The connection was lost (${detail.code}).`);
    }
  }

  trouble(message) {
    this.find("trouble").textContent = message;
    this.find("trouble").hidden = !message;
  }

  level(who, level) {
    const decibels = 20 * Math.log10(Math.max(level, 1e-3));
    const share = Math.max(0, Math.min(1, 1 + decibels / 60));
    this.find(`${who}-level`).style.transform = `scaleX(${share.toFixed(3)})`;
  }

  said(who, id, text) {
    let line = this.lines.get(id);
    if (!line) {
      line = document.createElement("p");
      line.className = who;
      this.find("transcript").append(line);
      this.lines.set(id, line);
    }
    if (who === "assistant") line.textContent += text;
    else line.textContent = text || "…";
    this.find("transcript").scrollTop = this.find("transcript").scrollHeight;
    if (who === "assistant") this.status("Speaking");
  }

  stats() {
    const { latencyMs, underruns } = this.call.stats;
    const latency = latencyMs === null ? "–" : `${latencyMs} ms`;
    this.find("latency").textContent = latency;
    this.find("underruns").textContent = underruns;
    this.draw();
  }

  tick(call) {
    if (!call) return;
    this.find("queued").textContent = `${Math.round(call.stats.queuedMs)} ms`;
    this.find("underruns").textContent = call.stats.underruns;
    const silent = performance.now() - (call.lastEventAt ?? performance.now());
    if (call.isAnswering && silent > STALLED_MS) this.trouble("Nothing has come for a while.");
  }

  /** Draw both sides of what was just said: the user below, the reply above. */
  draw() {
    const canvas = this.find("picture");
    const box = canvas.getBoundingClientRect();
    canvas.width = box.width * devicePixelRatio;
    canvas.height = box.height * devicePixelRatio;
    const pen = canvas.getContext("2d");
    const half = canvas.height / 2;
    const sides = { assistant: half / 2, user: (3 * half) / 2 };
    for (const [who, middle] of Object.entries(sides)) {
      const samples = this.call.heard.filter((part) => part.who === who).flatMap((part) => part.few);
      pen.fillStyle = getComputedStyle(this.find(`${who}-level`)).backgroundColor;
      this.wave(pen, samples.slice(-40_000), middle, half / 2, canvas.width);
    }
  }

  wave(pen, samples, middle, height, width) {
    const size = Math.max(1, samples.length / width);
    for (let x = 0; x < width && x * size < samples.length; x++) {
      const part = samples.slice(Math.floor(x * size), Math.ceil((x + 1) * size));
      const most = part.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      pen.fillRect(x, middle - most * height, 1, Math.max(1, 2 * most * height));
    }
  }
}
