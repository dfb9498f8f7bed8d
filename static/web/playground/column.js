// One model's column: what it answers as it comes, what that cost, and what can be done with it.
(function () {
  "use strict";
  const { Answer, advice, changes, dollars, duration, element, shownOf, showReceipt } = window.Playground;
  const NOTHING = "-";
  const LEAST_TOKENS = 20; // below these a speed says nothing
  const LEAST_MS = 200;

  class Column {
    constructor(root, actions) {
      this.root = root;
      this.actions = actions;
      this.select = root.querySelector("select");
      this.answer = new Answer(this.part("answer"));
      this.clear();
      root.addEventListener("click", (event) => {
        const button = event.target.closest("button[data-do]");
        if (button) actions[button.dataset.do](this, button);
      });
    }

    get model() {
      return this.select.value;
    }

    get name() {
      return this.answeredBy || this.model;
    }

    part(name) {
      return this.root.querySelector(`[data-part="${name}"]`);
    }

    say(name, text) {
      const part = this.part(name);
      part.textContent = text;
      part.hidden = !text;
    }

    number(place) {
      for (const [name, node] of [["label", this.root.querySelector("label")], ["heading", this.part("heading")]]) {
        const id = `${name}-${place}`;
        node.id = id;
        node.textContent = `Model ${place}`;
      }
      this.select.id = `model-${place}`;
      this.root.querySelector("label").htmlFor = this.select.id;
      this.root.setAttribute("aria-labelledby", `heading-${place}`);
      this.part("task").id = `task-${place}`;
      this.part("task-label").htmlFor = `task-${place}`;
      this.part("remove").setAttribute("aria-label", `Remove model ${place}`);
    }

    clear() {
      this.answer.clear();
      this.requestId = this.answeredBy = this.thinking = "";
      this.calls = new Map();
      this.result = null;
      this.reason = "";
      this.begun = true;
      this.change([]);
      this.explain(null);
      this.isOver = false;
      for (const name of ["by", "error", "advice", "tools", "thinking-text", "said"]) this.say(name, "");
      for (const name of ["thinking", "more", "waiting"]) this.part(name).hidden = true;
      for (const button of this.root.querySelectorAll("[aria-pressed]")) button.setAttribute("aria-pressed", "false");
      this.figures({});
      this.part("empty").hidden = false;
    }

    begin() {
      this.clear();
      this.startedMs = performance.now();
      this.firstMs = undefined;
      this.part("empty").hidden = true;
      this.part("waiting").hidden = false;
    }

    // A frame of its call.
    take(frame) {
      this.requestId = frame.id || frame.request_id || this.requestId;
      if (frame.begun === false) this.begun = false;
      if (frame.error) this.fail(frame.error);
      if (frame.answered_by) this.is(frame.answered_by);
      for (const choice of frame.choices || []) if (!choice.index) this.delta(choice.delta || {});
      const note = frame.x_komilion;
      if (!note) return;
      if (note.stopped) this.say("said", `It ended early: ${note.stopped.replace(/_/g, " ")}.`);
      this.task = note.task_type;
      this.change(changes(note.adjusted));
      this.explain(note.receipt ? shownOf(note.receipt) : null);
      this.end();
    }

    // What was changed before it was sent, in sentences.
    change(sentences) {
      this.changes = sentences;
      this.part("changes").replaceChildren(...sentences.map((sentence) => element("li", {}, sentence)));
      this.part("changes").hidden = !sentences.length;
    }

    explain(receipt) {
      this.receipt = receipt;
      this.part("receipt").hidden = !receipt;
      if (receipt) showReceipt(this.part("receipt-text"), receipt);
    }

    is(model) {
      this.answeredBy = model;
      this.say("by", model === this.model ? "" : `answered by ${model}`);
    }

    delta(delta) {
      const thought = delta.reasoning_content || delta.reasoning;
      if (typeof thought === "string" && thought) {
        this.thinking += thought;
        this.say("thinking-text", this.thinking);
        this.part("thinking").hidden = false;
      }
      if (typeof delta.content === "string" && delta.content) this.answer.add(delta.content);
      if (typeof delta.refusal === "string" && delta.refusal) this.answer.add(delta.refusal);
      for (const call of delta.tool_calls || []) this.toolCall(call);
      if (this.firstMs === undefined && (delta.content || thought || delta.tool_calls)) {
        this.firstMs = performance.now() - this.startedMs;
        this.figures({ first: duration(Math.round(this.firstMs)) });
        this.part("waiting").hidden = true;
      }
    }

    toolCall(piece) {
      const call = this.calls.get(piece.index) || { name: "", text: "" };
      call.name += (piece.function && piece.function.name) || "";
      call.text += (piece.function && piece.function.arguments) || "";
      this.calls.set(piece.index, call);
      this.say("tools", this.tools);
    }

    get tools() {
      return [...this.calls.values()].map((call) => `${call.name}(${call.text})`).join("\n");
    }

    fail(error) {
      this.reason = error.reason || "";
      this.say("error", error.message);
      this.end();
    }

    // Nothing more comes.
    end() {
      this.isOver = true;
      this.firstMs = undefined;
      this.part("waiting").hidden = true;
      this.answer.end();
      const hasFailed = Boolean(this.part("error").textContent);
      this.say("advice", hasFailed ? advice(this.reason, this.begun) : "");
      this.part("more").hidden = !this.requestId || !this.begun;
      this.part("judged").hidden = hasFailed && !this.answer.text;
      const link = this.part("request");
      link.href = this.root.dataset.requests.replace("gen-x", encodeURIComponent(this.requestId));
      this.part("task").value = this.actions.task() || this.task || "";
    }

    // What the summary says of it.
    finish(result) {
      this.result = result;
      if (result.answered_by) this.is(result.answered_by);
      const output = result.usage && result.usage.completion_tokens;
      this.figures({
        cost: dollars(result.cost_nano_usd),
        first: result.first_content_ms === null ? NOTHING : duration(result.first_content_ms),
        speed: !isMeasured(result, output) ? NOTHING : `${result.tokens_per_s.toLocaleString("en")} tokens/s`,
        output: output === null || output === undefined ? NOTHING : output.toLocaleString("en"),
      });
    }

    figures(known) {
      for (const node of this.root.querySelectorAll("[data-figure]")) {
        if (known[node.dataset.figure] !== undefined || Object.keys(known).length === 0) node.textContent = known[node.dataset.figure] || NOTHING;
      }
    }

    // For a share, and from one.
    shared() {
      const result = this.result || {};
      return {
        model: this.model,
        answered_by: this.answeredBy,
        request_id: this.requestId,
        text: this.answer.text,
        thinking: this.thinking,
        tool_calls: this.tools,
        error: this.part("error").textContent,
        reason: this.reason,
        begun: this.begun,
        changes: this.changes,
        receipt: this.receipt,
        cost_nano_usd: result.cost_nano_usd ?? null,
        first_content_ms: result.first_content_ms ?? null,
        duration_ms: result.duration_ms ?? null,
        output_tokens: (result.usage && result.usage.completion_tokens) ?? null,
        tokens_per_s: result.tokens_per_s ?? null,
      };
    }

    restore(answer) {
      this.begin();
      this.requestId = answer.request_id;
      this.thinking = answer.thinking;
      this.say("thinking-text", answer.thinking);
      this.part("thinking").hidden = !answer.thinking;
      this.say("tools", answer.tool_calls);
      this.say("error", answer.error);
      this.reason = answer.reason;
      this.begun = answer.begun;
      this.change(answer.changes);
      this.explain(answer.receipt);
      this.answer.text = answer.text;
      this.end();
      const { cost_nano_usd, first_content_ms, duration_ms, tokens_per_s, output_tokens, answered_by } = answer;
      const usage = output_tokens === null ? null : { completion_tokens: output_tokens };
      if (cost_nano_usd !== null) this.finish({ cost_nano_usd, first_content_ms, duration_ms, tokens_per_s, usage, answered_by });
    }
  }

  function isMeasured(result, output) {
    const tookMs = result.duration_ms - (result.first_content_ms || 0);
    return result.tokens_per_s !== null && output >= LEAST_TOKENS && tookMs >= LEAST_MS;
  }

  window.Playground.Column = Column;
})();
