// Plays what is answered, and knows how much of it was heard.
(function () {
  "use strict";
  const RATE = 24000;
  const SAMPLE_BYTES = 2;
  const LOUDEST = 32768;

  class Speaker {
    // `told({level, isPlaying, gaps})` while something is played or waits to be.
    constructor(address, told) {
      Object.assign(this, { address, told });
      this.asked = new Map(); // what waits for the answer of a `clear`
      this.clears = 0;
      this.given = 0; // pieces
    }

    async open() {
      this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
      await this.context.audioWorklet.addModule(this.address);
      this.node = new AudioWorkletNode(this.context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
      this.node.port.onmessage = ({ data }) => this.take(data);
      this.node.connect(this.context.destination);
      await this.context.resume();
    }

    take(data) {
      if (!data.cleared) {
        const isPlaying = data.isPlaying || data.taken < this.given; // the end of one answer is not that of the next
        this.told({ ...data, isPlaying });
        return;
      }
      const latencyMs = ((this.context.baseLatency || 0) + (this.context.outputLatency || 0)) * 1000;
      const heard = data.cut.map((one) => ({ ...one, ms: Math.max(0, Math.floor(one.ms - latencyMs)) }));
      this.asked.get(data.cleared)(heard);
      this.asked.delete(data.cleared);
    }

    // A piece of base64 of PCM16, little-endian; says whether there is any sound in it.
    play(base64, item, part) {
      const bytes = atob(base64);
      const view = new DataView(new ArrayBuffer(bytes.length));
      for (let at = 0; at < bytes.length; at++) view.setUint8(at, bytes.charCodeAt(at));
      const audio = new Float32Array(Math.floor(bytes.length / SAMPLE_BYTES));
      for (let at = 0; at < audio.length; at++) audio[at] = view.getInt16(at * SAMPLE_BYTES, true) / LOUDEST;
      if (!audio.length) return false;
      this.given++;
      this.node.port.postMessage({ audio, item, part }, [audio.buffer]);
      return true;
    }

    // No more comes for now.
    whole() {
      this.node.port.postMessage({ whole: true });
    }

    // Stop at once. Which answers were cut, and after how many milliseconds: [{item, part, ms}].
    stop() {
      const id = ++this.clears;
      return new Promise((resolve) => {
        this.asked.set(id, resolve);
        this.node.port.postMessage({ clear: id });
      });
    }

    close() {
      if (this.context && this.context.state !== "closed") this.context.close();
      for (const resolve of this.asked.values()) resolve([]);
      this.asked.clear();
    }
  }

  Object.assign(window.Voice, { Speaker });
})();
