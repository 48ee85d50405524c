// Controls to mark span A (from, queries) and span B (to, keys): on the tokens of the text, by
// dragging or with Shift and the arrows, or as whole segments.

import { button, menu, radioGroup, orShort } from "../shared/controls.js";
import { element, hearChanges, tokenElement, taken, listen } from "../shared/dom.js";
import { whyNotBetween } from "./between.js";
import { sayHeads } from "./scale.js";

const SPAN_NAMES = { a: "A, from", b: "B, to" };

/** A row of the tokens of one side; its owner says what is marked. */
class TokenRow {
  /**
   * @param {string} label
   * @param {{draft: (from: number, to: number) => void, mark: (from: number, to: number) => void, done: () => void, choose: (name: string) => void}} does
   *   draft: a span is being dragged; mark: it is final; done: the next one may follow; choose: the
   *   key A or B was pressed
   * @param {AbortSignal} signal
   */
  constructor(label, does, signal) {
    this.does = does;
    this.root = element("div.tl-span-row#span-row", {
      role: "listbox",
      "aria-multiselectable": "true",
      "aria-label": label,
    });
    listen(this.root, "pointerdown", signal, (event) => this.#pressed(event));
    listen(this.root, "pointermove", signal, (event) => this.#moved(event));
    listen(this.root, "pointerup pointercancel", signal, () => this.#released());
    listen(this.root, "keydown", signal, (event) => this.#key(event));
    this.at = 0;
  }

  /** @param {string[]} tokens */
  list(tokens) {
    this.tokens = tokens.map((token, i) =>
      element(
        "span.tl-span-token",
        { role: "option", tabindex: i ? -1 : 0, "data-index": i, "aria-selected": "false" },
        tokenElement(token),
      ),
    );
    this.at = 0;
    this.root.replaceChildren(...this.tokens);
  }

  /** @param {Record<string, import("./between.js").Span | null>} spans by name */
  show(spans) {
    this.tokens.forEach((token, i) => {
      const on = Object.keys(spans).filter(
        (name) => spans[name] && i >= spans[name][0] && i < spans[name][1],
      );
      for (const name of ["a", "b"]) {
        token.classList.toggle(`tl-in-${name}`, on.includes(name));
        token.classList.toggle(`tl-begins-${name}`, on.includes(name) && i === spans[name][0]);
      }
      token.setAttribute("aria-selected", String(on.length > 0));
      token.title = sayHeads("token_of", {
        i,
        part: on.length ? sayHeads("in", { on: on.join(" and ").toUpperCase() }) : "",
      });
    });
  }

  #pressed(event) {
    const index = indexAt(event.target);
    if (index === null || event.button) return;
    event.preventDefault(); // do not select text
    this.pressed = event.shiftKey ? this.at : index;
    this.from = undefined;
    this.#stop(index);
    this.to = index;
    this.does.draft(this.pressed, index);
    this.root.setPointerCapture(event.pointerId);
  }

  #moved(event) {
    if (this.pressed === undefined || !event.buttons) return;
    const index = indexAt(document.elementFromPoint(event.clientX, event.clientY), this.root);
    if (index === null || index === this.to) return;
    this.to = index;
    this.does.draft(this.pressed, index);
  }

  #released() {
    if (this.pressed === undefined) return;
    this.does.mark(this.pressed, this.to);
    this.pressed = undefined;
    this.does.done();
  }

  #key(event) {
    const { length } = this.tokens;
    const by = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -1,
      ArrowDown: 1,
      Home: -length,
      End: length,
    }[event.key];
    const name = event.key.toLowerCase();
    if (by) {
      if (event.shiftKey) this.from ??= this.at;
      else if (this.from !== undefined) {
        this.from = undefined;
        this.does.done();
      }
      this.#stop(Math.max(0, Math.min(length - 1, this.at + by)));
      if (event.shiftKey) this.does.mark(this.from, this.at);
    } else if (event.key === "Enter" || event.key === " ") {
      this.from = undefined;
      this.does.mark(this.at, this.at);
      this.does.done();
    } else if (name === "a" || name === "b") this.does.choose(name);
    else return;
    taken(event);
  }

  #stop(index) {
    this.tokens[this.at].tabIndex = -1;
    this.at = index;
    this.tokens[index].tabIndex = 0;
    this.tokens[index].focus();
  }
}

/** @param {Element | null} target @param {Element} [within] */
function indexAt(target, within) {
  const token = /** @type {HTMLElement | null} */ (target?.closest?.("[data-index]") ?? null);
  return token && (!within || within.contains(token)) ? Number(token.dataset.index) : null;
}

export class Spans {
  /** @param {import("../shared/shell.js").Shell} shell @param {import("./state.js").HeadState} state */
  constructor(shell, state) {
    this.shell = shell;
    this.state = state;
    const { signal, root } = shell;
    this.marks = "a";
    this.open = false;
    this.draft = {};
    this.opener = button(sayHeads("from_a_to_b"), "spans", sayHeads("show_only_what_goes"), () =>
      this.toggle(!this.open),
    );
    this.opener.replaceChildren(...orShort(sayHeads("from_a_to_b"), sayHeads("from_a_to_b_short")));
    this.which = radioGroup({
      label: sayHeads("mark"),
      part: "span-which",
      chosen: "a",
      choices: Object.entries(SPAN_NAMES).map(([value, text]) => ({ value, text })),
      choose: (name) => this.#choose(name),
    });
    this.segments = menu(sayHeads("segments_of_the_text"), "segments", [], (value) =>
      this.#segments(value),
    );
    this.clear = button(sayHeads("reset"), "span-clear", sayHeads("show_the_whole_map"), () =>
      this.#set(null, null),
    );
    this.how = element("span.tl-quiet#span-how");
    this.why = element("span.tl-span-why#span-why", { role: "status" });
    const span = (from, to) =>
      /** @type {[number, number]} */ ([Math.min(from, to), Math.max(from, to) + 1]);
    const row = (label, only) =>
      new TokenRow(
        label,
        {
          draft: (from, to) => {
            this.draft = { [only ?? this.marks]: span(from, to) };
            this.#show();
          },
          mark: (from, to) => this.#mark(only ?? this.marks, span(from, to)),
          done: () => this.state.model.get("a") && !this.state.model.get("b") && this.#choose("b"),
          choose: (name) => !only && this.#choose(name),
        },
        signal,
      );
    this.rows = {
      both: row(sayHeads("tokens_drag_or_shift")),
      a: row(sayHeads("queries_drag_or_shift"), "a"),
      b: row(sayHeads("keys_drag_or_shift"), "b"),
    };
    this.root = element(
      "section.tl-spans#span-panel",
      { "aria-label": sayHeads("from_a_to_b_label"), hidden: true },
      element(
        "div.tl-span-tools",
        this.which.root,
        this.segments.root,
        this.clear,
        this.how,
        this.why,
      ),
      Object.values(this.rows).map(({ root: made }) => made),
    );
    listen(root, "keydown", signal, (event) => {
      if (
        event.key !== "Escape" ||
        event.cancelBubble ||
        !(state.model.get("a") || state.model.get("b"))
      )
        return;
      event.stopPropagation();
      this.#set(null, null);
    });
  }

  /** Start, once the first text has arrived. */
  start() {
    const { model } = this.state;
    const { signal } = this.shell;
    hearChanges(model, ["a", "b"], signal, () => this.#changed());
    hearChanges(model, ["kind", "_kinds"], signal, () => {
      if (!model.get("_live") && (model.get("a") || model.get("b"))) this.#set(null, null); // the spans name tokens of another text
      this.#show();
    });
    this.open = Boolean(model.get("a") || model.get("b"));
    this.#show();
  }

  /** @param {boolean} open */
  toggle(open) {
    this.open = open;
    if (!open) this.#set(null, null);
    this.#show();
    this.shell.redraw();
  }

  #choose(name) {
    this.marks = name;
    this.#show();
  }

  #segments(value) {
    const { segments = [] } = this.state.kind;
    const [from, to] = value.split(",").map((i) => segments[Number(i)]);
    if (to) this.#set(from, to);
  }

  /** @param {"a" | "b"} name @param {import("./between.js").Span} span */
  #mark(name, span) {
    const { model } = this.state;
    const spans = { a: model.get("a"), b: model.get("b"), [name]: span };
    const why = spans.a && spans.b ? whyNotBetween(spans.a, spans.b, this.state.kind) : "";
    this.draft = {};
    if (!why) this.#set(spans.a, spans.b);
    this.why.textContent = why;
    this.#show();
  }

  #set(a, b) {
    if (!a && !b) this.marks = "a";
    this.why.textContent = "";
    this.state.set({ a, b });
  }

  #changed() {
    const { model } = this.state;
    if (model.get("a") && model.get("b")) this.open = true;
    this.#show();
    this.shell.redraw();
  }

  #show() {
    const { model, kind } = this.state;
    const { a, b } = { a: model.get("a"), b: model.get("b"), ...this.draft };
    const { both, a: queries, b: keys } = this.rows;
    const shown = this.open && !kind.over;
    this.opener.hidden = Boolean(kind.over);
    this.opener.setAttribute("aria-expanded", String(shown));
    this.root.hidden = !shown;
    if (!shown) return;
    if (this.listed !== kind) this.#list(kind);
    this.which.root.hidden = !kind.same;
    this.which.set(this.marks);
    this.clear.disabled = !a && !b;
    this.how.hidden = Boolean(a && b);
    this.how.textContent = sayHeads("drag_across_the_words", {
      part: a ? sayHeads("that_a_attends_to") : sayHeads("that_attend_a"),
    });
    if (kind.same) both.show({ a, b });
    else {
      queries.show({ a });
      keys.show({ b });
    }
    const { segments = [] } = kind;
    const at = (span) =>
      segments.findIndex((one) => span && one[0] === span[0] && one[1] === span[1]);
    this.segments.set(at(a) < 0 || at(b) < 0 ? "" : `${at(a)},${at(b)}`);
  }

  #list(kind) {
    this.listed = kind;
    const { both, a, b } = this.rows;
    both.root.hidden = !kind.same;
    for (const row of [a, b]) row.root.hidden = kind.same;
    if (kind.same) both.list(kind.query_tokens.slice(0, kind.queries));
    else {
      a.list(kind.query_tokens.slice(0, kind.queries));
      b.list(kind.key_tokens.slice(0, kind.keys));
    }
    const { segments = [] } = kind;
    const names = kind.segment_names ?? segments.map((_, i) => sayHeads("segment", { i: i + 1 })); // unnamed in views saved earlier
    const pairs = segments
      .flatMap((_, from) => segments.map((_, to) => [from, to]))
      .filter(([from, to]) => !whyNotBetween(segments[from], segments[to], kind));
    this.segments.root.replaceChildren(
      element("option", { value: "" }, sayHeads("segments")),
      ...pairs.map(([from, to]) =>
        element(
          "option",
          { value: `${from},${to}` },
          from === to ? sayHeads("within", { name: names[from] }) : `${names[from]} → ${names[to]}`,
        ),
      ),
    );
    this.segments.root.hidden = !pairs.length;
  }
}
