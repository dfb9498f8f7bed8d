// What the scripts of the playground share. No text ever becomes markup here: nodes are made one by one.
(function () {
  "use strict";
  const NANO = 1e9;

  // An element with properties and children; texts become text nodes.
  function element(name, properties, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties || {})) {
      if (key in made) made[key] = value;
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  // `$0.0123` as the pages write it: whole cents from ten cents on, else every digit.
  function dollars(nano) {
    const sign = nano < 0 ? "-" : "";
    const units = Math.abs(nano);
    const digits = String(units % NANO).padStart(9, "0");
    const shown = units >= NANO / 10 ? digits.slice(0, 2) : digits.replace(/0+$/, "").padEnd(2, "0");
    return `${sign}$${Math.floor(units / NANO).toLocaleString("en")}.${shown}`;
  }

  function duration(ms) {
    return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
  }

  window.Playground = { element, dollars, duration };
})();
