// An answer as it comes, from Markdown to nodes. markdown-it only parses; HTML in the text stays text, and what it finds
// is built from a list of known elements. So nothing of an answer is ever read as HTML, no picture is loaded, and the
// only addresses that remain are links to other sites, which tell those sites nothing.
(function () {
  "use strict";
  const { element } = window.Playground;
  const parser = window.markdownit({ html: false, linkify: false, typographer: false });
  const TAGS = new Set(
    "p ul ol li blockquote table thead tbody tr th td strong em s br hr".split(" ")
  );
  const SCHEMES = new Set(["http:", "https:", "mailto:"]);
  const LEAST_PAUSE_MS = 40;
  const PAUSE_FACTOR = 8; // so that long answers leave the page most of its time

  // A whole address of another site; "" for anything else, relative ones too.
  function address(text) {
    try {
      const url = new URL(text);
      return SCHEMES.has(url.protocol) ? url.href : "";
    } catch (error) {
      return "";
    }
  }

  function link(href) {
    const url = address(href);
    return url
      ? element("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow ugc", referrerPolicy: "no-referrer" })
      : element("span");
  }

  function code(text, info) {
    const language = /^[\w+#.-]{1,20}/.exec(info || "");
    const block = element("pre", { tabIndex: 0 }, element("code", {}, text.replace(/\n$/, "")));
    return language ? element("div", { className: "answer__code" }, element("p", { className: "eyebrow" }, language[0]), block) : block;
  }

  // A picture is not loaded: who wrote the address would learn that it was read. Its description and a link stand there.
  function picture(token) {
    const shown = `[picture: ${token.content || "without description"}]`;
    const anchor = link(token.attrGet("src") || "");
    anchor.append(shown);
    return anchor;
  }

  function opened(token) {
    if (token.type === "heading_open") return element("p", { className: `answer__heading answer__heading--${token.tag}` });
    if (token.type === "link_open") return link(token.attrGet("href") || "");
    if (!TAGS.has(token.tag)) return element("span");
    const made = element(token.tag);
    if (token.tag === "ol" && /^\d{1,9}$/.test(token.attrGet("start") || "")) made.start = Number(token.attrGet("start"));
    if (/right/.test(token.attrGet("style") || "")) made.className = "num";
    if (token.tag !== "table") return made;
    return element("div", { className: "table-scroll", tabIndex: 0, role: "group", "aria-label": "Table" }, made);
  }

  function inner(node) {
    return node.firstElementChild && node.className === "table-scroll" ? node.firstElementChild : node;
  }

  function build(tokens, parent) {
    const path = [parent];
    for (const token of tokens) {
      const here = path[path.length - 1];
      if (token.type === "inline") build(token.children, here);
      else if (token.type === "text" || token.type === "text_special") here.append(token.content);
      else if (token.type === "softbreak") here.append("\n");
      else if (token.type === "code_inline") here.append(element("code", {}, token.content));
      else if (token.type === "fence" || token.type === "code_block") here.append(code(token.content, token.info));
      else if (token.type === "image") here.append(picture(token));
      else if (token.nesting === 1) {
        const made = token.hidden ? here : opened(token);
        if (made !== here) here.append(made);
        path.push(inner(made));
      } else if (token.nesting === -1) path.pop();
      else if (TAGS.has(token.tag)) here.append(element(token.tag));
      else here.append(token.content); // what nobody foresaw is shown as it was written
    }
    for (const cell of parent.querySelectorAll("th")) {
      if (!cell.textContent.trim()) cell.replaceWith(element("td"));
    }
  }

  // The outermost blocks, each with the lines that it was made of.
  function blocks(tokens, lines) {
    const found = [];
    let depth = 0;
    for (const token of tokens) {
      if (depth === 0 && token.nesting !== -1) found.push({ tokens: [], source: "" });
      const block = found[found.length - 1];
      block.tokens.push(token);
      if (depth === 0 && token.map) block.source = `${token.type}\n${lines.slice(...token.map).join("\n")}`;
      depth += token.nesting;
    }
    return found;
  }

  // Shows a text that grows. Blocks that stay as they were keep their nodes, so what somebody marked stays marked.
  class Answer {
    constructor(place) {
      this.place = place;
      this.text = "";
      this.shown = [];
      this.timer = 0;
      this.pauseMs = LEAST_PAUSE_MS;
    }

    add(text) {
      this.text += text;
      if (!this.timer) this.timer = setTimeout(() => this.show(), this.pauseMs);
    }

    show() {
      clearTimeout(this.timer);
      this.timer = 0;
      const started = performance.now();
      const found = blocks(parser.parse(this.text, {}), this.text.split("\n"));
      let same = 0;
      while (same < found.length - 1 && same < this.shown.length && found[same].source === this.shown[same].source) same++;
      for (const old of this.shown.splice(same)) old.node.remove();
      for (const block of found.slice(same)) {
        const node = element("div", { className: "answer__block" });
        build(block.tokens, node);
        this.place.append(node);
        this.shown.push({ source: block.source, node });
      }
      this.pauseMs = Math.max(LEAST_PAUSE_MS, PAUSE_FACTOR * (performance.now() - started));
    }

    end() {
      for (const old of this.shown.splice(0)) old.node.remove(); // a definition at the end may be meant for its beginning
      this.show();
    }

    clear() {
      clearTimeout(this.timer);
      this.timer = 0;
      this.text = "";
      this.shown = [];
      this.place.replaceChildren();
    }
  }

  window.Playground.Answer = Answer;
})();
