// The receipt of a call that a policy answered, whatever stands in it: objects as lists, lists of objects as tables.
(function () {
  "use strict";
  const { element } = window.Playground;
  const MOST_ROWS = 40;
  const DEEPEST = 4;
  const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
  const named = (name) => name.replace(/_/g, " ");

  function plain(value) {
    if (value === null || value === undefined || value === "") return "-";
    if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(4)));
    if (typeof value === "boolean") return value ? "yes" : "no";
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  }

  function table(name, rows) {
    const columns = [...new Set(rows.slice(0, MOST_ROWS).flatMap(Object.keys))];
    const isFigure = (column) => rows.every((row) => row[column] == null || typeof row[column] === "number");
    const cell = (row, column) => element("td", { className: isFigure(column) ? "num" : "" }, plain(row[column]));
    const [first, ...others] = columns;
    const head = columns.map((column) => element("th", { scope: "col", className: isFigure(column) ? "num" : "" }, named(column)));
    const body = rows.slice(0, MOST_ROWS).map((row) =>
      element("tr", {}, element("th", { scope: "row" }, plain(row[first])), ...others.map((column) => cell(row, column)))
    );
    const made = element(
      "table",
      { className: "table" },
      element("caption", { className: "visually-hidden" }, named(name)),
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...body)
    );
    return element("div", { className: "table-scroll", tabIndex: 0, role: "group", "aria-label": named(name) }, made);
  }

  function value(name, what, depth) {
    if (Array.isArray(what) && what.length && what.every(isObject)) return table(name, what);
    if (Array.isArray(what)) return element("span", {}, what.map(plain).join(", ") || "-");
    return isObject(what) && depth < DEEPEST ? list(what, depth + 1) : element("span", {}, plain(what));
  }

  function list(object, depth) {
    const rows = Object.entries(object).flatMap(([name, what]) => [
      element("dt", {}, named(name)),
      element("dd", {}, value(name, what, depth)),
    ]);
    return element("dl", { className: "definition" }, ...rows);
  }

  window.Playground.showReceipt = (place, receipt) => place.replaceChildren(list(receipt, 1));
})();
