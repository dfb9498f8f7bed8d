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
    if (candidate.p !== undefined) said.push(`right with ${candidate.p.toFixed(2)}, at least ${candidate.bound.toFixed(2)}`);
    if (candidate.expected_cost_nano_usd !== undefined) said.push(`about ${dollars(candidate.expected_cost_nano_usd)}`);
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

  function show(place, receipt) {
    const rows = [...row("Policy", receipt.policy), ...row("Rule", receipt.rule)];
    if (receipt.pin) rows.push(...row("Pin", `${receipt.pin.model} (${receipt.pin.verdict})`));
    if (receipt.task) rows.push(...row("Task type", receipt.task.likely));
    if (receipt.difficulty) {
      const reasons = receipt.difficulty.reasons.map((reason) => reason.feature).join(", ");
      rows.push(...row("Difficulty", receipt.difficulty.logit.toFixed(2), reasons ? ` by ${reasons}` : ""));
    }
    const candidates = receipt.candidates || [];
    const more = candidates.length - MOST_CANDIDATES;
    place.replaceChildren(
      element("p", {}, receipt.why, receipt.counterfactual ? ` Otherwise: ${receipt.counterfactual}.` : ""),
      element("dl", { className: "definition" }, ...rows),
      element("ul", { className: "candidates" }, ...candidates.slice(0, MOST_CANDIDATES).map(candidate)),
      ...(more > 0 ? [element("p", { className: "muted" }, `and ${more} more, on the page of the request`)] : [])
    );
  }

  window.Playground.showReceipt = show;
})();
