// Sentences about one call: what was changed before it was sent, and what to do where it failed.
(function () {
  "use strict";
  const BOUND_BY = {
    insufficient_balance: "the wallet covers no more",
    key_cap_reached: "a cap leaves no more",
    shared_balance: "the rest of the wallet is held by the other models of this comparison",
  };
  const ANOTHER = "Choose another model.";
  const LATER = "Run it again in a moment, or choose another model.";
  const ADVICE = {
    content_filter: "Put the question in other words, or choose another model.",
    context_length_exceeded: "Shorten the prompt, or choose a model with a larger context.",
    insufficient_balance: "Top up the wallet, set fewer output tokens, or ask fewer models.",
    invalid_request: "Change what the message names, or choose another model.",
    key_cap_reached: "Raise the cap, or wait until it begins anew.",
    model_not_allowed: ANOTHER,
    model_not_found: ANOTHER,
    model_not_served: ANOTHER,
    model_retired: "Choose its successor, or another model.",
    provider_rejected_credentials: "Choose another model; the operator has to mend this one.",
    too_many_parallel_requests: "Run it again when other calls of this organization have ended.",
    unknown_model: ANOTHER,
  };

  function change(note) {
    const name = note.param.replace(/_/g, " ");
    const why = note.reason ? `: ${BOUND_BY[note.reason] || note.reason.replace(/_/g, " ")}` : "";
    if (note.action === "dropped") return `${name} was left out: this model does not take it.`;
    if (note.action === "skipped") return `${note.model} was left out of the fallbacks${why}.`;
    const from = note.from === null || note.from === undefined ? "" : ` from ${note.from}`;
    return `${name} was ${note.action}${from} to ${note.to}${why}.`;
  }

  // Of an `x_komilion.adjusted`.
  function changes(adjusted) {
    return (adjusted || []).map(change);
  }

  // What to do about an error, by its reason.
  function advice(reason, wasBegun) {
    const text = ADVICE[reason] || LATER;
    return wasBegun ? text : `${text} This call was not begun and costs nothing.`;
  }

  Object.assign(window.Playground, { changes, advice });
})();
