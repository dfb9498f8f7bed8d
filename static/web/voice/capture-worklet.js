// In the audio's own thread: what the microphone hears becomes frames of PCM16, mono, at 24 kHz.
"use strict";
const RATE = 24000;
const FRAME_SAMPLES = 960; // 40 ms
const ZERO_CROSSINGS = 8; // of the filter on each side
const STEPS = 256; // of the filter's table between two samples
const PASSED = 0.92; // of what the lower rate can carry

// From any rate to another: each sample is a sum over its neighbours, weighted by a sinc under a Hann window.
class Resampler {
  constructor(from, to) {
    this.step = from / to;
    const wide = Math.max(1, this.step);
    this.half = Math.ceil(ZERO_CROSSINGS * wide);
    this.weights = new Float32Array(this.half * STEPS + 2);
    const cutoff = PASSED / wide;
    for (let at = 0; at < this.weights.length; at++) {
      const distance = at / STEPS;
      const x = Math.PI * cutoff * distance;
      const window = distance < this.half ? 0.5 + 0.5 * Math.cos((Math.PI * distance) / this.half) : 0;
      this.weights[at] = cutoff * (x === 0 ? 1 : Math.sin(x) / x) * window;
    }
    this.input = new Float32Array(4 * this.half + 1024);
    this.length = this.half; // silence before the first sample
    this.position = this.half;
  }

  push(block, take) {
    if (this.length + block.length > this.input.length) {
      const larger = new Float32Array(2 * (this.length + block.length));
      larger.set(this.input.subarray(0, this.length));
      this.input = larger;
    }
    this.input.set(block, this.length);
    this.length += block.length;
    for (; this.position + this.half < this.length; this.position += this.step) take(this.at(this.position));
    const used = Math.floor(this.position) - this.half;
    if (used > 0) {
      this.input.copyWithin(0, used, this.length);
      this.length -= used;
      this.position -= used;
    }
  }

  at(position) {
    let sum = 0;
    const last = Math.floor(position + this.half);
    for (let index = Math.ceil(position - this.half); index <= last; index++) {
      sum += this.input[index] * this.weights[Math.round(Math.abs(position - index) * STEPS)];
    }
    return sum;
  }
}

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE);
    this.begin();
  }

  begin() {
    this.frame = new Int16Array(FRAME_SAMPLES);
    this.filled = 0;
    this.energy = 0;
  }

  process([input]) {
    if (input.length) this.resampler.push(mixed(input), (sample) => this.take(sample));
    return true;
  }

  take(sample) {
    const bounded = Math.max(-1, Math.min(1, sample));
    this.frame[this.filled++] = Math.round(bounded * 32767);
    this.energy += bounded * bounded;
    if (this.filled < FRAME_SAMPLES) return;
    this.port.postMessage({ pcm: this.frame.buffer, level: Math.sqrt(this.energy / FRAME_SAMPLES) }, [this.frame.buffer]);
    this.begin();
  }
}

function mixed(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, at) => channels.reduce((sum, channel) => sum + channel[at], 0) / channels.length);
}

registerProcessor("capture", Capture);
