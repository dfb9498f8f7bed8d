// Buttons that copy a text: [data-copy] has it, or the element whose id is in [data-copy-from].
(function () {
  "use strict";
  var SHOWN_MS = 1500;
  document.addEventListener("click", async function (event) {
    var button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    var source = button.dataset.copyFrom ? document.getElementById(button.dataset.copyFrom) : null;
    var text = source ? source.textContent : button.dataset.copy;
    var said = button.dataset.said || (button.dataset.said = button.textContent);
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      button.dataset.copied = "";
    } catch (error) {
      button.textContent = "Press Ctrl+C"; // the browser refuses where there is no TLS: the text is selected instead
      var shown = source || button.parentElement.querySelector("code, .mono");
      if (shown) getSelection().selectAllChildren(shown);
    }
    setTimeout(function () {
      button.textContent = said;
      delete button.dataset.copied;
    }, SHOWN_MS);
  });
})();
