// The form: what is filled in becomes the body of a request, or a message beside the field that is wrong.
(function () {
  "use strict";
  const { element } = window.Playground;
  // How the bytes of each kind begin, in Latin letters: a name says nothing.
  const PICTURES = [
    ["image/png", /^\x89PNG\r\n\x1a\n/],
    ["image/jpeg", /^\xff\xd8\xff/],
    ["image/gif", /^GIF8[79]a/],
    ["image/webp", /^RIFF[^]{4}WEBP/],
  ];
  const LONGEST_BEGINNING = 16; // base64 of twelve bytes

  class Wrong extends Error {
    constructor(field, message) {
      super(message);
      this.field = field;
    }
  }

  function number(field, least, most, isWhole) {
    const text = field.value.trim();
    if (!text) return undefined;
    const value = Number(text);
    if (!Number.isFinite(value) || value < least || value > most || (isWhole && !Number.isInteger(value))) {
      throw new Wrong(field, `Write a ${isWhole ? "whole " : ""}number from ${least} to ${most.toLocaleString("en")}, or leave it empty.`);
    }
    return value;
  }

  function json(field) {
    try {
      return JSON.parse(field.value);
    } catch (error) {
      throw new Wrong(field, `This is no JSON: ${error.message}.`);
    }
  }

  function tools(field) {
    if (!field.value.trim()) return undefined;
    const value = json(field);
    if (!Array.isArray(value) || !value.length) throw new Wrong(field, "Tools are a list: [{\"type\": \"function\", \"function\": {\"name\": \"...\"}}].");
    value.forEach((tool, place) => {
      const name = tool && tool.type === "function" && tool.function && tool.function.name;
      if (typeof name !== "string" || !name) throw new Wrong(field, `Tool ${place + 1} needs "type": "function" and a "function" with a "name".`);
    });
    return value;
  }

  function schema(field) {
    if (!field.value.trim()) return undefined;
    const value = json(field);
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
    if (!isObject || !("type" in value || "anyOf" in value || "$ref" in value)) {
      throw new Wrong(field, "A JSON schema is an object with a \"type\", such as {\"type\": \"object\", \"properties\": {}}.");
    }
    return { type: "json_schema", json_schema: { name: "answer", schema: value } };
  }

  class Pictures {
    constructor(form, input, place, tell) {
      Object.assign(this, { form, input, place, tell });
      this.urls = [];
      input.addEventListener("change", () => this.take([...input.files]));
    }

    async take(files) {
      this.input.value = "";
      for (const file of files) {
        const url = picture(await read(file));
        if (url) this.add(url, file.name);
        else this.tell(new Wrong(this.input, `${file.name} is no PNG, JPEG, WebP or GIF.`));
      }
    }

    add(url, name) {
      const limit = Number(this.form.dataset.imagesLimit);
      const size = this.urls.reduce((sum, other) => sum + other.length, url.length);
      if (this.urls.length >= Number(this.form.dataset.mostImages) || size > limit) {
        this.tell(new Wrong(this.input, `${name} is too much: at most ${this.form.dataset.mostImages} pictures of ${Math.floor((limit * 3) / 4 / 2 ** 20 * 10) / 10} MiB together.`));
        return;
      }
      this.urls.push(url);
      const remove = element("button", { type: "button", className: "button button--quiet button--small" }, `Remove ${name}`);
      const shown = element("li", { className: "picture" }, element("img", { src: url, alt: name }), remove);
      remove.addEventListener("click", () => {
        this.urls.splice(this.urls.indexOf(url), 1);
        shown.remove();
        this.input.focus();
      });
      this.place.append(shown);
    }
  }

  // The data URL of a picture, with the type that its bytes have; empty for anything else.
  function picture(url) {
    const content = url.slice(url.indexOf(",") + 1);
    const beginning = url.includes(",") ? atob(content.slice(0, LONGEST_BEGINNING)) : "";
    const found = PICTURES.find(([, begins]) => begins.test(beginning));
    return found ? `data:${found[0]};base64,${content}` : "";
  }

  function read(file) {
    return new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(file);
    });
  }

  // The body of `POST /api/compare`. Throws `Wrong`.
  function body(form, pictures, models) {
    const fields = form.elements;
    const prompt = fields.prompt.value;
    if (!prompt.trim() && !pictures.urls.length) throw new Wrong(fields.prompt, "Write what you want to ask.");
    const parts = pictures.urls.map((url) => ({ type: "image_url", image_url: { url } }));
    const content = parts.length ? [{ type: "text", text: prompt }, ...parts] : prompt;
    const system = fields.system.value.trim() ? [{ role: "system", content: fields.system.value }] : [];
    const asked = {
      models,
      stream: true,
      messages: [...system, { role: "user", content }],
      temperature: number(fields.temperature, 0, 2, false),
      max_tokens: number(fields.max_tokens, 1, 1000000, true),
      top_p: number(fields.top_p, 0, 1, false),
      reasoning_effort: fields.reasoning_effort.value || undefined,
      tools: tools(fields.tools),
      response_format: schema(fields.schema),
      taskHint: fields.task.value || undefined,
      x_komilion: { explain: true },
    };
    return asked;
  }

  Object.assign(window.Playground, { Wrong, Pictures, body });
})();
