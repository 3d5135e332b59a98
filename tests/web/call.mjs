// The page's side of a conversation: the real call and the real loudspeaker, no browser around them.
// Run by test_page_call.py, which says where the two modules are.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

const [, , callModule, workletsModule] = process.argv;
const QUANTUM = 128; // samples that a loudspeaker plays at once
const CREATE = "conversation.item.create";
const TRUNCATE = "conversation.item.truncate";

const processors = {};
globalThis.sampleRate = 24_000;
globalThis.registerProcessor = (name, kind) => (processors[name] = kind);
globalThis.AudioWorkletProcessor = class {
  constructor() {
    this.port = { answers: [], postMessage: (data) => this.port.answers.push(data) };
  }
};
globalThis.AudioContext = class {
  audioWorklet = { addModule: () => import(workletsModule) };
  async resume() {}
};
globalThis.AudioWorkletNode = class {
  constructor(context, name) {
    this.processor = new processors[name]();
    this.port = { postMessage: (data) => this.processor.port.onmessage({ data }) };
  }

  connect() {}
};
globalThis.WebSocket = class {
  static OPEN = 1;
  readyState = 1;
  sent = [];
  addEventListener(name, work) {
    if (name === "open") work();
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }
};

const { Call } = await import(callModule);
let call, told;

beforeEach(async () => {
  call = new Call("ws://here", "");
  told = [];
  for (const name of ["text", "trouble"]) {
    call.addEventListener(name, ({ detail }) => told.push(detail));
  }
  await call.start({ microphone: false, settings: {} });
  sent();
});

/** Take what the page has sent since it was last asked. */
function sent() {
  return call.socket.sent.splice(0);
}

function kinds() {
  return sent().map(({ type }) => type);
}

function server(type, fields = {}) {
  call.socket.onmessage({ data: JSON.stringify({ type, ...fields }) });
}

function begin(n) {
  server("response.created", { response: { id: `reply ${n}` } });
  server("response.output_item.added", { response_id: `reply ${n}`, item: { id: `item ${n}` } });
}

function speak(n, ms) {
  const place = { response_id: `reply ${n}`, item_id: `item ${n}` };
  const delta = Buffer.alloc((2 * ms * sampleRate) / 1_000, 1).toString("base64");
  server("response.output_audio_transcript.delta", { ...place, delta: `words of ${n}` });
  server("response.output_audio.delta", { ...place, delta });
}

function end(n, status = "cancelled") {
  server("response.output_audio.done", { response_id: `reply ${n}` });
  server("response.done", { response: { id: `reply ${n}`, status } });
}

function refuse(code, fields = {}) {
  server("error", { error: { code, message: code, ...fields } });
}

/** Let the page hear from its loudspeaker. */
function listen() {
  for (const data of call.playback.processor.port.answers.splice(0)) {
    call.playback.port.onmessage({ data });
  }
}

function play(ms) {
  const quanta = Math.floor((ms * sampleRate) / 1_000 / QUANTUM);
  for (let n = 0; n < quanta; n++) {
    call.playback.processor.process([], [[new Float32Array(QUANTUM)]]);
  }
  listen();
}

function waiting() {
  return call.playback.processor.queued();
}

function truncation(n, ms) {
  return { type: TRUNCATE, item_id: `item ${n}`, content_index: 0, audio_end_ms: ms };
}

function texts(events) {
  return events.filter(({ type }) => type === CREATE).map(({ item }) => item.content[0].text);
}

test("what was heard is told, and the old reply over, before anything new is asked", () => {
  begin(1);
  speak(1, 500);
  play(320);
  call.write("Stop.");
  assert.deepEqual(sent(), [{ type: "response.cancel", response_id: "reply 1" }]);
  listen();
  assert.deepEqual(sent(), [truncation(1, 320)]);
  end(1);
  const asked = sent();
  assert.deepEqual(texts(asked), ["Stop."]);
  assert.equal(asked.at(-1).type, "response.create");
  assert.equal(call.isAnswering, true, "asking is enough");
});

test("a loudspeaker that is slow to say what was heard is waited for", () => {
  begin(1);
  speak(1, 500);
  play(320);
  call.write("Stop.");
  end(1);
  assert.deepEqual(kinds(), ["response.cancel"]);
  listen();
  assert.deepEqual(kinds(), [TRUNCATE, CREATE, "response.create"]);
});

test("nothing is played or shown of what was still on its way", () => {
  begin(1);
  speak(1, 500);
  told.length = 0;
  call.write("Stop.");
  speak(1, 500);
  listen();
  speak(1, 500);
  assert.equal(waiting(), 0);
  assert.deepEqual(told, []);
});

test("two messages at once are answered once", () => {
  call.write("One.");
  call.write("Two.");
  listen();
  const asked = sent();
  assert.deepEqual(texts(asked), ["One.", "Two."]);
  assert.equal(asked.filter(({ type }) => type === "response.create").length, 1);
});

test("a second message leaves the reply to the first, even one that has not begun", () => {
  call.write("One.");
  listen();
  assert.deepEqual(kinds(), [CREATE, "response.create"]);
  call.write("Two.");
  listen();
  assert.deepEqual(kinds(), [], "the reply to the first is still to come");
  begin(1);
  speak(1, 500);
  listen();
  assert.equal(waiting(), 0);
  assert.deepEqual(sent(), [
    { type: "response.cancel", response_id: "reply 1" },
    truncation(1, 0),
  ]);
  end(1);
  assert.deepEqual(kinds(), [CREATE, "response.create"]);
  begin(2);
  speak(2, 500);
  assert.ok(waiting() > 0);
});

test("a message between the beginning of a reply and its item is no exception", () => {
  server("response.created", { response: { id: "reply 1" } });
  call.write("Stop.");
  listen();
  server("response.output_item.added", { response_id: "reply 1", item: { id: "item 1" } });
  listen();
  assert.deepEqual(kinds(), ["response.cancel", TRUNCATE]);
});

test("a reply that the server began meanwhile is left, and ours asked for again", () => {
  call.write("One.");
  listen();
  const { event_id } = sent().at(-1);
  begin(1);
  refuse("conversation_already_has_active_response", { event_id });
  listen();
  assert.deepEqual(kinds(), ["response.cancel", TRUNCATE]);
  end(1);
  assert.deepEqual(kinds(), ["response.create"]);
  assert.deepEqual(told, []);
});

test("speech interrupts without a word, and what was heard is told", () => {
  begin(1);
  speak(1, 500);
  play(320);
  server("input_audio_buffer.speech_started", { item_id: "turn" });
  end(1);
  speak(1, 500);
  listen();
  assert.deepEqual(sent(), [truncation(1, 320)]);
  assert.equal(waiting(), 0);
  begin(2);
  speak(2, 500);
  assert.ok(waiting() > 0, "the next reply is heard");
});

test("what was heard to its end is not truncated", () => {
  begin(1);
  speak(1, 320);
  play(640);
  end(1, "completed");
  listen();
  call.write("Thanks.");
  listen();
  assert.deepEqual(kinds(), [CREATE, "response.create"]);
});

test("of a reply that has not begun to sound nothing was heard, whatever was before it", () => {
  begin(1);
  speak(1, 320);
  play(640);
  end(1, "completed");
  listen();
  begin(2);
  speak(2, 50); // less than the loudspeaker waits for
  play(320);
  server("input_audio_buffer.speech_started", { item_id: "turn" });
  listen();
  assert.deepEqual(sent(), [truncation(2, 0)]);
});

test("a reply that ended while it was being cancelled is no trouble", () => {
  refuse("response_cancel_not_active");
  assert.deepEqual(told, []);
});

test("a request that is refused is over", () => {
  call.write("One.");
  listen();
  const { event_id } = sent().at(-1);
  refuse("invalid_value", { event_id });
  assert.equal(call.isAnswering, false);
  assert.deepEqual(told, [{ message: "invalid_value" }]);
});

test("a voice is asked for by name, and none where there are none", () => {
  call.update({ instructions: "", eagerness: "auto", voice: "ben" });
  call.update({ instructions: "", eagerness: "auto", voice: "" });
  const [chosen, none] = sent().map(({ session }) => session.audio);
  assert.deepEqual(chosen.output, { voice: "ben" });
  assert.deepEqual(none.output, {});
  assert.equal(chosen.input.turn_detection.eagerness, "auto");
});
