// Loaded before the first paint, so that a chosen scheme never flashes; the switch goes automatic, light, dark.
(function () {
  "use strict";
  var root = document.documentElement;
  var NEXT = { auto: "light", light: "dark", dark: "auto" };
  function chosen() {
    try {
      var kept = localStorage.getItem("theme");
      return kept === "light" || kept === "dark" ? kept : "auto";
    } catch (error) {
      return "auto"; // no storage: as the system says
    }
  }
  function apply(theme) {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }
  function label(button, theme) {
    button.setAttribute("aria-label", "Colours: " + (theme === "auto" ? "as your system" : theme) + ". Change.");
    button.title = button.getAttribute("aria-label");
  }
  root.classList.add("js");
  apply(chosen());
  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-theme-switch]").forEach(function (button) {
      label(button, chosen());
      button.addEventListener("click", function () {
        var theme = NEXT[root.dataset.theme || "auto"];
        try {
          if (theme === "auto") localStorage.removeItem("theme");
          else localStorage.setItem("theme", theme);
        } catch (error) {
          // no storage: it holds for this page
        }
        apply(theme);
        document.querySelectorAll("[data-theme-switch]").forEach(function (other) { label(other, theme); });
      });
    });
  });
})();
