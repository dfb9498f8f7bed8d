// How two answers differ, word by word. In bounded time: what is beyond so many words is not compared.
(function () {
  "use strict";
  const { element } = window.Playground;
  const MOST_WORDS = 2000;
  const WORD = /\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu;

  function words(text) {
    const found = text.match(WORD) || [];
    return { words: found.slice(0, MOST_WORDS), isCut: found.length > MOST_WORDS };
  }

  // Pieces in order: "both", "one" (only in the first) or "other". By the table of common subsequences.
  function compare(one, other) {
    const width = other.length + 1;
    const table = new Uint16Array((one.length + 1) * width);
    for (let i = one.length - 1; i >= 0; i--) {
      for (let j = other.length - 1; j >= 0; j--) {
        table[i * width + j] = one[i] === other[j]
          ? table[(i + 1) * width + j + 1] + 1
          : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
      }
    }
    const pieces = [];
    const note = (kind, word) => {
      const last = pieces[pieces.length - 1];
      if (last && last.kind === kind) last.text += word;
      else pieces.push({ kind, text: word });
    };
    let i = 0;
    let j = 0;
    while (i < one.length || j < other.length) {
      if (i < one.length && j < other.length && one[i] === other[j]) {
        note("both", one[i++]);
        j++;
      } else if (j >= other.length || (i < one.length && table[(i + 1) * width + j] >= table[i * width + j + 1])) {
        note("one", one[i++]);
      } else note("other", other[j++]);
    }
    return pieces;
  }

  function show(place, textOfOne, textOfOther) {
    const one = words(textOfOne);
    const other = words(textOfOther);
    const shown = compare(one.words, other.words).map((piece) =>
      piece.kind === "both" ? piece.text : element(piece.kind === "one" ? "del" : "ins", {}, piece.text)
    );
    const text = element("p", { className: "difference__text" }, ...shown);
    const cut = element("p", { className: "muted small" }, `Only the first ${MOST_WORDS.toLocaleString("en")} words and marks are compared.`);
    place.replaceChildren(text, ...(one.isCut || other.isCut ? [cut] : []));
  }

  window.Playground.showDifference = show;
})();
