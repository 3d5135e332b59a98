// Sound in and out of the page, on the audio thread.
//
// The wire has 24,000 samples per second. A browser that cannot run its audio at that rate
// (Firefox with some microphones) gets a resampler with a proper low-pass on both sides.

const WIRE_RATE = 24_000;
const PIECE = 480; // samples of one message from the microphone: 20 ms

/** Changes the rate of a stream of samples by a windowed sinc. */
class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.cutoff = Math.min(1, to / from);
    this.reach = Math.ceil(16 / this.cutoff); // samples to each side
    this.past = new Float32Array(2 * this.reach);
    this.place = this.reach; // of the next output, in samples of `past`
  }

  /** Return what more samples make certain. */
  push(samples) {
    if (this.step === 1) return samples;
    const all = new Float32Array(this.past.length + samples.length);
    all.set(this.past);
    all.set(samples, this.past.length);
    const out = [];
    while (this.place + this.reach < all.length) {
      out.push(this.at(all, this.place));
      this.place += this.step;
    }
    const used = Math.max(0, Math.floor(this.place) - this.reach);
    this.past = all.slice(used);
    this.place -= used;
    return Float32Array.from(out);
  }

  at(all, place) {
    const middle = Math.floor(place);
    let sum = 0;
    for (let n = middle - this.reach + 1; n <= middle + this.reach; n++) {
      const distance = place - n;
      const x = Math.PI * distance * this.cutoff;
      const sinc = x === 0 ? 1 : Math.sin(x) / x;
      const window = 0.5 + 0.5 * Math.cos((Math.PI * distance) / this.reach);
      sum += (all[n] ?? 0) * sinc * window;
    }
    return sum * this.cutoff;
  }
}

function loudest(samples) {
  let most = 0;
  for (const value of samples) most = Math.max(most, Math.abs(value));
  return most;
}

/** Posts the microphone as pieces of 16-bit PCM. */
class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, WIRE_RATE);
    this.piece = new Int16Array(PIECE);
    this.filled = 0;
  }

  process(inputs) {
    const channel = inputs[0]?.[0];
    if (!channel) return true;
    for (const value of this.resampler.push(channel)) {
      this.piece[this.filled++] = Math.round(Math.max(-1, Math.min(1, value)) * 32_767);
      if (this.filled === PIECE) this.flush();
    }
    return true;
  }

  flush() {
    const level = loudest(this.piece) / 32_768;
    this.port.postMessage({ pcm: this.piece.buffer, level }, [this.piece.buffer]);
    this.piece = new Int16Array(PIECE);
    this.filled = 0;
  }
}

/** Plays what is posted, without a gap if it comes in time; counts the gaps if not. */
class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = []; // of {item, samples, done}
    this.resampler = new Resampler(WIRE_RATE, sampleRate);
    this.lead = 0.1 * sampleRate; // samples to have before a reply is begun
    this.playing = false;
    this.ended = true; // nothing more is to come of this reply
    this.gain = 1;
    this.wanted = 1;
    this.underruns = 0;
    this.item = null;
    this.played = 0; // samples of `item`
    this.frames = 0;
    this.peak = 0;
    this.port.onmessage = ({ data }) => this[data.do](data);
  }

  begin() {
    this.ended = false;
  }

  push({ item, pcm }) {
    const samples = this.resampler.push(Float32Array.from(new Int16Array(pcm), (v) => v / 32_768));
    this.queue.push({ item, samples, done: 0 });
  }

  end() {
    this.ended = true;
    if (!this.queue.length) this.starve();
  }

  /** Drop what has not sounded and say how much of an item has. */
  clear({ item }) {
    const ms = item === this.item ? this.ms() : 0; // it may not have begun to sound
    this.port.postMessage({ cleared: true, item, ms, dropped: this.queued() });
    this.queue = [];
    this.playing = false;
    this.ended = true;
    this.wanted = this.gain = 1;
  }

  duck({ gain }) {
    this.wanted = gain;
  }

  queued() {
    return this.queue.reduce((sum, part) => sum + part.samples.length - part.done, 0);
  }

  ms() {
    return (1_000 * this.played) / sampleRate;
  }

  process(inputs, outputs) {
    const out = outputs[0][0];
    if (!this.playing && this.queue.length) {
      this.playing = this.ended || this.queued() >= this.lead;
    }
    if (this.playing) this.fill(out);
    this.peak = Math.max(this.peak, loudest(out));
    this.frames += out.length;
    if (this.frames > sampleRate / 20) this.report();
    return true;
  }

  fill(out) {
    for (let n = 0; n < out.length; n++) {
      const part = this.queue[0];
      if (!part) {
        this.starve();
        return;
      }
      if (part.item !== this.item) {
        this.item = part.item;
        this.played = 0;
      }
      this.gain += (this.wanted - this.gain) * 0.002; // in about 20 ms, without a click
      out[n] = part.samples[part.done++] * this.gain;
      this.played++;
      if (part.done >= part.samples.length) this.queue.shift();
    }
  }

  starve() {
    this.playing = false;
    if (this.ended) {
      this.port.postMessage({ finished: this.item });
      return;
    }
    this.underruns++;
    this.lead = Math.min(0.4 * sampleRate, this.lead + 0.04 * sampleRate);
  }

  report() {
    this.port.postMessage({
      item: this.item,
      ms: this.ms(),
      queuedMs: (1_000 * this.queued()) / sampleRate,
      underruns: this.underruns,
      level: this.peak,
      playing: this.playing,
    });
    this.frames = 0;
    this.peak = 0;
  }
}

registerProcessor("capture", Capture);
registerProcessor("playback", Playback);
