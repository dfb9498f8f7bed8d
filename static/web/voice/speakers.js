// Names of speakers: kept in this browser, by meeting, and sent along when a file is saved.
(function () {
  "use strict";
  const KEY = "voice-names-";

  class Speakers {
    constructor(root, hidden) {
      this.key = KEY + root.dataset.meeting;
      this.hidden = hidden;
      this.places = [...root.querySelectorAll("[data-who]")];
      this.inputs = [...root.querySelectorAll("[data-speaker]")];
      this.names = this.kept();
      for (const input of this.inputs) {
        const number = input.dataset.speaker;
        const label = root.querySelector(`label[for="${input.id}"]`).textContent;
        input.disabled = false;
        if (this.names[number]) input.value = this.names[number];
        input.addEventListener("input", () => this.name(number, input.value.trim(), label));
        this.show(number, input.value || label);
      }
      this.send();
    }

    kept() {
      try {
        return JSON.parse(localStorage.getItem(this.key)) || {};
      } catch (error) {
        return {}; // no storage, or not ours: names hold until the page is left
      }
    }

    name(number, name, label) {
      if (name && name !== label) this.names[number] = name;
      else delete this.names[number];
      this.show(number, name || label);
      this.send();
      try {
        localStorage.setItem(this.key, JSON.stringify(this.names));
      } catch (error) {
        // no storage: they hold until the page is left
      }
    }

    show(number, name) {
      for (const place of this.places) if (place.dataset.who === number) place.textContent = name;
    }

    send() {
      this.hidden.value = JSON.stringify(this.names);
    }
  }

  Object.assign(window.Voice, { Speakers });
})();
