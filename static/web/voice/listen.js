// A recording and its transcript side by side: what is heard is marked, what is clicked is played.
(function () {
  "use strict";
  const BEFORE_S = 0.05; // so that no word begins in its middle

  // The last of `starts` that is not after `time`; -1 for none.
  function last(starts, time) {
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (starts[middle] <= time) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  function parts(elements) {
    const sorted = elements.map((element) => ({ element, start: Number(element.dataset.start), end: Number(element.dataset.end) }));
    sorted.sort((one, other) => one.start - other.start);
    return { sorted, starts: sorted.map((part) => part.start) };
  }

  class Listening {
    constructor(audio, list, follows) {
      Object.assign(this, { audio, list, follows });
      this.said = parts([...list.querySelectorAll(".said")]);
      this.words = parts([...list.querySelectorAll(".said__text > [data-start]")]);
      this.now = { said: null, word: null };
      list.addEventListener("click", (event) => this.clicked(event.target));
      for (const name of ["timeupdate", "seeked"]) audio.addEventListener(name, () => this.show());
      audio.addEventListener("play", () => this.run());
    }

    clicked(target) {
      const word = target.closest("[data-start]");
      if (!word || !this.canPlay || getSelection().toString()) return;
      const isWord = word.matches("span");
      if (!isWord && !target.closest(".said__at")) return;
      this.audio.currentTime = Math.max(0, Number(word.dataset.start) - (isWord ? BEFORE_S : 0)) + 0.001;
      this.audio.play().catch(() => this.show()); // a browser may want a click on the player itself first
    }

    get canPlay() {
      return this.audio.readyState > 0 && !this.audio.error;
    }

    // More often than the browser tells of the time: words are short.
    run() {
      const step = () => {
        this.show();
        if (!this.audio.paused && !this.audio.ended) requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    }

    show() {
      const time = this.audio.currentTime + BEFORE_S;
      const said = this.at(this.said, time);
      if (said !== this.now.said) {
        if (this.now.said) this.now.said.removeAttribute("aria-current");
        if (said) said.setAttribute("aria-current", "true");
        this.now.said = said;
        if (said && this.follows() && !this.audio.paused) said.scrollIntoView({ block: "nearest" });
      }
      const word = this.at(this.words, time);
      if (word === this.now.word) return;
      if (this.now.word) this.now.word.classList.remove("is-now");
      if (word) word.classList.add("is-now");
      this.now.word = word;
    }

    at({ sorted, starts }, time) {
      const place = last(starts, time);
      return place >= 0 && time < sorted[place].end + BEFORE_S ? sorted[place].element : null;
    }
  }

  Object.assign(window.Voice, { Listening });
})();
