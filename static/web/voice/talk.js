// The page: settings, the buttons, and what goes on, in words, figures and captions.
(function () {
  "use strict";
  const { Refused, Session, dollars, element } = window.Playground;
  const { Captions, Conversation, Levels, Microphone, NotHeard, Speaker, clock, endingWords } = window.Voice;
  const STATES = {
    ready: ["Ready", ""],
    connecting: ["Connecting", "info"],
    listening: ["Listening", "good"],
    hearing: ["Hearing you", "good"],
    thinking: ["Thinking", "info"],
    speaking: ["Speaking", "info"],
    muted: ["Muted", "warn"],
  };
  const EVERY_MS = 500; // of the clock
  const LAST_S = 60; // before the longest conversation ends, in which that is told
  const LEAST_FRAMES = 5; // of 40 ms: what is shorter holds no word
  const PRESS_KEYS = [" ", "Enter"];
  const WALLET = "/dashboard/wallet";
  const NANO = 1e9;

  // An amount as people read it: so many digits from the first that is not zero, and no less than cents.
  function rounded(nano, digits) {
    return dollars(Math.abs(nano) < NANO ? Number(nano.toPrecision(digits)) : nano);
  }

  class Page {
    constructor(form) {
      this.form = form;
      this.fields = form.elements;
      this.session = new Session(form);
      this.captions = new Captions(this.get("captions"), this.get("captions-empty"));
      this.levels = { heard: new Levels(this.get("level-in")), said: new Levels(this.get("level-out")) };
      this.talk = this.microphone = this.speaker = null;
      this.isMuted = this.isHeld = false;
      this.asked = 0;
      this.listen();
      form.hidden = false;
      this.show();
      this.estimate();
    }

    get(id) {
      return document.getElementById(id);
    }

    get policy() {
      return this.fields.policy.value;
    }

    get mayTalk() {
      return Boolean(this.form.dataset.mayTalk);
    }

    listen() {
      const pressed = { start: () => this.start(true), "start-typing": () => this.start(false), mute: () => this.mute(), interrupt: () => this.talk.interrupt(), end: () => this.talk.end() };
      for (const [id, act] of Object.entries(pressed)) this.get(id).addEventListener("click", act);
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        this.say();
      });
      this.get("policies").addEventListener("change", () => this.estimate());
      this.get("push").addEventListener("change", () => this.push());
      this.listenToHold(this.get("hold"));
      addEventListener("pagehide", () => this.talk && this.talk.socket.close());
    }

    // Held by a pointer or a key; a screen reader's click begins it, and the next one ends it.
    listenToHold(button) {
      button.addEventListener("pointerdown", (event) => {
        button.setPointerCapture(event.pointerId);
        this.hold(true);
      });
      for (const name of ["pointerup", "pointercancel", "blur"]) button.addEventListener(name, () => this.hold(false));
      button.addEventListener("keydown", (event) => {
        if (!PRESS_KEYS.includes(event.key)) return;
        event.preventDefault();
        if (!event.repeat) this.hold(true);
      });
      button.addEventListener("keyup", (event) => PRESS_KEYS.includes(event.key) && this.hold(false));
      button.addEventListener("click", (event) => event.detail === 0 && this.hold(!this.isHeld));
      button.addEventListener("contextmenu", (event) => event.preventDefault());
    }

    // before

    async ticket() {
      const asked = { policy: this.policy, voice: this.fields.voice.value, instructions: this.fields.instructions.value.trim() || undefined };
      return (await this.session.call("/api/voice/realtime", asked)).json();
    }

    // What a minute costs, told before anything does. Opening the page begins nothing: a ticket costs nothing.
    async estimate() {
      if (!this.mayTalk || this.talk) return;
      const mine = ++this.asked;
      try {
        const ticket = await this.ticket();
        if (mine === this.asked) this.showTicket(ticket);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (mine !== this.asked) return;
        this.get("estimate").textContent = this.get("model").textContent = "-";
        this.refused(error);
      }
    }

    showTicket({ estimatedCostPerMinute, model }) {
      this.clearNotices();
      const nano = Math.round(Number(estimatedCostPerMinute) * NANO);
      this.get("estimate").textContent = nano ? `about ${rounded(nano, 2)} a minute` : "free";
      this.get("model").textContent = model;
    }

    refused(error) {
      this.clearNotices();
      const isPoor = ["insufficient_balance", "key_cap_reached"].includes(error.reason);
      this.notice("bad", isPoor ? "The wallet does not cover it" : "This is not possible now", error.message, isPoor);
    }

    async start(isHeard) {
      this.clearNotices();
      this.captions.clear();
      this.asked++;
      this.isBusy = true;
      this.show();
      try {
        if (isHeard) await this.openMicrophone();
        await this.openSpeaker();
        const ticket = await this.ticket();
        this.showTicket(ticket);
        this.begin(ticket);
        this.show();
        this.get(this.microphone && this.talk.isPushed ? "hold" : "end").focus(); // the pressed button is gone
      } catch (error) {
        this.letGo();
        if (error instanceof NotHeard) this.notice("bad", ...error.words);
        else if (error instanceof Refused) this.refused(error);
        else throw error;
      } finally {
        this.isBusy = false;
        this.show();
      }
    }

    async openMicrophone() {
      this.microphone = new Microphone(this.form.dataset.capture, (frame) => this.hear(frame), (words) => this.notice("warn", ...words));
      await this.microphone.open();
    }

    async openSpeaker() {
      this.speaker = new Speaker(this.form.dataset.playback, (said) => {
        this.levels.said.take(said.level);
        this.form.dataset.gaps = said.gaps;
        if (this.talk) this.talk.played(said);
      });
      await this.speaker.open();
    }

    begin(ticket) {
      this.talk = new Conversation(ticket, this.speaker, this.captions, {
        changed: () => this.changed(),
        cost: (event) => this.showCost(event),
        low: (event) => this.notice("warn", "The wallet is nearly empty", `${rounded(event.balance_nano_usd, 3)} is left. The conversation ends when it is spent.`, true),
        trouble: (message) => this.notice("warn", "This did not work", message),
        slow: () => this.slow(),
        ended: (how) => this.ended(how),
      });
      this.maxSeconds = ticket.maxSeconds;
      this.startedAt = null;
      this.get("spent").textContent = "$0.00";
      this.talk.open(this.get("push").checked);
      this.ticking = setInterval(() => this.tick(), EVERY_MS);
    }

    // while it goes on

    hear({ pcm, level }) {
      const isSent = this.talk && !this.isMuted && (!this.talk.isPushed || this.isHeld);
      this.levels.heard.take(isSent ? level : 0);
      if (this.talk && (!this.talk.isPushed || this.isHeld)) {
        this.frames++;
        this.talk.hear(pcm);
      }
    }

    changed() {
      if (this.talk.isOpen && this.startedAt === null) {
        this.startedAt = performance.now();
        this.status(this.microphone ? "Connected. You are heard now." : "Connected. Write what you want to say.");
        this.show();
        if (!this.microphone) this.fields.text.focus();
      }
      this.show();
    }

    mute() {
      this.isMuted = !this.isMuted;
      this.microphone.mute(this.isMuted);
      this.status(this.isMuted ? "Muted." : "You are heard again.");
      this.show();
    }

    async hold(isHeld) {
      if (!this.talk || !this.talk.isOpen || isHeld === this.isHeld) return;
      this.isHeld = isHeld;
      this.show();
      if (isHeld) {
        this.frames = 0;
        await this.talk.interrupt();
      } else this.talk.commit(this.frames >= LEAST_FRAMES);
    }

    push() {
      if (!this.talk) return;
      this.isHeld = false;
      this.talk.push(this.get("push").checked);
      this.show();
    }

    async say() {
      const text = this.fields.text.value.trim();
      if (!text || !this.talk || !this.talk.isOpen) return;
      this.fields.text.value = "";
      await this.talk.say(text);
    }

    tick() {
      if (this.startedAt === null) return;
      const seconds = (performance.now() - this.startedAt) / 1000;
      this.get("clock").textContent = clock(seconds);
      if (this.maxSeconds - seconds > LAST_S || this.isLast) return;
      this.isLast = true;
      this.notice("info", "The last minute", `A conversation lasts ${clock(this.maxSeconds)} at most; you can start another one after it.`);
    }

    slow() {
      if (this.isSlow) return;
      this.isSlow = true;
      this.notice("warn", "The network is slow", "Some of what you say does not get through. Writing still does.");
    }

    showCost({ session_cost_nano_usd, balance_nano_usd }) {
      this.get("spent").textContent = rounded(session_cost_nano_usd, 3);
      this.get("balance").textContent = rounded(balance_nano_usd, 3);
    }

    // after

    ended(how) {
      this.letGo();
      const [kind, title, text] = endingWords(how);
      this.notice(kind, title, text, how.reason === "insufficient_balance");
      this.status(`${title}. ${text}`);
      this.show();
      this.get("start").focus();
    }

    letGo() {
      clearInterval(this.ticking);
      for (const part of [this.microphone, this.speaker]) if (part) part.close();
      this.talk = this.microphone = this.speaker = null;
      this.isMuted = this.isHeld = this.isSlow = this.isLast = false;
      for (const level of Object.values(this.levels)) level.rest();
    }

    // what is seen

    get state() {
      if (this.isBusy) return "connecting";
      if (!this.talk) return "ready";
      const { state } = this.talk;
      return state === "listening" && (this.isMuted || (this.talk.isPushed && !this.isHeld)) ? "muted" : state;
    }

    show() {
      const state = this.talk && this.talk.isPushed && this.state === "muted" && !this.isMuted ? ["Hold to talk", ""] : STATES[this.state];
      this.get("state").textContent = state[0];
      this.get("state").className = `badge${state[1] ? ` badge--${state[1]}` : ""}`;
      const runs = Boolean(this.talk) || Boolean(this.isBusy);
      const isOpen = Boolean(this.talk && this.talk.isOpen);
      const isHeard = Boolean(this.talk && this.microphone);
      for (const id of ["start", "start-typing"]) this.get(id).hidden = runs;
      this.get("end").hidden = !this.talk;
      this.get("mute").hidden = !isHeard || this.talk.isPushed;
      this.get("hold").hidden = !isHeard || !this.talk.isPushed;
      this.get("interrupt").hidden = !isOpen || !["speaking", "thinking"].includes(this.state);
      for (const id of ["text", "send"]) this.get(id).disabled = !isOpen;
      for (const field of [this.get("policies"), this.fields.voice, this.fields.instructions]) field.disabled = runs;
      this.get("mute").textContent = this.isMuted ? "Unmute" : "Mute"; // a word that changes, so no state beside it
      this.pressed("hold", this.isHeld, this.isHeld ? "You are heard" : "Hold to talk");
    }

    pressed(id, isPressed, text) {
      this.get(id).setAttribute("aria-pressed", isPressed);
      this.get(id).textContent = text;
    }

    status(text) {
      this.get("status").textContent = text;
    }

    clearNotices() {
      this.get("notices").replaceChildren();
    }

    notice(kind, title, text, hasWallet = false) {
      const more = hasWallet ? [element("p", {}, element("a", { href: WALLET }, "Open the wallet"))] : [];
      const notice = element("div", { className: `notice notice--${kind}` }, element("p", { className: "notice__title" }, title), element("p", {}, text), ...more);
      if (kind === "bad") notice.setAttribute("role", "alert");
      this.get("notices").append(notice);
    }
  }

  document.addEventListener("DOMContentLoaded", () => new Page(document.getElementById("talk")));
})();
