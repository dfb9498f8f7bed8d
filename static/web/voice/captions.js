// What is said, in writing, in the order of the conversation. Texts only ever become text nodes.
(function () {
  "use strict";
  const { element } = window.Playground;
  const WHO = { user: "You", assistant: "Answer" };
  const NEAR_END_PX = 40;

  class Captions {
    constructor(place, empty) {
      Object.assign(this, { place, empty });
      this.clear();
    }

    clear() {
      this.lines = new Map();
      this.place.replaceChildren(this.empty);
    }

    // The line of an item, made where there is none: after that of `previous`, else at the end.
    line(id, role, previous) {
      if (this.lines.has(id)) return this.lines.get(id);
      const text = element("p", { className: "caption__text" });
      const note = element("p", { className: "caption__note", hidden: true });
      const root = element("div", { className: `caption caption--${role}` }, element("p", { className: "caption__who" }, WHO[role]), text, note);
      const line = { root, text, note };
      this.lines.set(id, line);
      this.empty.remove();
      this.scrolling(() => {
        const before = this.lines.get(previous);
        if (before) before.root.after(root);
        else this.place.append(root);
      });
      return line;
    }

    // More of a text.
    add(id, role, text) {
      const line = this.line(id, role);
      this.scrolling(() => line.text.append(text));
    }

    // The whole of it.
    set(id, role, text) {
      const line = this.line(id, role);
      this.scrolling(() => (line.text.textContent = text));
    }

    // A word about it, such as that it was interrupted.
    mark(id, note) {
      const line = this.lines.get(id);
      if (!line) return;
      line.note.textContent = note;
      line.note.hidden = false;
    }

    has(id) {
      return this.lines.has(id);
    }

    remove(id) {
      const line = this.lines.get(id);
      if (line) line.root.remove();
      this.lines.delete(id);
    }

    // Stays at the end for who is there, and leaves alone who reads further up.
    scrolling(change) {
      const { place } = this;
      const isAtEnd = place.scrollHeight - place.scrollTop - place.clientHeight < NEAR_END_PX;
      change();
      if (isAtEnd) place.scrollTop = place.scrollHeight;
    }
  }

  Object.assign(window.Voice, { Captions });
})();
