// A saved page: stands in for the notebook. It gives the module its state, answers its questions
// from the blocks further down the page, and writes the page anew with the present selection.
// A plain script, so that it runs before the rest of the file has been read.
(async () => {
  "use strict";
  const place = document.getElementById("tl-state");
  const payload = JSON.parse(place.textContent);

  const decode = (text) => {
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  };
  const gunzip = async (bytes) => {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  const state = { ...payload.state };
  for (const [name, text] of Object.entries(payload.buffers)) state[name] = new DataView(decode(text).buffer);

  const handlers = new Map();
  const fire = (name, ...values) => {
    for (const handler of [...(handlers.get(name) ?? [])]) handler(...values);
  };
  const answer = (message, buffers = []) => fire("msg:custom", message, buffers);

  /** A block of this page; while the page is still being read it may be yet to come. */
  const block = async (name) => {
    for (;;) {
      const loaded = document.readyState !== "loading";
      const found = document.querySelector(`script[data-block="${CSS.escape(name)}"]`);
      if (found && (found.nextSibling || loaded)) return found;
      if (loaded) throw new Error(payload.absent);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  };
  const questions = {
    async block({ request, name }) {
      const found = await block(name);
      let bytes = decode(found.textContent);
      if (found.dataset.gzip) bytes = await gunzip(bytes);
      const { sizes, info } = JSON.parse(found.dataset.info);
      let from = 0;
      const buffers = sizes.map((size) => new DataView(bytes.buffer, (from += size) - size, size));
      answer({ type: "block", request, info }, buffers);
    },
    async page({ request }) {
      while (document.readyState === "loading") await new Promise((resolve) => setTimeout(resolve, 30));
      const copy = /** @type {HTMLElement} */ (document.documentElement.cloneNode(true));
      copy.querySelector("#tl-root").replaceChildren();
      const now = Object.fromEntries(Object.keys(payload.state).map((name) => [name, state[name]]));
      copy.querySelector("#tl-state").textContent = JSON.stringify({ ...payload, state: now }).replace(
        /[&<>\u2028\u2029]/g,
        (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
      );
      const root = copy.querySelector("#tl-root");
      for (const attribute of [...root.attributes]) if (attribute.name !== "id") root.removeAttribute(attribute.name);
      for (const style of copy.querySelectorAll("style[data-view]")) style.remove();
      const text = `<!DOCTYPE html>\n${copy.outerHTML}`;
      answer({ type: "page", request }, [new DataView(new TextEncoder().encode(text).buffer)]);
    },
  };

  const model = {
    get: (name) => state[name],
    set(name, value) {
      for (const [key, next] of Object.entries(typeof name === "object" ? name : { [name]: value })) {
        if (state[key] === next) continue;
        state[key] = next;
        fire(`change:${key}`, model, next);
      }
    },
    save_changes() {},
    send(message) {
      const asked = questions[message.type];
      const failed = (error) => answer({ type: "error", request: message.request, message: error.message });
      Promise.resolve()
        .then(() => (asked ? asked(message) : Promise.reject(new Error("this page cannot do that"))))
        .catch(failed);
    },
    on(names, handler) {
      for (const name of names.split(" ")) {
        if (!handlers.has(name)) handlers.set(name, new Set());
        handlers.get(name).add(handler);
      }
    },
    off(names, handler) {
      for (const name of names.split(" ")) handlers.get(name)?.delete(handler);
    },
  };

  const style = document.createElement("style");
  style.dataset.view = "";
  style.textContent = state._css ?? "";
  document.head.append(style);
  const url = URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" }));
  const root = document.getElementById("tl-root");
  try {
    const view = (await import(url)).default;
    await view.render({ model, el: root, signal: new AbortController().signal });
  } catch (error) {
    root.textContent = `This view could not be drawn: ${error.message}`;
    throw error;
  }
  // A page in a frame tells how tall it is, and wears the theme of whoever holds the frame.
  if (window.parent !== window) {
    window.addEventListener("message", (event) => {
      const theme = event.source === window.parent && event.data?.transformerLabTheme;
      if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    });
    const tell = () => window.parent.postMessage({ transformerLabHeight: document.documentElement.scrollHeight }, "*");
    new ResizeObserver(tell).observe(root);
    tell();
  }
})();
