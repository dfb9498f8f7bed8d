// How loud it is: bars that wander from right to left. A decoration; the words beside it say what goes on.
(function () {
  "use strict";
  const BARS = 32;
  const EVERY_MS = 60;
  const CALM_MS = 400; // where somebody wants less motion
  const QUIETEST_DB = 55;
  const LEAST = 0.08;

  class Levels {
    constructor(place) {
      this.heights = new Array(BARS).fill(0);
      this.bars = this.heights.map(() => place.appendChild(document.createElement("i")));
      this.loudest = 0;
      this.shownAt = 0;
      this.everyMs = matchMedia("(prefers-reduced-motion: reduce)").matches ? CALM_MS : EVERY_MS;
      this.draw();
    }

    // `level`: root mean square, 0 to 1.
    take(level) {
      this.loudest = Math.max(this.loudest, level);
      const now = performance.now();
      if (now - this.shownAt < this.everyMs) return;
      this.shownAt = now;
      this.heights.shift();
      this.heights.push(Math.max(0, Math.min(1, 1 + (20 * Math.log10(this.loudest + 1e-9)) / QUIETEST_DB)));
      this.loudest = 0;
      this.draw();
    }

    rest() {
      this.heights.fill(0);
      this.draw();
    }

    draw() {
      this.bars.forEach((bar, place) => (bar.style.transform = `scaleY(${Math.max(LEAST, this.heights[place])})`));
    }
  }

  Object.assign(window.Voice, { Levels });
})();
