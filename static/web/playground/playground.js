// The page: runs, columns, the difference between two of them, votes, pins and shares.
(function () {
  "use strict";
  const { Column, Pictures, Refused, Session, Wrong, body, dollars, read, showDifference } = window.Playground;
  const CONFIRMED = "playground-billing";
  const SETTINGS = ["temperature", "max_tokens", "top_p", "reasoning_effort"];
  const COMPARED = ["compared", "compared-with"];
  const SAME_AS_BALANCED = ["neo-mode", "auto"];
  const TEXTS = ["prompt", "system", "task", "tools", "schema"];

  class Page {
    constructor(form) {
      this.form = form;
      this.fields = form.elements;
      this.session = new Session(form);
      this.columns = [];
      this.compared = [0, 1];
      this.running = null;
      this.pictures = new Pictures(form, this.get("pictures"), this.get("picture-list"), (wrong) => this.wrong(wrong));
      this.actions = {
        task: () => this.fields.task.value,
        remove: (column) => this.remove(column),
        up: (column, button) => this.vote(column, button),
        down: (column, button) => this.vote(column, button),
        pin: (column) => this.pin(column),
        copy: (column, button) => this.copy(column, button),
      };
      this.restore(JSON.parse(this.get("state").textContent));
      this.listen();
      form.hidden = false;
    }

    get(id) {
      return document.getElementById(id);
    }

    listen() {
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        this.run();
      });
      this.form.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !this.running) this.run();
      });
      this.get("stop").addEventListener("click", () => this.running && this.running.abort());
      this.get("add").addEventListener("click", () => this.add(this.newModel()).select.focus());
      this.get("share").addEventListener("click", () => this.share());
      this.get("billing").addEventListener("close", () => this.billingAnswered());
      COMPARED.forEach((id, which) => {
        this.get(id).addEventListener("change", () => {
          this.compared[which] = Number(this.get(id).value);
          this.difference();
        });
      });
      this.get("difference").addEventListener("toggle", () => this.difference());
    }

    // columns

    add(model) {
      const root = this.get("column").content.firstElementChild.cloneNode(true);
      const column = new Column(root, this.actions);
      if (model) column.select.value = model;
      this.get("columns").append(root);
      this.columns.push(column);
      this.arrange();
      return column;
    }

    // One that no column has yet.
    newModel() {
      const taken = [...SAME_AS_BALANCED, ...this.columns.map((column) => column.model)];
      const options = [...this.get("column").content.querySelectorAll("optgroup option")];
      const free = options.find((option) => !taken.includes(option.value));
      return free ? free.value : "";
    }

    remove(column) {
      column.root.remove();
      this.columns.splice(this.columns.indexOf(column), 1);
      this.arrange();
      this.get("add").focus();
    }

    arrange() {
      const { leastModels, mostModels } = this.form.dataset;
      this.columns.forEach((column, place) => {
        column.number(place + 1);
        column.part("remove").hidden = this.columns.length <= Number(leastModels) || this.running !== null;
      });
      this.get("share").disabled = this.get("run").disabled || this.running !== null || !this.columns.some((column) => column.isOver);
      this.get("add").disabled = this.columns.length >= Number(mostModels) || this.running !== null;
      COMPARED.forEach((id, which) => {
        const options = this.columns.map((column, at) => new Option(`${at + 1}: ${column.name}`, at));
        this.get(id).replaceChildren(...options);
        this.get(id).value = Math.min(this.compared[which], this.columns.length - 1);
      });
    }

    // a run

    async run() {
      this.tell("");
      for (const field of this.form.querySelectorAll("[aria-invalid]")) this.right(field);
      try {
        this.asked = body(this.form, this.pictures, this.columns.map((column) => column.model));
      } catch (error) {
        this.wrong(error);
        return;
      }
      if (!isConfirmed()) {
        this.get("billing-models").textContent = this.columns.length;
        this.get("billing").showModal();
        return;
      }
      await this.stream(this.asked);
    }

    billingAnswered() {
      if (this.get("billing").returnValue !== "run") return;
      this.get("billing").returnValue = "";
      remember();
      this.stream(this.asked);
    }

    async stream(asked) {
      this.running = new AbortController();
      this.isBusy(true);
      for (const column of this.columns) column.begin();
      this.status(`Asking ${this.columns.length} models.`);
      try {
        const response = await this.session.call("/api/compare", asked, this.running.signal);
        await read(response, (frame) => this.take(frame));
      } catch (error) {
        this.broke(error);
      }
      for (const column of this.columns) if (!column.isOver) column.end();
      this.running = null;
      this.isBusy(false);
      this.difference();
    }

    take(frame) {
      if (frame.object === "compare.summary") {
        for (const result of frame.results) this.columns[result.index].finish(result);
        const nano = frame.results.reduce((sum, result) => sum + result.cost_nano_usd, 0);
        const failed = frame.results.filter((result) => result.error).length;
        this.status(`Done. This run cost ${dollars(nano)}${failed ? `; ${failed} of ${frame.results.length} failed` : ""}.`);
        return;
      }
      const column = this.columns[frame.index];
      if (!column) return;
      const wasOver = column.isOver;
      column.take(frame);
      if (column.isOver && !wasOver) this.status(`${this.columns.filter((other) => other.isOver).length} of ${this.columns.length} have answered.`);
    }

    broke(error) {
      if (error.name === "AbortError") {
        this.status("Stopped. What came until then may be charged; the usage page says what.");
      } else if (error instanceof Refused) {
        this.status("");
        this.tell(error.message);
        for (const column of this.columns) column.clear();
      } else {
        this.status("");
        this.tell("The connection broke. Calls that had begun may be charged; the usage page says what.");
      }
    }

    isBusy(busy) {
      this.get("run").hidden = busy;
      this.get("stop").hidden = !busy;
      for (const column of this.columns) column.select.disabled = busy;
      this.get("pictures").disabled = busy;
      (busy ? this.get("stop") : this.get("run")).focus();
      this.arrange();
    }

    // messages

    status(text) {
      this.get("status").textContent = text;
    }

    tell(text) {
      this.get("trouble").textContent = text;
      this.get("trouble").hidden = !text;
    }

    wrong(error) {
      if (!(error instanceof Wrong)) throw error;
      const message = this.get(`${error.field.id}-error`);
      for (let around = error.field.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
      error.field.setAttribute("aria-invalid", "true");
      message.textContent = error.message;
      message.hidden = false;
      error.field.focus();
    }

    right(field) {
      field.removeAttribute("aria-invalid");
      this.get(`${field.id}-error`).hidden = true;
    }

    // what can be done with an answer

    async vote(column, button) {
      await this.attempt(async () => {
        await this.session.call("/api/feedback", { request_id: column.requestId, thumbs: button.dataset.do });
        for (const other of column.root.querySelectorAll("[aria-pressed]")) other.setAttribute("aria-pressed", String(other === button));
        column.say("said", "Noted, thank you.");
      });
    }

    async pin(column) {
      const taskType = column.part("task").value;
      if (!taskType) {
        column.part("task").focus();
        return;
      }
      await this.attempt(async () => {
        await this.session.call("/api/pins", { taskType, modelId: column.name });
        this.session.forget(); // a pin changes the organization, and that ends its tokens
        column.part("pin").open = false;
        column.say("said", `${column.name} answers “${taskType}” from now on.`);
      });
    }

    async copy(column, button) {
      const said = button.textContent;
      await navigator.clipboard.writeText(column.answer.text).then(
        () => (button.textContent = "Copied"),
        () => (button.textContent = "Not possible here")
      );
      setTimeout(() => (button.textContent = said), 1500);
    }

    async attempt(what) {
      this.tell("");
      try {
        await what();
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        this.tell(error.message);
      }
    }

    difference() {
      if (!this.get("difference").open) return;
      this.arrange();
      const [one, other] = COMPARED.map((id) => this.columns[Number(this.get(id).value)]);
      showDifference(this.get("difference-text"), one.answer.text, other.answer.text);
    }

    // shares

    async share() {
      const texts = Object.fromEntries(TEXTS.map((name) => [name, this.fields[name].value]));
      const settings = Object.fromEntries(SETTINGS.map((name) => [name, this.fields[name].value]));
      const answers = this.columns.map((column) => column.shared());
      const run = { ...texts, settings, models: answers.map((answer) => answer.model), images: this.pictures.urls, answers };
      await this.attempt(async () => {
        const { url } = await this.session.post(this.form.dataset.shares, { content: JSON.stringify(run) });
        this.get("shared").hidden = false;
        this.get("shared-link").href = this.get("shared-link").textContent = url;
        this.get("shared-link").focus();
      });
    }

    restore(run) {
      for (const name of TEXTS) this.fields[name].value = run[name];
      for (const name of SETTINGS) this.fields[name].value = run.settings[name];
      run.images.forEach((url, place) => this.pictures.add(url, `picture ${place + 1}`));
      run.models.forEach((model, place) => {
        const column = this.add(model);
        if (run.answers[place]) column.restore(run.answers[place]);
      });
      this.arrange();
      this.get("more").open = Boolean(run.system || run.tools || run.schema || SETTINGS.some((name) => run.settings[name]));
    }
  }

  function isConfirmed() {
    try {
      return sessionStorage.getItem(CONFIRMED) === "yes";
    } catch (error) {
      return false; // no storage: it is asked each time
    }
  }

  function remember() {
    try {
      sessionStorage.setItem(CONFIRMED, "yes");
    } catch (error) {
      // no storage: it holds for this run
    }
  }

  document.addEventListener("DOMContentLoaded", () => new Page(document.getElementById("play")));
})();
