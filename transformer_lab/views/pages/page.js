// A saved page: replaces the notebook. It gives the module its state, answers its questions from
// the blocks further down the page, and saves the page again with the current selection. A plain
// script, so that it runs before the rest of the file has been read.
(async () => {
  "use strict";
  /** @type {any} */ (window).transformerLabBegan = true; // for the check that the page is complete
  const DAMAGED =
    "this page is not as it was written: a part of it is damaged. Save it again, or copy it again";
  const place = document.getElementById("tl-state");

  const remainders = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  /** CRC-32 of texts and bytes in sequence. */
  const checksum = (...parts) => {
    let rest = 0xffffffff;
    for (const part of parts) {
      const bytes = typeof part === "string" ? new TextEncoder().encode(part) : part;
      for (let i = 0; i < bytes.length; i++)
        rest = remainders[(rest ^ bytes[i]) & 0xff] ^ (rest >>> 8);
    }
    return String((rest ^ 0xffffffff) >>> 0);
  };
  /**
   * Whether a part is as it was written; true for pages of older versions, which have no checksums.
   */
  const whole = ({ dataset }, ...parts) =>
    dataset.sum === undefined || dataset.sum === checksum(...parts);
  if (!whole(place, place.textContent)) {
    document.getElementById("tl-root").textContent =
      `${DAMAGED[0].toUpperCase()}${DAMAGED.slice(1)}.`;
    return;
  }
  const payload = JSON.parse(place.textContent);

  const decode = (text) => {
    if ("fromBase64" in Uint8Array) return /** @type {any} */ (Uint8Array).fromBase64(text);
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  };
  const encode = (bytes) => {
    if (bytes.toBase64) return bytes.toBase64();
    const pieces = [];
    for (let i = 0; i < bytes.length; i += 0x8000)
      pieces.push(String.fromCharCode(...bytes.subarray(i, i + 0x8000)));
    return btoa(pieces.join(""));
  };
  const gunzip = async (bytes) => {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  const state = { ...payload.state, _saved: true };
  for (const [name, text] of Object.entries(payload.buffers))
    state[name] = new DataView(decode(text).buffer);
  const written = Object.fromEntries(
    Object.keys(payload.buffers).map((name) => [name, state[name]]),
  );
  delete payload.buffers; // a long page's are megabytes, and are in the page as well

  const handlers = new Map();
  const fire = (name, ...values) => {
    for (const handler of [...(handlers.get(name) ?? [])]) handler(...values);
  };
  const answer = (message, buffers = []) => fire("msg:custom", message, buffers);

  // Blocks are held as binary blobs, which the browser keeps outside of the page and may put on
  // disk: as text, all heads of 4,096 tokens would fill 400 MB.
  /** @param {ParentNode} within @param {string} selector @returns {NodeListOf<HTMLTemplateElement>} */
  const templates = (within, selector) => within.querySelectorAll(selector);
  const STAYS = 1 << 16; // characters of a block that may stay text
  /** @type {Map<string, {shell: HTMLElement, blob: Blob}>} */
  const held = new Map();
  const complete = (found) => found.nextSibling || document.readyState !== "loading";
  const hold = () => {
    for (const found of templates(document, "template[data-block]")) {
      if (!complete(found)) return;
      const text = found.dataset.stays ? "" : found.content.textContent;
      if (text.length <= STAYS) {
        found.dataset.stays = "1";
        continue;
      }
      let bytes;
      try {
        bytes = decode(text);
      } catch {
        found.dataset.stays = "1"; // damaged, which is reported on request
        continue;
      }
      found.remove();
      for (const node of found.content.childNodes) node.nodeValue = ""; // free it now, not at the next garbage collection
      held.set(found.dataset.block, { shell: found, blob: new Blob([bytes]) });
      bytes.buffer.transfer?.(0); // frees the memory
    }
  };
  new MutationObserver(hold).observe(document.body, { childList: true });
  document.addEventListener("DOMContentLoaded", hold);

  /** What the page around this frame holds for all its frames, as text. */
  const around = (name) =>
    new Promise((resolve, reject) => {
      const heard = (event) => {
        if (event.source !== window.parent || event.data?.transformerLabGives !== name) return;
        window.removeEventListener("message", heard);
        if (event.data.text) resolve(event.data.text);
        else reject(new Error(payload.absent));
      };
      window.addEventListener("message", heard);
      setTimeout(() => reject(new Error(payload.absent)), 20_000); // the page around may not know it
      window.parent.postMessage({ transformerLabAsks: name }, "*");
    });

  /**
   * A block of this page: its element and a function that returns its bytes. While the page is
   * still being read, wait for it.
   */
  const block = async (name) => {
    for (;;) {
      const loaded = document.readyState !== "loading";
      const here = held.get(name);
      if (here) {
        const bytes = new Uint8Array(await here.blob.arrayBuffer());
        return { shell: here.shell, bytes: () => bytes };
      }
      const [found] = templates(document, `template[data-block="${CSS.escape(name)}"]`);
      if (found && complete(found)) {
        const text = found.dataset.around
          ? await around(found.dataset.around)
          : found.content.textContent;
        return { shell: found, bytes: () => decode(text) };
      }
      if (loaded && state._needs?.includes(name) && window.parent !== window) {
        const text = await around(name);
        return { shell: null, bytes: () => decode(text) };
      }
      if (loaded) throw new Error(payload.absent);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  };
  /** What a block holds: its facts, and its bytes one by one. */
  const unpacked = async (shell, packed) => {
    const { dataset } = shell;
    const held = packed();
    if (!whole(shell, dataset.info, held)) throw new Error(DAMAGED);
    const bytes = dataset.gzip ? await gunzip(held) : held;
    const { sizes, info } = JSON.parse(dataset.info);
    let from = 0;
    const buffers = sizes.map((size) => new DataView(bytes.buffer, (from += size) - size, size));
    return { info, buffers };
  };
  const questions = {
    async block({ request, name }) {
      const { shell, bytes } = await block(name);
      if (!shell)
        return answer({ type: "block", request, info: {} }, [new DataView(bytes().buffer)]);
      const { info, buffers } = await unpacked(shell, bytes).catch(() =>
        Promise.reject(new Error(DAMAGED)),
      );
      answer({ type: "block", request, info }, buffers);
    },
    async page({ request }) {
      while (document.readyState === "loading")
        await new Promise((resolve) => setTimeout(resolve, 30));
      const copy = /** @type {HTMLElement} */ (document.documentElement.cloneNode(true));
      copy.querySelector("#tl-root").replaceChildren();
      copy.querySelector("[data-cut]")?.remove();
      const now = Object.fromEntries(Object.keys(payload.state).map((name) => [name, state[name]]));
      const { buffers } = JSON.parse(place.textContent);
      for (const [name, was] of Object.entries(written)) {
        const { buffer, byteOffset, byteLength } = state[name];
        if (state[name] !== was)
          buffers[name] = encode(new Uint8Array(buffer, byteOffset, byteLength));
      }
      if (now._carried?.moved) copy.querySelector("noscript")?.remove(); // it describes another text
      const script = /** @type {HTMLElement} */ (copy.querySelector("#tl-state"));
      script.textContent = JSON.stringify({ ...payload, buffers, state: now }).replace(
        /[&<>\u2028\u2029]/g,
        (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
      );
      script.dataset.sum = checksum(script.textContent);
      const root = copy.querySelector("#tl-root");
      for (const attribute of [...root.attributes])
        if (attribute.name !== "id") root.removeAttribute(attribute.name);
      for (const style of copy.querySelectorAll("style[data-view]")) style.remove();
      for (const small of copy.querySelectorAll("template[data-stays]"))
        small.removeAttribute("data-stays");
      for (const hollow of templates(copy, "template[data-around]")) {
        hollow.content.textContent = await around(hollow.dataset.around); // the copy is on its own
        hollow.removeAttribute("data-around");
      }
      const text = `<!DOCTYPE html>\n${copy.outerHTML}\n`;
      const end = text.lastIndexOf("</body>");
      /** @type {BlobPart[]} */
      const parts = [text.slice(0, end)];
      for (const { shell, blob } of held.values()) {
        const close = "</template>";
        const open = shell.outerHTML.slice(0, -close.length);
        parts.push(
          new Blob([open, encode(new Uint8Array(await blob.arrayBuffer())), `${close}\n`]),
        );
      }
      answer({ type: "page", request }, [new Blob([...parts, text.slice(end)])]);
    },
  };

  const model = {
    get: (name) => state[name],
    set(name, value) {
      const given = Object.entries(typeof name === "object" ? name : { [name]: value });
      const changed = given.filter(([key, next]) => state[key] !== next);
      for (const [key, next] of changed) state[key] = next; // all of them before any handler runs
      for (const [key, next] of changed) fire(`change:${key}`, model, next);
    },
    save_changes() {},
    send(message) {
      const asked = questions[message.type];
      const failed = (error) =>
        answer({ type: "error", request: message.request, message: error.message });
      Promise.resolve()
        .then(() =>
          asked ? asked(message) : Promise.reject(new Error("this page cannot do that")),
        )
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
  // A page in a frame reports its height, and follows the theme of the page around it.
  if (window.parent !== window) {
    window.addEventListener("message", (event) => {
      const theme = event.source === window.parent && event.data?.transformerLabTheme;
      if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    });
    const tell = () =>
      window.parent.postMessage({ transformerLabHeight: document.body.scrollHeight }, "*");
    new ResizeObserver(tell).observe(root);
    tell();
  }
})();
