// The page of a meeting: its player, its speakers, its search.
(function () {
  "use strict";
  const { Listening, Speakers } = window.Voice;
  const FOUND = "found"; // the name of the highlight in the style sheet

  class Page {
    constructor(root) {
      this.root = root;
      new Speakers(root, this.get("names"));
      if (this.get("names-help")) this.get("names-help").hidden = false;
      if (this.get("listen")) this.listen();
    }

    get(id) {
      return document.getElementById(id);
    }

    listen() {
      const audio = this.get("audio");
      this.get("listen").hidden = false;
      new Listening(audio, this.get("said"), () => this.get("follow").checked);
      audio.addEventListener("error", () => {
        audio.hidden = true;
        this.get("own").hidden = false;
      });
      this.get("own-file").addEventListener("change", ({ target }) => {
        if (!target.files.length) return;
        URL.revokeObjectURL(audio.src);
        audio.src = URL.createObjectURL(target.files[0]);
        audio.hidden = false;
      });
      this.get("search").addEventListener("input", () => this.search());
    }

    // What does not have the words is hidden, the words are marked.
    search() {
      const wanted = this.get("search").value.trim().toLowerCase();
      const ranges = [];
      let count = 0;
      for (const said of this.get("said").children) {
        const found = wanted ? rangesOf(said.querySelector(".said__text"), wanted) : [];
        ranges.push(...found);
        count += found.length;
        said.hidden = Boolean(wanted) && !found.length;
      }
      this.get("found").textContent = wanted ? `${count} found` : "";
      if (!window.CSS || !CSS.highlights) return; // an older browser: what is found is shown, and not marked
      if (ranges.length) CSS.highlights.set(FOUND, new Highlight(...ranges));
      else CSS.highlights.delete(FOUND);
    }
  }

  // Where a text stands in an element, over the borders of its words.
  function rangesOf(element, wanted) {
    const nodes = [];
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    let text = "";
    while (walker.nextNode()) {
      nodes.push({ node: walker.currentNode, start: text.length });
      text += walker.currentNode.data;
    }
    const lower = text.toLowerCase();
    if (lower.length !== text.length) return lower.includes(wanted) ? [whole(element)] : []; // letters that grow
    const ranges = [];
    for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, at + wanted.length)) {
      const range = new Range();
      range.setStart(...place(nodes, at));
      range.setEnd(...place(nodes, at + wanted.length));
      ranges.push(range);
    }
    return ranges;
  }

  function whole(element) {
    const range = new Range();
    range.selectNodeContents(element);
    return range;
  }

  function place(nodes, at) {
    const found = nodes.findLast(({ start }) => start <= at);
    return [found.node, Math.min(at - found.start, found.node.length)];
  }

  document.addEventListener("DOMContentLoaded", () => {
    const root = document.getElementById("meeting");
    if (root) new Page(root);
  });
})();
