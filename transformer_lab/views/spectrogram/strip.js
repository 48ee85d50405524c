// The words of the answer, above their sentence, whose length varies, so that they stay under the
// pointer; a word is previewed while it is pointed at.

import { radioGroup } from "../shared/controls.js";
import { listen } from "../shared/dom.js";
import { view } from "./scene.js";

/** @param {any} viewer */
export function wordStrip(viewer) {
  const { shell, signal } = viewer;
  const made = radioGroup({
    label: view.say("word_of_the_answer"),
    part: "words",
    chosen: null,
    choices: viewer.state.sound.words.map((text, value) => ({ value, text })),
    choose(word) {
      viewer.unpoint();
      shell.set({ selected: [word, null] });
    },
  });
  const { root } = made;
  root.classList.add("tl-words");
  const wordOf = ({ target }) => {
    const { value } = target.closest?.("[data-value]")?.dataset ?? {};
    return value === undefined ? null : Number(value);
  };
  listen(root, "pointerover", signal, (event) => viewer.pointAt("words", wordOf(event)));
  listen(root, "pointerleave", signal, () => viewer.pointAt("words", null));
  return {
    root,
    set([chosen, pointed]) {
      made.set(chosen);
      for (const chip of root.querySelectorAll(".tl-chip"))
        chip.classList.toggle("tl-previewed", chip.dataset.value === String(pointed));
    },
  };
}
