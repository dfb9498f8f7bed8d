// The microphone: asked for, captured in the audio's thread, given on as frames of PCM16 at 24 kHz.
(function () {
  "use strict";
  const { insecureWords, lostWords, microphoneWords } = window.Voice;
  const WANTED = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };

  // `words`: title and text, for people.
  class NotHeard extends Error {
    constructor(words) {
      super(words.join(". "));
      this.words = words;
    }
  }

  class Microphone {
    // `frame({pcm, level})` for every 40 ms; `lost(words)` where it is unplugged.
    constructor(address, frame, lost) {
      Object.assign(this, { address, frame, lost });
    }

    // Throws `NotHeard`.
    async open() {
      if (!window.isSecureContext || !navigator.mediaDevices || !window.AudioWorkletNode) throw new NotHeard(insecureWords);
      try {
        this.stream = await navigator.mediaDevices.getUserMedia({ audio: WANTED });
        this.context = new AudioContext({ latencyHint: "interactive" });
        await this.context.audioWorklet.addModule(this.address);
      } catch (error) {
        this.close();
        throw new NotHeard(microphoneWords(error));
      }
      const [track] = this.stream.getAudioTracks();
      track.addEventListener("ended", () => this.lost(lostWords));
      const node = new AudioWorkletNode(this.context, "capture", { numberOfOutputs: 0 });
      node.port.onmessage = ({ data }) => this.frame(data);
      this.context.createMediaStreamSource(this.stream).connect(node);
      await this.context.resume();
    }

    // A muted microphone goes on as silence, so the other side notices that a sentence is over.
    mute(isMuted) {
      if (this.stream) for (const track of this.stream.getAudioTracks()) track.enabled = !isMuted;
    }

    close() {
      if (this.stream) for (const track of this.stream.getTracks()) track.stop();
      if (this.context && this.context.state !== "closed") this.context.close();
      this.stream = this.context = null;
    }
  }

  Object.assign(window.Voice, { Microphone, NotHeard });
})();
