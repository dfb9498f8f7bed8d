// Whoever chooses a language once means it for the whole page: groups of tabs with a tab of that name follow.
(function () {
  "use strict";
  document.addEventListener("change", function (event) {
    var chosen = event.target;
    if (!chosen.matches(".tabs > input")) return;
    document.querySelectorAll(".tabs > input").forEach(function (input) {
      if (input.value === chosen.value) input.checked = true;
    });
  });
})();
