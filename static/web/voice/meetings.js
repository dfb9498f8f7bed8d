// The list of meetings: a file is dropped or chosen, sent, and its meeting opened.
(function () {
  "use strict";
  const { Refused, Session, element } = window.Playground;
  const { Cut, Upload, typeOf } = window.Voice;
  const MEGA = 1e6;

  class Page {
    constructor(form) {
      this.form = form;
      this.session = new Session(form);
      this.listen();
      form.hidden = false;
    }

    get(id) {
      return document.getElementById(id);
    }

    listen() {
      const drop = this.get("drop");
      const over = (isOver) => drop.classList.toggle("drop--over", isOver);
      drop.addEventListener("dragover", (event) => {
        event.preventDefault();
        over(true);
      });
      drop.addEventListener("dragleave", () => over(false));
      drop.addEventListener("drop", (event) => {
        event.preventDefault();
        over(false);
        if (!event.dataTransfer.files.length || this.running) return;
        this.get("file").files = event.dataTransfer.files;
        this.chosen();
      });
      this.get("file").addEventListener("change", () => this.chosen());
      this.get("diarize").addEventListener("change", () => this.show());
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        if (!this.running) this.begin();
      });
      this.get("resume").addEventListener("click", () => this.run());
      this.get("stop").addEventListener("click", () => this.running && this.running.abort());
    }

    get file() {
      return this.get("file").files[0];
    }

    // A new file is nothing of the old one's.
    chosen() {
      this.upload = null;
      this.get("resume").hidden = true;
      this.clear();
      const { file } = this;
      if (file && !typeOf(file)) this.wrong(`${file.name} is no sound and no video.`);
    }

    begin() {
      this.clear();
      const { file } = this;
      if (!file) this.wrong("Choose a recording first.");
      else if (!typeOf(file)) this.wrong(`${file.name} is no sound and no video.`);
      else if (!file.size) this.wrong(`${file.name} is empty.`);
      else this.run();
    }

    async run() {
      this.clear();
      this.running = new AbortController();
      this.show();
      try {
        const { id } = await this.transcribe(this.file, this.running.signal);
        this.say("It is there. Opening the meeting.");
        location.assign(this.form.dataset.meeting.replace("job-x", id));
      } catch (error) {
        this.broke(error);
      }
      this.running = null;
      this.show();
    }

    async transcribe(file, signal) {
      const diarize = this.get("diarize").checked;
      const options = { language: this.get("language").value, diarize, speakers: diarize ? this.get("speakers").value : "", summarize: this.get("summarize").checked, async: true };
      let asked;
      this.progress({ sent: this.upload ? this.upload.sent : 0, isWaiting: false });
      if (file.size <= Number(this.form.dataset.directLimit)) {
        asked = new FormData();
        asked.set("audio", new File([file], file.name, { type: typeOf(file) }));
        for (const [name, value] of Object.entries(options)) asked.set(name, value);
      } else {
        this.upload = this.upload || new Upload(this.session, file, (how) => this.progress(how));
        asked = { ...options, audioKey: await this.upload.run(signal) };
      }
      return (await this.session.call("/api/voice/transcribe-meeting", asked, signal)).json();
    }

    progress({ sent, isWaiting }) {
      const { size, name } = this.file;
      const mega = (bytes) => (bytes / MEGA).toFixed(1);
      this.get("progress").value = (100 * sent) / size;
      const words = isWaiting ? "The connection broke; it goes on by itself." : `Sending ${name}: ${mega(sent)} of ${mega(size)} MB`;
      this.get("sending-what").textContent = words;
      if (isWaiting) this.say(words);
    }

    broke(error) {
      if (error.name === "AbortError") {
        this.upload = null;
        this.say("Stopped.");
      } else if (error instanceof Cut) {
        this.notice("warn", "The connection broke", "What was sent is kept. Go on when you are connected.");
        this.canResume = true;
      } else if (error instanceof Refused) {
        this.upload = null;
        this.notice("bad", "This is not possible", error.message);
      } else throw error;
    }

    show() {
      const runs = this.running !== null && this.running !== undefined;
      this.get("sending").hidden = !runs;
      this.get("stop").hidden = !runs;
      this.get("transcribe").hidden = runs;
      for (const id of ["file", "language", "diarize", "summarize"]) this.get(id).disabled = runs;
      this.get("speakers").disabled = runs || !this.get("diarize").checked;
      this.get("resume").hidden = runs || !this.canResume;
      if (runs) this.get("stop").focus();
      this.canResume = false;
    }

    wrong(message) {
      this.get("file-error").textContent = message;
      this.get("file-error").hidden = false;
      this.get("file").setAttribute("aria-invalid", "true");
      this.get("file").focus();
    }

    clear() {
      this.get("file-error").hidden = true;
      this.get("file").removeAttribute("aria-invalid");
      this.get("notices").replaceChildren();
    }

    say(text) {
      this.get("status").textContent = text;
    }

    notice(kind, title, text) {
      const notice = element("div", { className: `notice notice--${kind}` }, element("p", { className: "notice__title" }, title), element("p", {}, text));
      notice.setAttribute("role", "alert");
      this.get("notices").append(notice);
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const form = document.getElementById("send");
    if (form) new Page(form);
  });
})();
