// Sends a file: a small one with the call that transcribes it, a large one before it, in parts, so that a cut goes on
// where it was cut.
(function () {
  "use strict";
  const { Refused } = window.Playground;
  const OURS = "/api/voice/audio/"; // how addresses begin that take parts; a bucket's take the whole alone
  const PART_BYTES = 8 * 2 ** 20;
  const TRIES = 5;
  const PAUSE_MS = 1000; // before the second try, then twice as long each time
  const GONE_ON = 308; // a part is there
  const DONE = [200, 201];
  const TOO_SLOW = 408;
  const TYPES = { mp3: "audio/mpeg", m4a: "audio/mp4", mp4: "video/mp4", wav: "audio/wav", webm: "video/webm", ogg: "audio/ogg", opus: "audio/ogg", flac: "audio/flac", aac: "audio/aac", amr: "audio/amr", aiff: "audio/aiff", wma: "audio/x-ms-wma", mkv: "video/x-matroska", mov: "video/quicktime" };

  // The connection broke; what came is kept.
  class Cut extends Error {}

  // The media type of a file that has sound; empty for others.
  function typeOf(file) {
    const named = TYPES[file.name.split(".").pop().toLowerCase()] || "";
    return /^(audio|video)\//.test(file.type) ? file.type : named;
  }

  function put(address, headers, body, { progress, signal }) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("PUT", address);
      for (const [name, value] of Object.entries(headers)) if (name.toLowerCase() !== "content-length") request.setRequestHeader(name, value);
      request.upload.addEventListener("progress", (event) => progress(event.loaded));
      request.addEventListener("load", () => resolve(request));
      for (const name of ["error", "timeout"]) request.addEventListener(name, () => reject(new Cut()));
      request.addEventListener("abort", () => reject(signal.reason));
      signal.addEventListener("abort", () => request.abort(), { once: true });
      request.send(body);
    });
  }

  function refused(request) {
    try {
      return new Refused(JSON.parse(request.responseText).error.message);
    } catch (error) {
      return new Refused(`The file was refused with status ${request.status}.`);
    }
  }

  // `told({sent, isWaiting})` while it goes on.
  class Upload {
    constructor(session, file, told) {
      Object.assign(this, { session, file, told });
      this.sent = 0;
    }

    // The key of the file once it is there. Throws `Cut` where it may be begun again, `Refused` where not.
    async run(signal) {
      if (!this.ticket) {
        const asked = { filename: this.file.name, contentType: typeOf(this.file), size: this.file.size };
        this.ticket = await (await this.session.call("/api/voice/upload", asked, signal)).json();
      }
      const address = new URL(this.ticket.uploadUrl);
      this.isOurs = address.pathname.startsWith(OURS);
      this.address = this.isOurs ? address.pathname : address.href;
      for (let attempt = 1; ; attempt++) {
        const before = this.sent;
        try {
          await this.send(signal);
          return this.ticket.audioKey;
        } catch (error) {
          if (!(error instanceof Cut)) throw error;
          if (this.sent > before) attempt = 1;
          if (attempt >= TRIES) throw error;
          this.told({ sent: this.sent, isWaiting: true });
          await pause(PAUSE_MS * 2 ** (attempt - 1), signal);
        }
      }
    }

    async send(signal) {
      this.sent = this.isOurs && this.isBegun ? await this.there(signal) : 0;
      this.isBegun = true;
      while (this.sent < this.file.size) {
        const from = this.sent;
        const to = this.isOurs ? Math.min(from + PART_BYTES, this.file.size) : this.file.size;
        const range = this.isOurs ? { "Content-Range": `bytes ${from}-${to - 1}/${this.file.size}` } : {};
        const progress = (loaded) => this.told({ sent: from + loaded, isWaiting: false });
        const answer = await put(this.address, { ...this.ticket.headers, ...range }, this.file.slice(from, to), { progress, signal });
        if (answer.status >= 500 || answer.status === TOO_SLOW) throw new Cut();
        if (answer.status !== GONE_ON && !DONE.includes(answer.status)) throw refused(answer);
        this.sent = answer.status === GONE_ON ? Number(answer.getResponseHeader("upload-offset")) : this.file.size;
      }
    }

    // How much of it the server has.
    async there(signal) {
      let answer;
      try {
        answer = await fetch(this.address, { method: "HEAD", signal, credentials: "omit" });
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Cut();
      }
      if (answer.status >= 500) throw new Cut();
      if (!answer.ok) throw new Refused("The place for this file is gone. Choose it again.");
      return Number(answer.headers.get("upload-offset"));
    }
  }

  function pause(ms, signal) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, ms);
      addEventListener("online", resolve, { once: true });
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(signal.reason);
      }, { once: true });
    });
  }

  Object.assign(window.Voice, { Cut, Upload, typeOf });
})();
