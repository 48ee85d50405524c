// The attribution of one logit. A click on an edge cuts it, and the prediction changes.

import { mounted } from "../shared/mounted.js";
import { aliveFlows } from "./alive.js";
import { Answers } from "../shared/answers.js";
import { colourTable, headColour } from "../shared/colours.js";
import {
  button,
  checkbox,
  putAnew,
  radioGroup,
  removeAll,
  slider,
  stepped,
} from "../shared/controls.js";
import {
  element,
  hearPointer,
  hint,
  listen,
  panelPart,
  picturePart,
  rowPart,
  tableParts,
  taken,
  tokenElement,
} from "../shared/dom.js";
import { linked } from "../shared/linked.js";
import { linearLegend } from "../shared/shell.js";
import { percentText, withSign } from "../shared/messages.js";
import { numbersOf } from "../shared/files.js";
import {
  cutOf,
  edgeOf,
  FlowFound,
  flowName,
  FlowPicture,
  sameCut,
  sortedCuts,
  sayFlow,
} from "./picture.js";
import { BaseViewer } from "../shared/viewer.js";

const FLOWS = 60; // flows to keep
const STOPS = [0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1];
const LISTED = 40; // edges of the table
const MLPS = 8; // rows of the sum; if there are more, the others share one row

/** @typedef {import("./picture.js").Edge} Edge */

export class FlowViewer extends BaseViewer {
  /** @param {any} given @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(given, root, signal) {
    const model = aliveFlows(given, signal);
    super(model, root, signal, {
      given,
      part: () => `position-${model.get("position")}`,
      sentence: () => this.sentence.textContent ?? "",
    });
    /** @type {Answers<FlowFound>} */
    this.answers = new Answers(this.shell, {
      most: FLOWS,
      working: sayFlow("following_the_logit"),
      read: (info, bytes) => new FlowFound(info, bytes, this.layers, this.tokens.length),
      names: ({ info }) => info.names,
      show: (found) => this.#show(found),
      failed: (_, error) => this.#failed(error),
    });
    this.refusal = "";
    /** @type {Map<number, number>} position -> the token that is meant if none is named */
    this.likeliest = new Map();
    this.#first();
    linked(model, signal);
    this.#build();
    this.answers.follow(["position", "token", "cuts"], () => this.wanted);
    this.shell.watch(["threshold", "layer", "head", "selected", "_options", "_circuit"]);
    this.shell.watch(["_tokens"], () => {
      this.answers.known.clear(); // the text has changed
      this.likeliest.clear();
      this.#first();
    });
  }

  /** The flow of the first screen. */
  #first() {
    const { model, answers } = this;
    this.#show(
      answers.keep(
        new FlowFound(model.get("_flow"), model.get("_flow_data"), this.layers, this.tokens.length),
      ),
    );
  }

  // ---- state --------------------------------------------------------------------------------

  /** @returns {string[]} */
  get tokens() {
    return this.model.get("_tokens");
  }

  get layers() {
    return this.kind.layers;
  }

  get shown() {
    return this.found.shown(this.model.get("threshold"));
  }

  get circuit() {
    const over = this.model.get("_circuit");
    return over?.sentence ? over : null;
  }

  /** Name of the request for the chosen flow. */
  get wanted() {
    const position = this.model.get("position");
    const token = this.model.get("token");
    return flowName(
      position,
      token === this.likeliest.get(position) ? null : token,
      this.model.get("cuts"),
    );
  }

  get isOver() {
    return Boolean(this.circuit) && (this.model.get("_options")?.circuit ?? true);
  }

  /** The edge in focus, if it is shown or cut. */
  get focus() {
    const [query, key] = this.model.get("selected") ?? [null, null];
    const own = [this.model.get("layer"), this.model.get("head"), query, key];
    return this.#reachable().find((edge) => sameCut(cutOf(edge), own)) ?? null;
  }

  /** @returns {Edge[]} */
  #reachable() {
    return [...this.found.edges.slice(0, this.shown), ...this.found.info.cuts.map(edgeOf)];
  }

  get title() {
    return sayFlow("flow", { title: super.title });
  }

  pictures() {
    return [{ canvas: this.canvas, title: sayFlow("tokens_from_left_to") }];
  }

  code() {
    const { token, position, cuts } = this.found.info;
    if (!cuts.length) return `tl.circuits.token_flow(trace, ${token}, ${position})`;
    const edits = cuts.map(
      ([layer, head, query, key]) => `tl.knock_out(${layer}, ${head}, query=${query}, key=${key})`,
    );
    return `with tl.edit(model, ${edits.join(", ")}):\n    tl.circuits.token_flow(tl.trace(model, tokens), ${token}, ${position})`;
  }

  /** @param {FlowFound} found */
  #show(found) {
    if (found !== this.found) this.refusal = "";
    this.found = found;
    const { names, position, token } = found.info;
    if (names.length > 1) this.likeliest.set(position, token);
  }

  /** Keep what is on view, and undo the choice that failed. @param {Error} error */
  #failed(error) {
    const { position, token, cuts } = this.found.info;
    const saved = this.model.get("_saved");
    this.refusal =
      saved && !this.model.get("_live")
        ? sayFlow("this_page_holds_the")
        : sayFlow("this_cannot_be_shown", { why: error.message });
    this.shell.set({ position, token, cuts });
    return this.refusal;
  }

  // ---- building -----------------------------------------------------------------------------

  #build() {
    const { root, signal, shell } = this;
    this.controlBar = element("div.tl-controls");
    this.slider = slider({
      label: sayFlow("threshold"),
      part: "threshold",
      values: STOPS,
      value: this.model.get("threshold"),
      title: sayFlow("edges_below_this_share"),
      text: (share) => `${Math.round(100 * share)}%`,
      change: (share) => shell.set({ threshold: share }),
    });
    this.over = checkbox(sayFlow("the_circuits_heads_stand"), "over", (on) =>
      shell.set({ _options: { ...this.model.get("_options"), circuit: on } }),
    );
    this.note = element("p.tl-hint#note");
    this.canvas = picturePart("flow");
    this.names = element("canvas.tl-flow-names", { "aria-hidden": "true" });
    this.picture = new FlowPicture(this.canvas, this.names);
    this.box = element("div.tl-flow-box", this.names, this.canvas);
    this.readout = element("p.tl-readout#readout");
    this.legend = element("div.tl-legend");
    this.heads = element("p.tl-hint.tl-flow-heads#heads");
    this.table = element("table.tl-blocks#answers");
    this.sum = element("table.tl-table#sum");
    this.mlps = element("table.tl-table#mlps");
    this.everyMlp = element(
      "details.tl-details",
      element("summary", sayFlow("every_mlp_as_a")),
      element(
        "div.tl-flow-list",
        { tabindex: 0, role: "group", "aria-label": sayFlow("every_mlp") },
        this.mlps,
      ),
    );
    this.list = element("table.tl-blocks.tl-flow-edges#edges");
    this.circuitSaid = element("p.tl-flow-circuit#circuit", { hidden: true });
    root.append(
      ...shell.above,
      this.controlBar,
      this.note,
      shell.message,
      this.sentence,
      this.circuitSaid,
      this.answers.busy,
      element(
        "div.tl-panels.tl-flow",
        panelPart(
          "flow",
          sayFlow("from_token_to_token"),
          hint(sayFlow("click_an_edge_to")),
          this.heads,
          this.legend,
          this.readout,
          this.box,
        ),
        panelPart(
          "side",
          sayFlow("what_comes_next"),
          "",
          this.table,
          element("p.tl-heading", element("b", sayFlow("what_the_logit_is"))),
          this.sum,
          this.everyMlp,
          element(
            "details.tl-details",
            element("summary", sayFlow("the_edges_as_a")),
            element(
              "div.tl-flow-list",
              { tabindex: 0, role: "group", "aria-label": sayFlow("the_edges") },
              this.list,
            ),
          ),
        ),
      ),
    );
    hearPointer(this.canvas, signal, (x, y) => this.picture.hit(x, y), {
      hover: (edge) => this.#point(edge),
      pick: (edge) => this.#cut(edge),
    });
    listen(this.canvas, "keydown", signal, (event) => this.#key(event));
    this.freeByEscape();
  }

  #buildControls() {
    const { shell, model, found, tokens } = this;
    const { position, token, answers, cuts } = found.info;
    const controls = [
      stepped({
        label: sayFlow("after"),
        part: "position",
        count: tokens.length,
        chosen: position,
        text: (at) => `${at} ${tokens[at]}`,
        choose: (at) => shell.set({ position: at, token: null }),
      }).root,
      radioGroup({
        label: sayFlow("toward"),
        part: "token",
        choices: answers.map(([id, name]) => ({ value: id, text: name })),
        chosen: token,
        choose: (id) => shell.set({ token: id }),
      }).root,
      this.slider.root,
    ];
    if (this.circuit) controls.push(this.over.root);
    if (cuts.length) controls.push(removeAll(() => shell.set({ cuts: [] })));
    putAnew(this.controlBar, controls);
    this.slider.set(model.get("threshold"));
    this.over.set(this.isOver);
  }

  // ---- what the reader does -----------------------------------------------------------------

  /** @param {Edge} edge */
  #choose(edge) {
    this.shell.set({ layer: edge.layer, head: edge.head, selected: [edge.query, edge.key] });
  }

  /** Cut an edge, or remove the cut. @param {Edge} edge */
  #cut(edge) {
    const own = cutOf(edge);
    const cuts = this.model.get("cuts");
    const without = cuts.filter((cut) => !sameCut(cut, own));
    this.#choose(edge);
    this.shell.set({ cuts: without.length < cuts.length ? without : sortedCuts([...cuts, own]) });
  }

  /** @param {Edge | null} edge */
  #point(edge) {
    if (edge === this.pointed) return;
    this.pointed = edge;
    this.canvas.style.cursor = edge ? "pointer" : "default";
    this.picture.draw(edge ?? this.focus);
    this.#tell();
  }

  #key(event) {
    const edges = this.#reachable();
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const jump = { Home: 0, End: edges.length - 1 }[event.key];
    const cuts = ["Enter", " ", "x", "X", "Delete"].includes(event.key);
    if (
      (step === undefined && jump === undefined && !cuts) ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey
    )
      return;
    taken(event);
    if (!edges.length) return;
    const focus = this.focus;
    if (cuts) return void (focus && this.#cut(focus));
    const now = focus ? edges.findIndex((edge) => sameCut(cutOf(edge), cutOf(focus))) : -1;
    this.#choose(edges[jump ?? (now < 0 ? 0 : (now + (step ?? 0) + edges.length) % edges.length)]);
  }

  // ---- drawing ------------------------------------------------------------------------------

  fileNumbers() {
    const { found, layers } = this;
    const edges = found.edges.slice(0, this.shown);
    const of = (name, key = name) => [
      name,
      [["edge"], edges.map((edge) => edge[key]), sayFlow(`is_${name}`)],
    ];
    return numbersOf(
      {
        after: [
          "start",
          ...Array.from({ length: layers }, (_, i) => sayFlow("layer", { layer: i })),
        ],
        position: this.tokens,
        edge: edges.map((_, i) => i),
      },
      {
        ...Object.fromEntries([
          of("layer"),
          of("head"),
          of("query"),
          of("key"),
          of("carried", "value"),
        ]),
        stream: [["after", "position"], found.stream, sayFlow("is_stream")],
        stays: [["layer", "position"], found.stays, sayFlow("is_stays")],
        mlp: [["layer", "position"], found.mlps, sayFlow("is_mlp")],
      },
    );
  }

  open() {
    this.answers.open(this.wanted);
  }

  draw() {
    const { model, shell, found, tokens, circuit } = this;
    const { info } = found;
    const table = colourTable("diverging", shell.theme);
    if (this.refusal) shell.say(this.refusal);
    this.#buildControls();
    shell.subtitle.textContent = sayFlow("flow_word");
    this.note.textContent = model.get("_note");
    this.note.hidden = !this.note.textContent;
    const edges = found.edges.slice(0, this.shown);
    const above = info.against === null ? "" : ` − “${info.against}”`;
    this.picture.show(
      {
        found,
        edges,
        least: model.get("threshold") * found.largest,
        cuts: info.cuts,
        tokens,
        layers: this.layers,
        heads: this.kind.heads,
        table,
        inks: shell.inks,
        inside: this.isOver
          ? new Set(circuit.heads.map(([layer, head]) => `${layer}.${head}`))
          : null,
        name: `“${info.name}”${above} ${withSign(info.logit)}`,
      },
      Math.max(260, this.box.clientWidth - 6),
    ); // its padding
    this.box.classList.toggle("tl-wide", this.picture.width > this.box.clientWidth);
    this.pointed = null;
    this.picture.draw(this.focus);
    if (this.middle !== info.position) {
      this.middle = info.position; // bring the position that is followed into view
      this.box.scrollLeft = this.picture.x(info.position) - this.box.clientWidth / 2;
    }
    this.#tell();
    this.#drawSide(edges);
    const largest = Math.max(...found.stream.map(Math.abs), 1e-9);
    this.legend.replaceChildren(
      ...linearLegend(table, -largest, largest, sayFlow("circles_the_stream_at"), (value) =>
        value ? withSign(value) : "0",
      ),
    );
    const heads = [...new Set(edges.map(({ head }) => head))].sort((a, b) => a - b);
    this.heads.replaceChildren(
      "heads: ",
      ...heads.flatMap((head) => [
        element("span.tl-dot", { style: `background:${headColour(head)}` }),
        `${head} `,
      ]),
      sayFlow("dashed_against_the_logit"),
      ...(info.cuts.length ? [sayFlow("dotted_with_a_cross")] : []),
    );
    this.summary = this.#summarise();
    this.say(this.summary);
    this.circuitSaid.hidden = !circuit;
    this.circuitSaid.textContent = circuit?.sentence ?? "";
    this.canvas.ariaLabel = sayFlow("arrow_keys_choose_an", { summary: this.summary });
    Object.assign(this.root.dataset, { shown: info.names[0], edges: String(edges.length) });
  }

  #summarise() {
    const { found, tokens } = this;
    const { info, edges } = found;
    const shown = this.shown;
    const best = edges[0];
    const likeliest = info.answers.reduce((a, b) => (b[3] > a[3] ? b : a));
    return sayFlow("sentence", {
      layer: null,
      ...best,
      from: tokens[best?.key],
      to: tokens[best?.query],
      itself: best?.query === best?.key,
      token: info.name,
      against: info.against,
      at: tokens[info.position],
      position: info.position,
      logit: info.logit,
      shown,
      n: info.n,
      rest: info.total - edges.slice(0, shown).reduce((sum, { value }) => sum + value, 0),
      cuts: info.cuts.length,
      before: info.before,
      after: info.after,
      probability: likeliest[3],
      answer: likeliest[0] === info.token ? null : likeliest[1],
    });
  }

  #tell() {
    const { tokens, found } = this;
    const edge = this.pointed ?? this.focus;
    if (!edge) {
      this.readout.replaceChildren(element("span.tl-quiet", hint(sayFlow("hover_over_an_edge"))));
      return;
    }
    const { layer, head, query, key, value } = edge;
    const isCut = found.info.cuts.some((cut) => sameCut(cut, cutOf(edge)));
    const what = isCut ? sayFlow("is_cut") : element("b#number", withSign(value));
    this.readout.replaceChildren(
      element(
        "span",
        sayFlow("layer_head", { layer, head }),
        tokenElement(tokens[key]),
        ` (${key}) → `,
        tokenElement(tokens[query]),
        ` (${query}) `,
        what,
        hint(isCut ? sayFlow("click_to_remove_the") : sayFlow("click_to_cut_it")),
      ),
    );
  }

  /** @param {Edge[]} edges */
  #drawSide(edges) {
    const { found, tokens } = this;
    const { info } = found;
    const cell = (text) => element("td", text);
    const changed = info.cuts.length > 0;
    this.table.replaceChildren(
      ...tableParts(
        [
          sayFlow("token"),
          changed ? sayFlow("before") : sayFlow("probability"),
          ...(changed ? [sayFlow("after_word")] : []),
        ],
        info.answers.map(([id, name, before, after]) =>
          rowPart(
            { class: id === info.token ? "tl-on" : "" },
            tokenElement(name),
            cell(percentText(before)),
            changed && cell(percentText(after)),
          ),
        ),
      ),
    );
    const total = (values) => values.reduce((sum, value) => sum + value, 0);
    const mlps = Array.from({ length: this.layers }, (_, i) => ({
      name: sayFlow("mlp_of_layer", { i }),
      value: total(found.mlps.slice(i * tokens.length, (i + 1) * tokens.length)),
    })).filter(({ value }) => value);
    const few = mlps.length > MLPS + 1 ? largestOf(mlps, MLPS) : mlps;
    const others = mlps.filter((mlp) => !few.includes(mlp));
    const body = (rows) =>
      element(
        "tbody",
        rows.map(({ name, value }) => rowPart(name, cell(withSign(value)))),
      );
    this.everyMlp.hidden = !others.length;
    this.mlps.replaceChildren(body(others.length ? mlps : []));
    const rest = {
      name: sayFlow("other_mlps", { others: others.length }),
      value: total(others.map((mlp) => mlp.value)),
    };
    this.sum.replaceChildren(
      element("caption", sayFlow("including_paths_through_heads")),
      body([
        { name: "embeddings", value: total(found.stream.slice(0, tokens.length)) },
        ...few,
        ...(others.length ? [rest] : []),
        { name: sayFlow("bias_same_for_every"), value: info.constant },
        { name: sayFlow("the_logit"), value: info.logit },
      ]),
    );
    const line = (edge, isCut) => {
      const what = sayFlow("layer_head_of", {
        layer: edge.layer,
        head: edge.head,
        token: tokens[edge.key],
        key: edge.key,
        token2: tokens[edge.query],
        query: edge.query,
      });
      return rowPart(
        `L${edge.layer} H${edge.head}`,
        [
          tokenElement(tokens[edge.key]),
          ` ${edge.key} → `,
          tokenElement(tokens[edge.query]),
          ` ${edge.query}`,
        ],
        cell(isCut ? "cut" : withSign(edge.value)),
        button(
          isCut ? sayFlow("remove_cut") : sayFlow("cut_label"),
          `cut-${cutOf(edge).join("-")}`,
          `${isCut ? sayFlow("remove_cut") : sayFlow("cut_label")}: ${what}`,
          () => this.#cut(edge),
        ),
      );
    };
    putAnew(
      this.list,
      tableParts(
        [sayFlow("head_word"), sayFlow("from_to"), sayFlow("carries"), sayFlow("cut_word")],
        [
          ...info.cuts.map((cut) => line(edgeOf(cut), true)),
          ...edges.slice(0, LISTED).map((edge) => line(edge, false)),
        ],
      ),
    );
  }
}

/** The n largest by size, in their original order. @param {{name: string, value: number}[]} all @param {number} n */
function largestOf(all, n) {
  const least = all.map(({ value }) => Math.abs(value)).sort((a, b) => b - a)[n - 1];
  return all.filter(({ value }) => Math.abs(value) >= least);
}

export default mounted(FlowViewer, "flow");
