// In the audio's own thread: pieces of an answer are played one after the other without a gap, and it is known to the
// sample what was heard. The context runs at the rate of the pieces.
//
// In:  {audio: Float32Array, item, part}   a piece; `item` and `part` say which answer it belongs to
//      {whole: true}                       no more comes for now, so nothing is waited for
//      {clear: id}                         stop at once; answered by {cleared: id, cut: [{item, part, ms}]}
// Out: {level, isPlaying, gaps, taken}     about every 40 ms while there is something to say; `isPlaying` also while a
//                                          piece waits, `taken` is the number of pieces that have come so far
"use strict";
const AHEAD_S = 0.12; // that are there before an answer begins, or goes on after a gap
const FADE_S = 0.005; // so that stopping makes no click; fits into one block of 128 samples
const SAY_EVERY_S = 0.04;

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.pieces = [];
    this.waiting = 0; // samples
    this.taken = 0; // pieces
    this.heard = new Map(); // {part, samples} of each item that is not over
    this.isFilling = true;
    this.isWhole = false;
    this.gaps = 0;
    this.fading = null;
    this.energy = 0;
    this.counted = 0;
    this.wasPlaying = false; // there is an end to be told
    this.port.onmessage = ({ data }) => this.told(data);
  }

  told(data) {
    if (data.audio) {
      this.pieces.push({ audio: data.audio, at: 0, item: data.item });
      if (!this.heard.has(data.item)) this.heard.set(data.item, { part: data.part, samples: 0 });
      this.waiting += data.audio.length;
      this.taken++;
      this.wasPlaying = true;
      this.isWhole = false;
    }
    if (data.whole) this.whole();
    if (data.clear) this.clear(data.clear);
  }

  // Where everything was played before, nothing is left that could be cut.
  whole() {
    this.isWhole = true;
    if (!this.waiting) this.heard.clear();
  }

  clear(id) {
    const ms = (samples) => Math.floor((samples * 1000) / sampleRate);
    const cut = [...this.heard].map(([item, { part, samples }]) => ({ item, part, ms: ms(samples) }));
    this.fading = this.isFilling ? null : this.next(Math.round(FADE_S * sampleRate));
    this.pieces = [];
    this.waiting = 0;
    this.heard.clear();
    this.isFilling = true;
    this.port.postMessage({ cleared: id, cut });
  }

  process(_, [[output]]) {
    if (this.fading) this.fade(output);
    else if (this.isReady()) this.play(output);
    this.say(output);
    return true;
  }

  isReady() {
    if (this.isFilling && this.waiting && (this.isWhole || this.waiting >= AHEAD_S * sampleRate)) this.isFilling = false;
    return !this.isFilling;
  }

  play(output) {
    const played = this.next(output.length);
    output.set(played);
    if (this.waiting) return;
    this.isFilling = true;
    if (this.isWhole) this.heard.clear();
    else this.gaps++;
  }

  // So many samples of what waits, or what there is.
  next(count) {
    const taken = new Float32Array(Math.min(count, this.waiting));
    for (let filled = 0; filled < taken.length; ) {
      const piece = this.pieces[0];
      const part = piece.audio.subarray(piece.at, piece.at + taken.length - filled);
      taken.set(part, filled);
      filled += part.length;
      piece.at += part.length;
      this.heard.get(piece.item).samples += part.length;
      if (piece.at === piece.audio.length) this.over(this.pieces.shift().item);
    }
    this.waiting -= taken.length;
    return taken;
  }

  // A piece was played: what came before the one that follows will not be cut any more.
  over(item) {
    if (this.pieces.length && this.pieces[0].item !== item) this.heard.delete(item);
  }

  fade(output) {
    this.fading.forEach((sample, at) => (output[at] = sample * (1 - (at + 1) / this.fading.length)));
    this.fading = null;
  }

  say(output) {
    for (const sample of output) this.energy += sample * sample;
    this.counted += output.length;
    if (this.counted < SAY_EVERY_S * sampleRate) return;
    const isPlaying = !this.isFilling || this.waiting > 0;
    const level = Math.sqrt(this.energy / this.counted);
    if (isPlaying || this.wasPlaying) this.port.postMessage({ level, isPlaying, gaps: this.gaps, taken: this.taken });
    this.wasPlaying = isPlaying;
    this.energy = this.counted = 0;
  }
}

registerProcessor("playback", Playback);
