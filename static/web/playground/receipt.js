// Why a policy took this model, in the room of a column; the page of the request has all of it.
(function () {
  "use strict";
  const { dollars, element } = window.Playground;
  const MOST_CANDIDATES = 8;

  function row(name, ...said) {
    return [element("dt", {}, name), element("dd", {}, ...said)];
  }

  function figures(candidate) {
    const said = [];
    if (Number.isFinite(candidate.p)) said.push(`right with ${candidate.p.toFixed(2)}, at least ${candidate.bound.toFixed(2)}`);
    if (Number.isFinite(candidate.expected_cost_nano_usd)) said.push(`about ${dollars(candidate.expected_cost_nano_usd)}`);
    return said.join("; ");
  }

  function candidate(one) {
    return element(
      "li",
      {},
      element("strong", {}, one.model),
      ` ${one.verdict}`,
      element("br"),
      element("span", { className: "muted" }, figures(one))
    );
  }

  // What is shown of a receipt, and kept where a run is shared.
  function shownOf(receipt) {
    const { why, counterfactual, policy, rule, pin, task, difficulty } = receipt;
    const candidates = receipt.candidates || [];
    return {
      why,
      policy,
      rule,
      counterfactual: counterfactual || "",
      pin: pin ? `${pin.model} (${pin.verdict})` : "",
      task: task ? task.likely : "",
      difficulty: difficulty ? difficulty.logit : null,
      reasons: difficulty ? difficulty.reasons.map((reason) => reason.feature) : [],
      candidates: candidates.slice(0, MOST_CANDIDATES).map(({ model, verdict, p, bound, expected_cost_nano_usd }) => ({ model, verdict, p, bound, expected_cost_nano_usd })),
      more: Math.max(0, candidates.length - MOST_CANDIDATES),
    };
  }

  // `receipt` as `shownOf` makes it.
  function show(place, receipt) {
    const rows = [...row("Policy", receipt.policy), ...row("Rule", receipt.rule)];
    if (receipt.pin) rows.push(...row("Pin", receipt.pin));
    if (receipt.task) rows.push(...row("Task type", receipt.task));
    if (Number.isFinite(receipt.difficulty)) {
      const reasons = receipt.reasons.join(", ");
      rows.push(...row("Difficulty", receipt.difficulty.toFixed(2), reasons ? ` by ${reasons}` : ""));
    }
    place.replaceChildren(
      element("p", {}, receipt.why, receipt.counterfactual ? ` Otherwise: ${receipt.counterfactual}.` : ""),
      element("dl", { className: "definition" }, ...rows),
      element("ul", { className: "candidates" }, ...receipt.candidates.map(candidate)),
      ...(receipt.more > 0 ? [element("p", { className: "muted" }, `and ${receipt.more} more, on the page of the request`)] : [])
    );
  }

  Object.assign(window.Playground, { shownOf, showReceipt: show });
})();
