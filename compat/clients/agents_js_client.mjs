// @openai/agents for JavaScript: a RealtimeSession over its WebSocket transport, in node.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from '@openai/agents/realtime';

const RATE = 24_000; // samples a second, both ways
const PIECE_MS = 20; // of audio sent at a time
const WAV_HEADER = 44; // bytes, as the runner writes it
const MS_TO_ANSWER = 30_000;
const COUNT = 'Count from one to ten.'; // takes nano six seconds to say
const MS_TO_SETTLE = 500; // for what a client does behind a reply
const PATIENCE_MS = 500; // that the user listens before speaking again

/** Send a recording as a microphone would, a piece whenever it is due. */
async function speak(session, pcm) {
  const size = (2 * RATE * PIECE_MS) / 1000;
  let due = Date.now();
  for (let start = 0; start < pcm.length; start += size) {
    session.sendAudio(new Uint8Array(pcm.subarray(start, start + size)).buffer);
    due += PIECE_MS;
    await sleep(Math.max(0, due - Date.now()));
  }
}

/** Return what is promised, or throw when it takes too long. */
function soon(promise, what) {
  const late = sleep(MS_TO_ANSWER, undefined, { ref: false }).then(() => {
    throw new Error(`nothing came of ${what}`);
  });
  return Promise.race([promise, late]);
}

/** What a session tells its user, put together to replies. */
class Ears {
  #replies = [];
  #waiting = [];
  #onSound = [];
  #reply = Ears.#silence();

  /** @param session Which is listened to. */
  constructor(session) {
    session.on('audio', (event) => {
      this.#reply.audio_seconds += event.data.byteLength / 2 / RATE;
      this.#onSound.splice(0).forEach((tell) => tell());
    });
    session.on('audio_interrupted', () => {
      this.#reply.interrupted = true;
    });
    session.on('agent_end', (_context, _agent, text) => this.#done(text));
    session.on('error', (error) => {
      process.stderr.write(`the session reports an error: ${JSON.stringify(error)}\n`);
    });
  }

  static #silence() {
    return { transcript: '', audio_seconds: 0, interrupted: false };
  }

  #done(text) {
    const seconds = Math.round(this.#reply.audio_seconds * 100) / 100;
    this.#replies.push({ ...this.#reply, transcript: text, audio_seconds: seconds });
    this.#reply = Ears.#silence();
    this.#waiting.splice(0).forEach((tell) => tell());
  }

  /** Wait until a reply is heard. */
  sound() {
    return soon(new Promise((resolve) => this.#onSound.push(resolve)), 'the sound');
  }

  /** Wait for the next reply, to its end. */
  async reply() {
    while (!this.#replies.length) {
      await soon(new Promise((resolve) => this.#waiting.push(resolve)), 'the reply');
    }
    return this.#replies.shift();
  }
}

/** Connect to a server. */
async function call(url) {
  const agent = new RealtimeAgent({ name: 'compat', instructions: '' });
  const transport = new OpenAIRealtimeWebSocket({ url });
  const session = new RealtimeSession(agent, { transport, model: 'nano' });
  const ears = new Ears(session);
  await session.connect({ apiKey: 'any' });
  return [session, ears];
}

/** Hold the conversations of the test and return what was noticed. */
async function converse(url, pcm) {
  const [first, firstEars] = await call(url);
  await speak(first, pcm);
  const voiceTurn = await firstEars.reply();
  first.close();
  // A conversation of its own, because nano is not one for long conversations.
  const [second, ears] = await call(url);
  const sounds = ears.sound();
  second.sendMessage(COUNT);
  await sounds;
  await sleep(PATIENCE_MS);
  await speak(second, pcm);
  const [bargeIn, answer] = [await ears.reply(), await ears.reply()];
  await sleep(MS_TO_SETTLE);
  const history = second.history.map((item) => item.role);
  second.close();
  return { voice_turn: voiceTurn, barge_in: { ...bargeIn, answer, history } };
}

const [url, recording] = process.argv.slice(2);
const report = await converse(url, readFileSync(recording).subarray(WAV_HEADER));
process.stdout.write(`${JSON.stringify(report)}\n`);
