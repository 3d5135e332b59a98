// One conversation over the Realtime protocol: a microphone, a socket, a loudspeaker.

const DUCKED = 0.25; // loudness of the reply while the user may be interrupting
const LOUD = 0.04; // of the microphone, behind its echo cancellation
const DUCK_MS = 350; // without being interrupted, until the reply is as loud as before
const ASKED = "asked"; // marks our request for a reply, should the server refuse it

/** Say why the microphone cannot be had, and what to do; null if it can. */
export function obstacle() {
  if (window.isSecureContext && navigator.mediaDevices?.getUserMedia) return null;
  if (window.isSecureContext) return "This browser offers no microphone.";
  return (
    "The browser keeps the microphone from pages that come over plain http from another machine. " +
    "Start the demo with --https, or reach it through a tunnel: " +
    `ssh -L ${location.port || 80}:127.0.0.1:${location.port || 80} ${location.hostname}, ` +
    `then open http://127.0.0.1:${location.port || 80}.`
  );
}

function toBase64(buffer) {
  let text = "";
  const bytes = new Uint8Array(buffer);
  for (let n = 0; n < bytes.length; n += 8_192) {
    text += String.fromCharCode(...bytes.subarray(n, n + 8_192));
  }
  return btoa(text);
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}

/** A conversation. What happens is dispatched as events; `stats` has the figures. */
export class Call extends EventTarget {
  constructor(url, key) {
    super();
    this.url = url;
    this.key = key;
    this.stats = { underruns: 0, queuedMs: 0, latencyMs: null, cleared: 0, clearMs: null };
    this.loudAt = 0; // when the user was last loud
    this.isTalking = false;
    this.isAnswering = false; // from asking for a reply until the server has ended it
    this.reply = null; // the response that is wanted, until it is interrupted
    this.item = null; // what it says, until that has been heard or interrupted
    this.clearing = 0; // questions to the loudspeaker what was heard that it has not answered yet
    this.written = []; // items that wait to be sent
    this.owesReply = false; // to what was written
    this.heard = []; // recent samples of both sides, for the picture
  }

  /** Open sound and socket. Without a microphone one can still write. */
  async start({ microphone, settings }) {
    await this.openSound(microphone);
    await this.openSocket();
    this.update(settings);
  }

  async openSound(microphone) {
    try {
      this.context = new AudioContext({ sampleRate: 24_000 });
      if (microphone) await this.openMicrophone();
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
      await this.context.close(); // rates that do not mix: resample in the worklet
      this.context = new AudioContext();
      await this.openMicrophone();
    }
    await this.context.audioWorklet.addModule(new URL("worklets.js", import.meta.url));
    await this.context.resume();
    this.playback = new AudioWorkletNode(this.context, "playback", { numberOfInputs: 0 });
    this.playback.port.onmessage = ({ data }) => this.onPlayback(data);
    this.playback.connect(this.context.destination);
    if (this.source) {
      this.capture = new AudioWorkletNode(this.context, "capture", { numberOfOutputs: 0 });
      this.capture.port.onmessage = ({ data }) => this.onCapture(data);
      this.source.connect(this.capture);
    }
  }

  async openMicrophone() {
    this.stream ??= await navigator.mediaDevices.getUserMedia({
      audio: {
        channelCount: 1,
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
      },
    });
    this.source = this.context.createMediaStreamSource(this.stream);
  }

  openSocket() {
    const protocols = ["realtime"];
    if (this.key) protocols.push(`openai-insecure-api-key.${this.key}`);
    this.socket = new WebSocket(this.url, protocols);
    this.socket.onmessage = ({ data }) => this.onEvent(JSON.parse(data));
    this.socket.onclose = ({ code, reason }) => this.tell("closed", { code, reason });
    return new Promise((resolve, reject) => {
      this.socket.addEventListener("open", resolve, { once: true });
      this.socket.addEventListener("error", () => reject(new Error("no connection")), {
        once: true,
      });
    });
  }

  /** Change the settings of the session. */
  update({ instructions, eagerness, voice }) {
    const detection = { type: "semantic_vad", eagerness };
    const input = { transcription: { model: "built-in" }, turn_detection: detection };
    const output = voice ? { voice } : {}; // a server without voices names none
    this.send("session.update", {
      session: {
        type: "realtime",
        instructions,
        audio: { input, output },
      },
    });
  }

  /** Say something in writing. It interrupts, as speech does. */
  write(text) {
    const content = [{ type: "input_text", text }];
    this.written.push({ type: "message", role: "user", content });
    this.spokenAt = performance.now();
    this.insist();
  }

  /** Have what was written answered, and whatever is being answered left. */
  insist() {
    this.owesReply = true;
    if (this.isAnswering && this.item) this.send("response.cancel", { response_id: this.reply });
    this.interrupt();
  }

  /** Send what was written once it is known what was heard, and nothing is being answered. */
  proceed() {
    if (!this.owesReply || this.clearing || this.isAnswering) return;
    for (const item of this.written.splice(0)) this.send("conversation.item.create", { item });
    this.send("response.create", { event_id: ASKED });
    this.owesReply = false;
    this.isAnswering = true;
  }

  mute(muted) {
    for (const track of this.stream?.getTracks() ?? []) track.enabled = !muted;
  }

  async stop() {
    this.socket?.close(1000);
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    await this.context?.close();
  }

  send(type, fields = {}) {
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ type, ...fields }));
    }
  }

  tell(name, detail = {}) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  onCapture({ pcm, level }) {
    this.send("input_audio_buffer.append", { audio: toBase64(pcm) });
    this.remember("user", pcm);
    this.tell("level", { who: "user", level });
    this.duck(level);
  }

  /** Turn the reply down at once when the user may be interrupting; the server decides. */
  duck(level) {
    const now = performance.now();
    if (level > LOUD) this.loudAt = now;
    const wanted = this.isTalking && now - this.loudAt < DUCK_MS ? DUCKED : 1;
    if (wanted !== this.gain) this.playback.port.postMessage({ do: "duck", gain: wanted });
    this.gain = wanted;
  }

  onPlayback(data) {
    if (data.cleared) {
      this.onCleared(data);
    } else if (data.finished !== undefined) {
      this.isTalking = false;
      if (data.finished === this.item) this.item = null;
      this.tell("silent");
    } else {
      this.onProgress(data);
    }
  }

  onProgress(data) {
    if (data.playing && !this.isTalking) this.onFirstSound();
    this.isTalking = data.playing;
    this.stats.underruns = data.underruns;
    this.stats.queuedMs = data.queuedMs;
    this.tell("level", { who: "assistant", level: data.level });
  }

  onFirstSound() {
    if (!this.spokenAt) return;
    this.stats.latencyMs = Math.round(performance.now() - this.spokenAt);
    this.spokenAt = null;
    this.tell("stats");
  }

  /** What was not heard is forgotten by the model, too. */
  onCleared({ item, ms, dropped }) {
    this.stats.cleared += dropped;
    this.stats.clearMs = Math.round(performance.now() - this.clearedAt);
    this.isTalking = false;
    this.clearing -= 1;
    const heard = { content_index: 0, audio_end_ms: Math.floor(ms) };
    if (item !== null) this.send("conversation.item.truncate", { item_id: item, ...heard });
    this.proceed();
  }

  /** Fall silent; nothing more of the reply is wanted, not even what is on its way. */
  interrupt() {
    this.clearedAt = performance.now();
    this.clearing += 1;
    this.playback.port.postMessage({ do: "clear", item: this.item });
    if (this.item) this.reply = this.item = null; // a reply without an item waits for onItem
  }

  /** Keep the newest samples of a side, a sixth of them, for the picture. */
  remember(who, pcm) {
    const samples = new Int16Array(pcm);
    const few = [];
    for (let n = 0; n < samples.length; n += 6) few.push(samples[n] / 32_768);
    this.heard.push({ who, few });
    if (this.heard.length > 1_500) this.heard.shift();
  }

  onEvent(event) {
    this.lastEventAt = performance.now();
    const { response_id: reply } = event;
    if (reply && reply !== this.reply) return; // it was interrupted
    const handlers = {
      "session.created": () => this.tell("ready", { session: event.session }),
      "session.updated": () => this.tell("settings", { session: event.session }),
      "input_audio_buffer.speech_started": () => this.onSpeech(event),
      "input_audio_buffer.speech_stopped": () => this.onSilence(event),
      "response.created": () => this.onReply(event),
      "response.output_item.added": () => this.onItem(event),
      "response.output_audio.delta": () => this.onSound(event),
      "response.output_audio.done": () => this.playback.port.postMessage({ do: "end" }),
      "response.output_audio_transcript.delta": () =>
        this.tell("text", { who: "assistant", id: event.item_id, text: event.delta }),
      "conversation.item.input_audio_transcription.completed": () =>
        this.tell("text", { who: "user", id: event.item_id, text: event.transcript }),
      "response.done": () => this.onReplyDone(event),
      error: () => this.onError(event),
    };
    handlers[event.type]?.();
  }

  onSpeech(event) {
    this.interrupt();
    this.startedAt = performance.now();
    this.tell("turn", { id: event.item_id });
  }

  onSilence() {
    // The server waited for a silence before it said so; the user had stopped before that.
    this.spokenAt = performance.now() - this.silenceMs;
    this.tell("thinking");
  }

  onReply({ response }) {
    this.isAnswering = true;
    this.reply = response.id;
    this.playback.port.postMessage({ do: "begin" });
  }

  onItem({ item }) {
    this.item = item.id;
    if (this.owesReply) this.insist(); // something was written before there was one to truncate
  }

  onSound(event) {
    const pcm = fromBase64(event.delta);
    this.remember("assistant", pcm);
    this.playback.port.postMessage({ do: "push", item: event.item_id, pcm }, [pcm]);
  }

  onReplyDone(event) {
    this.isAnswering = false;
    const { status, status_details: details } = event.response;
    if (status === "failed") this.tell("trouble", { message: details.error.message });
    this.tell("stats");
    this.proceed();
  }

  onError({ error }) {
    if (error.code === "response_cancel_not_active") return; // it ended while we said so
    if (error.code === "conversation_already_has_active_response") return this.insist();
    if (error.event_id === ASKED) this.isAnswering = false;
    this.tell("trouble", { message: error.message });
  }
}
