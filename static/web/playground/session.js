// Asking this server: the pages with the session's form token, the gateway with a session token, which is fetched when
// it is needed and anew when it is over.
(function () {
  "use strict";
  const TITLE = "Playground"; // of the application in the usage log, where the form's data-title names no other
  const RENEW_BEFORE_MS = 60000;

  // What a server or the way to it refused; `message` is for people, `reason` the API's word for it where it has one.
  class Refused extends Error {}

  async function refusal(response) {
    if (response.redirected || response.status === 403 && !/json/.test(response.headers.get("content-type") || "")) {
      return new Refused("You are not logged in any more. Open this page anew.");
    }
    try {
      const { error } = await response.json();
      return Object.assign(new Refused(error.message), { reason: error.reason });
    } catch (error) {
      return new Refused(`The server answered with status ${response.status}. Try again in a moment.`);
    }
  }

  async function send(address, options) {
    try {
      return await fetch(address, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused("The server cannot be reached. Try again in a moment.");
    }
  }

  class Session {
    constructor(form) {
      this.form = form;
      this.token = "";
      this.untilMs = 0;
    }

    // A POST of our own pages, as the form that stands there would send it.
    async post(address, fields) {
      const body = new FormData();
      for (const name of ["csrfmiddlewaretoken", "in_organization"]) body.set(name, this.form.elements[name].value);
      for (const [name, value] of Object.entries(fields)) body.set(name, value);
      const response = await send(address, { method: "POST", body, credentials: "same-origin", headers: { accept: "application/json" } });
      if (!response.ok || !/json/.test(response.headers.get("content-type") || "")) throw await refusal(response);
      return response.json();
    }

    forget() {
      this.token = "";
    }

    async fresh() {
      if (!this.token || Date.now() > this.untilMs) {
        const { token, expires_in } = await this.post(this.form.dataset.token, {});
        this.token = token;
        this.untilMs = Date.now() + expires_in * 1000 - RENEW_BEFORE_MS;
      }
      return this.token;
    }

    // A POST of JSON, or of a form, with the session token. Once more with a new one where a change of the organization ended the old.
    async call(address, value, signal) {
      for (let attempt = 1; ; attempt++) {
        const isForm = value instanceof FormData; // whose type the browser writes
        const headers = { authorization: `Bearer ${await this.fresh()}`, "x-title": this.form.dataset.title || TITLE };
        if (!isForm) headers["content-type"] = "application/json";
        // Without the address of the page: it may hold a prompt, and the usage log keeps where a call came from.
        const options = { method: "POST", body: isForm ? value : JSON.stringify(value), headers, credentials: "omit", referrerPolicy: "no-referrer", signal };
        const response = await send(address, options);
        if (response.status === 401 && attempt === 1) {
          this.forget();
          continue;
        }
        if (!response.ok) throw await refusal(response);
        return response;
      }
    }
  }

  // Each JSON of a stream of server-sent events; comments and `[DONE]` are passed over.
  async function read(response, take) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) if (event.startsWith("data: {")) take(JSON.parse(event.slice(6)));
    }
  }

  Object.assign(window.Playground, { Refused, Session, read });
})();
