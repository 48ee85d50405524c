// One score: the row that it competes in, its dimensions, and which components wrote what query and
// key carry.

import { mounted } from "../shared/mounted.js";
import { aliveScores } from "./alive.js";
import { Answers } from "../shared/answers.js";
import { colourTable } from "../shared/colours.js";
import { headChoice, kindChoice, putAnew, radioGroup, stepped } from "../shared/controls.js";
import {
  element,
  hint,
  listen,
  moveOf,
  panelPart,
  picturePart,
  rowPart,
  tableParts,
  within,
} from "../shared/dom.js";
import { linked } from "../shared/linked.js";
import { firstCell, largestBySize, sayWhy, WhyCell } from "./cell.js";
import { RowPanel, SourcePanel } from "./sources.js";
import { Waterfall } from "./waterfall.js";
import { fixed, numbered, withSign } from "../shared/messages.js";
import { BaseViewer } from "../shared/viewer.js";

const KNOWN = 200; // scores to keep

export class WhyViewer extends BaseViewer {
  /** @param {any} given @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(given, root, signal) {
    const model = aliveScores(given, signal);
    super(model, root, signal, {
      given,
      part: () => `layer-${model.get("layer")}-head-${model.get("head")}`,
    });
    /** @type {number | null} */
    this.place = null;
    /** @type {Answers<WhyCell>} */
    this.answers = new Answers(this.shell, {
      most: KNOWN,
      working: sayWhy("splitting_the_score"),
      read: (info, bytes) => new WhyCell(info, bytes),
      names: ({ info }) => info.names,
      show: (cell) => Object.assign(this, { cell, place: null }),
      failed: (name, error) => {
        const held = model.get("_held");
        const [, , layer, head] = name.split("/");
        return held
          ? sayWhy("this_page_holds_only", { held })
          : sayWhy("layer_head_cannot_be", { layer, head, why: error.message });
      },
    });
    this.cell = this.answers.keep(firstCell(model));
    this.link = linked(model, signal, (spot) => this.rivals.point(spot));
    this.#build();
    this.answers.follow(["kind", "layer", "head", "selected"], () => this.wanted);
    this.shell.watch(["_options"]);
    this.shell.watch(["_kinds"], () => {
      this.answers.known.clear(); // the text has changed
      this.cell = this.answers.keep(firstCell(model));
      this.place = null;
    });
  }

  // ---- state --------------------------------------------------------------------------------

  get options() {
    return this.model.get("_options") ?? {};
  }

  /** Whether the excess over the row's mean is on view. */
  get above() {
    return Boolean(this.options.above) && this.cell.info.mean !== null;
  }

  get pairs() {
    return Boolean(this.options.pairs) && this.cell.info.pairs;
  }

  /** Name of the request for the score of the current selection. */
  get wanted() {
    const kindName = this.model.get("kind");
    const { queries, keys } = this.kind;
    const [query, key] = this.model.get("selected") ?? [null, null];
    const at = (value, count) =>
      value === null || value === undefined ? "-" : Math.min(value, count - 1);
    return ["cell", kindName, this.layer, this.head, at(query, queries), at(key, keys)].join("/");
  }

  fileNumbers() {
    return this.cell.forFile(this.kind.key_tokens);
  }

  code() {
    const { kind, layer, head, query, key } = this.cell.info;
    const call = this.cell.info.sources ? "score_by_source" : "score_by_dimension";
    return this.callOn(call, kind, [layer, head, query, key], this.above && "above_mean=True");
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { root, signal, shell } = this;
    const quiet = (part) => element(`span.tl-quiet#${part}`);
    this.controlBar = element("div.tl-controls");
    this.choice = headChoice(this, (place) => this.shell.set(place));
    this.note = element("p.tl-hint#note");
    this.rivals = new RowPanel({
      choose: (query, key) => shell.set({ selected: [query, key] }),
      hover: (spot) => this.link.hover(spot),
    });
    this.sources = new SourcePanel(signal);
    this.canvas = picturePart("waterfall");
    this.fall = new Waterfall(this.canvas, (place) => this.#point(place), signal);
    this.fallHint = quiet("fall-hint");
    this.readout = element("p.tl-readout#readout");
    this.numbers = element("table.tl-table#dimensions");
    root.append(
      ...shell.above,
      this.controlBar,
      this.note,
      shell.message,
      this.sentence,
      this.answers.busy,
      element(
        "div.tl-panels.tl-why",
        panelPart(
          "row",
          sayWhy("who_competes"),
          this.rivals.hint,
          this.rivals.row,
          this.rivals.ledger,
        ),
        panelPart(
          "fall",
          sayWhy("the_score_number_by"),
          this.fallHint,
          this.canvas,
          this.readout,
          element(
            "details.tl-details",
            element("summary", sayWhy("every_number_as_a")),
            element(
              "div.tl-numbers",
              { tabindex: 0, role: "group", "aria-label": sayWhy("every_number") },
              this.numbers,
            ),
          ),
        ),
        panelPart(
          "sources",
          sayWhy("who_wrote_it"),
          this.sources.hint,
          this.sources.root,
          this.sources.note,
        ),
      ),
    );
    listen(this.canvas, "keydown", signal, (event) => this.#keyFall(event));
    this.freeByEscape();
  }

  #buildControls() {
    const { shell, model, cell } = this;
    const { queries, keys, query_tokens: queryTokens, key_tokens: keyTokens } = this.kind;
    const { query, key } = cell.info;
    const group = (label, part, choices, chosen, choose) =>
      radioGroup({ label, part, choices, chosen, choose }).root;
    const controls = [];
    this.choice.show();
    controls.push(
      kindChoice(model.get("_kinds"), model.get("kind"), (kind) => this.changeKind(kind)).root,
      this.choice.root,
      stepped({
        label: sayWhy("query_label"),
        part: "query",
        count: queries,
        chosen: query,
        text: (at) => `${at} ${queryTokens[at]}`,
        choose: (at) => shell.set({ selected: [at, null] }),
      }).root,
      stepped({
        label: sayWhy("key_label"),
        part: "key",
        count: keys,
        chosen: key,
        text: (at) => `${at} ${keyTokens[at]}`,
        choose: (at) => shell.set({ selected: [query, at] }),
      }).root,
    );
    if (cell.info.mean !== null) {
      controls.push(
        group(
          sayWhy("split"),
          "split",
          [
            { value: "score", text: sayWhy("the_score") },
            {
              value: "above",
              text: sayWhy("above_the_rows_mean"),
              name: sayWhy("what_lies_above_the"),
            },
          ],
          this.above ? "above" : "score",
          (value) => shell.set({ _options: { ...this.options, above: value === "above" } }),
        ),
      );
    }
    if (cell.info.pairs) {
      controls.push(
        group(
          sayWhy("by"),
          "unit",
          [
            { value: "dimension", text: sayWhy("dimension") },
            {
              value: "pair",
              text: sayWhy("rotary_pair"),
              name: sayWhy("rotary_pair_two_dimensions"),
            },
          ],
          this.pairs ? "pair" : "dimension",
          (value) => shell.set({ _options: { ...this.options, pairs: value === "pair" } }),
        ),
      );
    }
    putAnew(this.controlBar, controls);
  }

  // ---- what the reader does -----------------------------------------------------------------

  #point(place) {
    if (place === this.place) return;
    this.place = place;
    this.fall.mark(place);
    this.#tell();
  }

  #keyFall(event) {
    const by = moveOf(event)?.[1];
    if (!by) return;
    const count = this.fall.parts.length;
    this.#point(within(this.place === null ? (by < 0 ? count - 1 : 0) : this.place + by, count));
  }

  // ---- drawing ------------------------------------------------------------------------------

  open() {
    this.answers.open(this.wanted);
  }

  draw() {
    const { model, shell, cell } = this;
    const { kind, layer, head, query, key } = cell.info;
    this.diverging = colourTable("diverging", shell.theme);
    this.#buildControls();
    shell.subtitle.textContent = sayWhy("why_here");
    this.note.textContent = model.get("_note");
    this.note.hidden = !this.note.textContent;
    const names = model.get("_kinds")[kind];
    this.tokens = { query: names.query_tokens[query], key: names.key_tokens[key] };
    this.rivals.show(cell, this.tokens.query, names.key_tokens);
    this.#drawFall();
    this.sources.show({
      cell,
      above: this.above,
      tokens: this.tokens,
      diverging: this.diverging,
      colours: shell.inks,
    });
    this.say(sayWhy("sentence", this.#why()));
    this.canvas.ariaLabel = sayWhy("the_score_as_a", {
      parts: this.fall.parts.length,
      sentence: this.sentence.textContent,
    });
    this.root.dataset.shown = `${kind}/${layer}/${head}/${query}/${key}`;
    this.root.dataset.above = String(this.above);
  }

  #why() {
    const { cell, above } = this;
    const { kind, layer, head, query, key, weight, scaled, score, mean } = cell.info;
    const names = this.model.get("_kinds")[kind];
    const products = cell.productsOf(above);
    const dimension = largestBySize(products);
    const [keyPart, keyValue] = cell.best("key", above);
    const [queryPart, queryValue] = cell.best("query", above);
    return {
      several: this.several,
      kind,
      layer,
      head,
      query: numbered(names.query_tokens, query),
      key: numbered(names.key_tokens, key),
      weight,
      scaled,
      score,
      apart: mean === null ? null : scaled - mean,
      above,
      dimension,
      product: products[dimension],
      key_part: keyPart,
      key_value: keyValue,
      query_part: queryPart,
      query_value: queryValue,
    };
  }

  #drawFall() {
    const { cell, above, pairs, shell } = this;
    const values = pairs ? cell.byPair(above) : cell.productsOf(above);
    const box = /** @type {HTMLElement} */ (this.canvas.parentElement);
    this.drawnAs = { pairs, above };
    this.fall.show(Math.max(240, box.clientWidth), 260, {
      values,
      table: this.diverging,
      colours: shell.inks,
      unit: pairs ? sayWhy("rotary_pair") : "dimension",
    });
    this.fallHint.textContent = above ? sayWhy("q_key_the_rows") : sayWhy("q_k_scale");
    this.#tell();
    const k = above ? cell.aboveK : cell.k;
    const members = pairs ? cell.pairs : [];
    const rows = this.fall.parts.map(({ index, value, to }) =>
      rowPart(
        pairs ? members[index].join(", ") : String(index),
        pairs ? [] : [element("td", fixed(cell.q[index], 3)), element("td", fixed(k[index], 3))],
        withSign(value, 3),
        fixed(to, 3),
      ),
    );
    const names = pairs
      ? ["pair", "product", sayWhy("sum_so_far")]
      : [
          "dimension",
          "query",
          above ? sayWhy("key_above_mean") : "key",
          "product",
          sayWhy("sum_so_far"),
        ];
    this.numbers.replaceChildren(...tableParts(names, rows));
  }

  /** Show the number under the pointer. */
  #tell() {
    const { place, fall, cell } = this;
    // The options may have changed since: they are drawn in the next frame.
    const { pairs, above } = this.drawnAs;
    const part = place === null ? null : fall.parts[place];
    if (!part) {
      this.readout.replaceChildren(
        element("span.tl-quiet", hint(sayWhy("bars_add_up_to", { total: fall.total }))),
      );
      return;
    }
    const k = above ? cell.aboveK : cell.k;
    const how = pairs
      ? ""
      : `: ${fixed(cell.q[part.index], 3)} × ${fixed(k[part.index], 3)} × ${cell.info.scale.toFixed(4)}`;
    this.readout.replaceChildren(
      element(
        "span",
        `${pairs ? sayWhy("pair", { pair: cell.pairs[part.index].join(", ") }) : sayWhy("dimension_of", { index: part.index })}${how} = `,
        element("b#number", withSign(part.value, 4)),
        sayWhy("so_far", { to: part.to }),
      ),
    );
  }

  get title() {
    return sayWhy("why_here_of", { title: super.title });
  }

  pictures() {
    const parts = [
      {
        canvas: this.canvas,
        title: sayWhy("the_score_of", {
          part: this.pairs ? sayWhy("rotary_pair_by_rotary") : sayWhy("dimension_by_dimension"),
        }),
      },
    ];
    if (this.sources.split)
      parts.push({ canvas: this.sources.canvas, title: sayWhy("querys_source_row_keys") });
    return parts;
  }
}

export default mounted(WhyViewer, "why");
