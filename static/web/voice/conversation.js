// One conversation over a WebSocket, in the events of the Realtime API (GA): what comes is played, written down and
// counted; what goes is sound, texts, and that somebody was interrupted.
(function () {
  "use strict";
  const MOST_WAITING_BYTES = 512 * 1024; // of sound that the network does not take: some eight seconds
  const GOODBYE_MS = 1500; // for the cost of an answer that is cancelled by the end
  const NORMAL_CLOSURE = 1000;
  const WHO_SPEAKS = ["user", "assistant"];
  const UNWRITTEN = "(spoken, not written down)";
  const ASIDE = "aside_"; // events whose refusal means only that they came too late

  function base64(buffer) {
    return btoa(String.fromCharCode(...new Uint8Array(buffer)));
  }

  // `told`: functions `changed()`, `cost(event)`, `low(event)`, `trouble(message)`, `slow()`, `ended(how)`.
  class Conversation {
    constructor(ticket, speaker, captions, told) {
      Object.assign(this, { ticket, speaker, captions, told });
      this.isOpen = this.wasOpen = this.isHearing = this.isAwaited = this.isPlaying = this.isEnding = false;
      this.response = null; // that is being made
      this.silenced = new Set(); // responses of which nothing more is played
      this.unwritten = new Map(); // items that were spoken and have no words yet -> whether that was told
      this.errorSaid = "";
      this.sequence = 0;
      this.handlers = { ...this.handledOfSession(), ...this.handledOfSpeech(), ...this.handledOfAnswers() };
    }

    get state() {
      if (!this.isOpen) return "connecting";
      if (this.isHearing) return "hearing";
      if (this.isPlaying) return "speaking";
      return this.response || this.isAwaited ? "thinking" : "listening";
    }

    open(isPushed) {
      this.socket = new WebSocket(this.ticket.url);
      this.socket.addEventListener("message", ({ data }) => this.take(JSON.parse(data)));
      this.socket.addEventListener("close", ({ code, reason }) => this.closed(code, reason));
      this.isPushed = isPushed;
    }

    // Push to talk, or voice activity; before or after the beginning.
    push(isPushed) {
      this.isPushed = isPushed;
      if (this.isOpen) this.configure();
    }

    // Everything else is as the ticket has it: the session began with that.
    configure() {
      const { turn_detection } = this.ticket.sessionConfig.audio.input;
      this.send({ type: "session.update", session: { type: "realtime", audio: { input: { turn_detection: this.isPushed ? null : turn_detection } } } });
    }

    // what goes

    send(event) {
      if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
    }

    hear(pcm) {
      if (!this.isOpen || this.isEnding) return;
      if (this.socket.bufferedAmount > MOST_WAITING_BYTES) this.told.slow();
      else this.send({ type: "input_audio_buffer.append", audio: base64(pcm) });
    }

    // What was said while the button was held; too short a moment holds nothing.
    commit(hasSound) {
      if (!hasSound) {
        this.send({ type: "input_audio_buffer.clear" });
        return;
      }
      this.isAwaited = true;
      this.send({ type: "input_audio_buffer.commit" });
      this.send({ type: "response.create" });
      this.told.changed();
    }

    async say(text) {
      await this.interrupt();
      const item = { id: `item_typed_${++this.sequence}`, type: "message", role: "user", content: [{ type: "input_text", text }] };
      this.captions.set(item.id, "user", text);
      this.isAwaited = true;
      this.send({ type: "conversation.item.create", item });
      this.send({ type: "response.create" });
      this.told.changed();
    }

    // Stop the answer: nothing more of it is made, and the model learns what was heard of it.
    async interrupt() {
      if (this.response && !this.silenced.has(this.response)) this.send({ type: "response.cancel", event_id: this.aside(), response_id: this.response });
      await this.silence();
    }

    async silence() {
      if (this.response) this.silenced.add(this.response);
      const wasPlaying = this.isPlaying;
      const cut = await this.speaker.stop();
      this.isPlaying = false;
      for (const { item, part, ms } of cut) {
        this.send({ type: "conversation.item.truncate", event_id: this.aside(), item_id: item, content_index: part, audio_end_ms: ms });
        this.captions.mark(item, `interrupted after ${(ms / 1000).toFixed(1)} s`);
      }
      if (wasPlaying) this.told.changed();
    }

    aside() {
      return `${ASIDE}${++this.sequence}`;
    }

    async end() {
      if (this.isEnding) return;
      this.isEnding = true;
      if (this.isOpen && this.response) {
        const done = new Promise((resolve) => (this.goodbye = resolve));
        await this.interrupt();
        await Promise.race([done, new Promise((resolve) => setTimeout(resolve, GOODBYE_MS))]);
      }
      this.socket.close(NORMAL_CLOSURE);
    }

    // what comes

    take(event) {
      const handler = this.handlers[event.type];
      if (handler) handler(event);
    }

    closed(code, reason) {
      this.isOpen = false;
      this.response = null;
      this.told.ended({ code, reason, wasOpen: this.wasOpen, error: this.errorSaid });
    }

    played({ isPlaying }) {
      if (isPlaying === this.isPlaying) return;
      this.isPlaying = isPlaying;
      this.told.changed();
    }

    handledOfSession() {
      return {
        "session.created": () => this.configure(),
        "session.updated": () => this.begun(),
        error: ({ error }) => {
          if (String(error.event_id || "").startsWith(ASIDE)) return;
          this.errorSaid = error.message;
          if (this.isOpen) this.told.trouble(error.message);
          else this.socket.close(NORMAL_CLOSURE); // what was asked for is refused, so nothing begins
        },
        "x_komilion.cost": (event) => {
          this.told.cost(event);
          if (this.goodbye && !this.response) this.goodbye();
        },
        "x_komilion.low_balance": (event) => this.told.low(event),
      };
    }

    begun() {
      if (this.isOpen) return;
      this.isOpen = this.wasOpen = true;
      this.told.changed();
    }

    handledOfSpeech() {
      const { captions } = this;
      const written = "conversation.item.input_audio_transcription";
      return {
        "input_audio_buffer.speech_started": () => {
          this.isHearing = true;
          this.isAwaited = false;
          this.silence();
          this.told.changed();
        },
        "input_audio_buffer.speech_stopped": () => {
          this.isHearing = false;
          this.isAwaited = true;
          this.told.changed();
        },
        "input_audio_buffer.cleared": () => {
          this.isAwaited = false;
          this.told.changed();
        },
        "input_audio_buffer.committed": ({ item_id }) => this.unwritten.set(item_id, false),
        [`${written}.delta`]: ({ item_id, delta }) => {
          if (this.unwritten.delete(item_id)) captions.set(item_id, "user", ""); // late: something else stood there
          captions.add(item_id, "user", delta || "");
        },
        [`${written}.completed`]: ({ item_id, transcript }) => {
          this.unwritten.delete(item_id);
          if (transcript.trim()) captions.set(item_id, "user", transcript.trim());
          else captions.remove(item_id);
        },
        [`${written}.failed`]: ({ item_id }) => {
          this.unwritten.delete(item_id);
          captions.set(item_id, "user", UNWRITTEN);
        },
      };
    }

    handledOfAnswers() {
      const { captions } = this;
      const words = ({ item_id, delta }) => captions.add(item_id, "assistant", delta);
      return {
        "conversation.item.added": ({ item, previous_item_id }) => {
          if (item.type === "message" && WHO_SPEAKS.includes(item.role)) captions.line(item.id, item.role, previous_item_id);
        },
        "response.created": ({ response }) => {
          this.response = response.id;
          this.isAwaited = false;
          this.errorSaid = "";
          this.told.changed();
        },
        "response.output_audio.delta": ({ response_id, item_id, content_index, delta }) => {
          if (this.silenced.has(response_id)) return;
          if (this.speaker.play(delta, item_id, content_index)) this.played({ isPlaying: true }); // it may be over before it is heard
        },
        "response.output_audio.done": () => this.speaker.whole(),
        "response.output_audio_transcript.delta": words,
        "response.output_text.delta": words,
        "response.done": ({ response }) => this.done(response),
      };
    }

    // What was answered and has no words will hardly get any; should they come all the same, they take the place.
    tellUnwritten() {
      for (const [item, isTold] of this.unwritten) {
        if (!isTold) this.captions.set(item, "user", UNWRITTEN);
        this.unwritten.set(item, true);
      }
    }

    done(response) {
      if (this.response === response.id) this.response = null;
      this.speaker.whole();
      if (response.status !== "cancelled") this.tellUnwritten();
      if (response.status === "failed") {
        const { error } = response.status_details || {};
        this.told.trouble((error && error.message) || "This answer failed. Say it again.");
      }
      if (response.status === "incomplete") {
        for (const item of response.output || []) this.captions.mark(item.id, "cut off: it had reached its longest");
      }
      this.told.changed();
    }
  }

  Object.assign(window.Voice, { Conversation });
})();
