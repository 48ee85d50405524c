// The card of a prediction: a box to write in, then the text that was written.

import { keepKeys } from "../views/shared/keys.js";
import { element, say } from "../views/shared/dom.js";

/** The form with the box; Enter saves. @param {any} model @param {{text: string}} draft @param {() => void} close */
function predictionForm(model, draft, close) {
  const words = model.get("_words");
  const box = element("textarea", {
    rows: 2,
    maxlength: model.get("_most"),
    placeholder: words.placeholder,
    "aria-label": words.title,
  });
  const save = element("button", { type: "submit" }, words.save);
  const form = element("form", box, save);
  const typed = () => {
    draft.text = box.value;
    save.disabled = !box.value.trim();
  };
  box.value = draft.text;
  typed();
  box.addEventListener("input", typed);
  box.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape" && model.get("guess")) close();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!box.value.trim()) return;
    if (box.value.trim() === model.get("guess")) return close();
    save.disabled = true;
    model.send({ guess: box.value });
  });
  return form;
}

/** The text that was written, with a button to change it. @param {any} model @param {() => void} open */
function predictionKept(model, open) {
  const change = element("button", { click: open }, model.get("_words").change);
  const text = element("blockquote", model.get("guess"));
  return element("div.tl-kept", text, change);
}

export default {
  render({ model, el, signal }) {
    el.classList.add("tl-predict");
    keepKeys(el, signal);
    const words = model.get("_words");
    const sign = element("span", { "aria-hidden": "true" }, "?");
    const title = element("div.tl-title", sign, element("b", words.title));
    const body = element("div");
    const note = element("p.tl-note", { role: "status" });
    const draft = { text: model.get("guess") };
    const draw = (writing = !model.get("guess")) => {
      const close = () => draw(false);
      const open = () => {
        draft.text = model.get("guess");
        draw(true);
        body.querySelector("textarea").focus();
      };
      body.replaceChildren(
        writing ? predictionForm(model, draft, close) : predictionKept(model, open),
      );
      say(note, model.get("_note") || (writing ? words.hint : ""));
    };
    el.replaceChildren(title, body, note);
    draw();
    const changed = () => draw();
    for (const name of ["change:guess", "change:_note"]) {
      model.on(name, changed);
      signal?.addEventListener("abort", () => model.off(name, changed));
    }
  },
};
