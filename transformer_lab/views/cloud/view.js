// Queries and keys of a head, or its values and outputs, as points in a plane.

import { drawPoints } from "../marks/points.js";
import { Answers } from "../shared/answers.js";
import { bytesOf, typed } from "../shared/codecs.js";
import { colourTable, entry, headColour } from "../shared/colours.js";
import { headChoice, kindChoice, putAnew, radioGroup } from "../shared/controls.js";
import { element, hearPointer, hint, listen, picturePart, taken } from "../shared/dom.js";
import { numbersOf } from "../shared/files.js";
import { linked } from "../shared/linked.js";
import { messages } from "../shared/messages.js";
import { mounted } from "../shared/mounted.js";
import cloudMessages from "./messages.json" with { type: "json" };
import { BaseViewer } from "../shared/viewer.js";

const sayCloud = messages(cloudMessages);
const CLOUD_SHOWS = ["scores", "values"];
const CLOUD_COLOURS = ["token", "position", "attention"];
const CLOUD_SIDES = { scores: ["queries", "keys"], values: ["outputs", "values"] };

export class CloudViewer extends BaseViewer {
  /** @param {any} model @param {HTMLElement} root @param {AbortSignal} signal */
  constructor(model, root, signal) {
    super(model, root, signal);
    this.mark = /** @type {any} */ (null);
    this.pointed = /** @type {number | null} */ (null);
    /** @type {Answers<any>} */
    this.answers = new Answers(this.shell, {
      most: 200,
      working: sayCloud("working"),
      names: ({ name }) => [name],
      show: (plane) => Object.assign(this, { plane }),
      read: (info, bytes) => this.#read(info, typed(Float32Array, bytes)),
      failed: (name, { message: why }) =>
        sayCloud("failed", { layer: name.split("/")[2], head: name.split("/")[3], why }),
    });
    const numbers = typed(Float32Array, bytesOf(model.get("_plane_data")));
    this.plane = this.answers.keep(this.#read(model.get("_plane"), numbers));
    /** @type {Answers<any>} for a long text: what a query attends to */
    this.rows = new Answers(this.shell, {
      most: 200,
      working: sayCloud("working"),
      names: () => [],
      show: () => {},
      read: (_, bytes) => typed(Float32Array, bytes),
      failed: (name, { message: why }) => {
        const at = Number(name.split("/")[4]);
        return sayCloud("no_row", { query: this.size.query_tokens[at], at, why });
      },
    });
    this.link = linked(model, signal, (spot) =>
      this.#point(spot?.query ?? (spot?.key != null ? this.size.queries + spot.key : null), false),
    );
    this.bar = element("div.tl-controls");
    this.choice = headChoice(this, (place) => this.shell.set(place));
    this.canvas = picturePart("cloud");
    this.hint = element("p.tl-hint#hint");
    this.readout = element("p.tl-readout#readout");
    root.append(
      this.shell.header,
      this.bar,
      this.shell.message,
      this.sentence,
      this.answers.busy,
      this.hint,
      this.canvas,
      this.readout,
    );
    hearPointer(this.canvas, signal, (x, y) => this.hit?.(x, y) ?? null, {
      hover: (point) => this.#point(point),
      pick: (point) => this.#choose(point),
    });
    listen(this.canvas, "keydown", signal, (event) => this.#key(event));
    this.answers.follow(["kind", "layer", "head"], () => this.wanted);
    this.shell.watch(["selected", "shows", "colour"]);
  }

  get size() {
    return this.model.get("_kinds")[this.plane.info.kind];
  }

  get wanted() {
    return `plane/${this.model.get("kind")}/${this.layer}/${this.head}`;
  }

  /** @param {any} info @param {Float32Array} numbers */
  #read(info, numbers) {
    const { queries, keys } = this.model.get("_kinds")[info.kind];
    let at = 0;
    const take = (n) => numbers.subarray(at, (at += n));
    const pairs = (n) =>
      Array.from({ length: n }, () => /** @type {[number, number]} */ (Array.from(take(2))));
    const places = {
      queries: pairs(queries),
      keys: pairs(keys),
      values: pairs(keys),
      outputs: pairs(queries),
    };
    return {
      info,
      places,
      received: take(keys),
      pattern: at < numbers.length ? take(queries * keys) : null, // for a long text rows are requested
      name: `plane/${info.kind}/${info.layer}/${info.head}`,
    };
  }

  /** What a query attends to; null until it is known. @param {number | null} query @returns {Float32Array | null} */
  #row(query) {
    const { plane, rows, size } = this;
    if (query === null) return null;
    if (plane.pattern) return plane.pattern.subarray(query * size.keys, (query + 1) * size.keys);
    const name = `row/${plane.info.kind}/${plane.info.layer}/${plane.info.head}/${query}`;
    if (!rows.known.has(name) && name !== this.asked) rows.ask((this.asked = name));
    return rows.known.get(name) ?? null;
  }

  // ---- what the reader does -----------------------------------------------------------------

  /** Point at a query, by its index, or at a key, whose indices follow those of the queries. @param {number | null} point */
  #point(point, tell = true) {
    if (point === this.pointed) return;
    this.pointed = point;
    if (tell)
      this.link.hover(
        point === null
          ? null
          : point < this.size.queries
            ? { query: point, key: null }
            : { query: null, key: point - this.size.queries },
      );
    this.shell.redraw();
  }

  #choose(point) {
    const { queries } = this.size;
    const [query, key] = this.model.get("selected") ?? [null, null];
    const next =
      point === null
        ? null
        : point < queries
          ? [point === query ? null : point, null]
          : [query, point - queries === key ? null : point - queries];
    this.shell.set({ selected: next?.some((x) => x !== null) ? next : null });
  }

  #key(event) {
    const count = this.size.queries + this.size.keys;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) this.#point(((this.pointed ?? (step > 0 ? -1 : 0)) + step + count) % count);
    else if (event.key === "Enter") this.#choose(this.pointed);
    else if (event.key === "Escape" && this.model.get("selected"))
      this.shell.set({ selected: null });
    else return;
    taken(event);
  }

  // ---- drawing ------------------------------------------------------------------------------

  open() {
    this.answers.open(this.wanted);
  }

  draw() {
    const { size, plane, model } = this;
    this.#controls();
    const [shows, query] = [model.get("shows"), model.get("selected")?.[0] ?? null];
    const row = this.#row(query);
    const sides = CLOUD_SIDES[shows];
    const tokens = [...size.query_tokens, ...size.key_tokens];
    this.mark = {
      places: sides.flatMap((side) => plane.places[side]),
      names: tokens,
      diamonds: tokens.map((_, i) => i < size.queries),
      colours: this.#paint(tokens, row ?? plane.received),
      pointed: this.pointed,
      chosen: query,
    };
    const width = Math.min(720, this.root.clientWidth - 2);
    this.hit = drawPoints(
      this.canvas,
      this.mark,
      this.shell.inks,
      width,
      Math.max(260, Math.min(480, 0.75 * width)),
    );
    const { kind, layer, head, kept, chance } = plane.info;
    const at = CLOUD_SHOWS.indexOf(shows);
    const best = row ? row.indexOf(Math.max(...row)) : 0;
    const text = sayCloud("sentence", {
      kind,
      layer,
      head,
      several: this.several,
      shows,
      kept: kept[at],
      chance: chance[at],
      query: row && size.query_tokens[Number(query)],
      position: query ?? 0,
      key: size.key_tokens[best],
      at: best,
      weight: row?.[best] ?? 0,
    });
    this.say(text);
    this.canvas.ariaLabel = sayCloud("canvas", { sentence: text });
    this.hint.textContent = `◆ ${sayCloud("group", { group: sides[0] })} · ● ${sayCloud("group", { group: sides[1] })}: ${sayCloud(`${shows}_hint`)}`;
    this.readout.textContent =
      this.pointed === null
        ? hint(sayCloud("try"))
        : this.#describe(this.pointed, sides, tokens, query, row);
    this.root.dataset.shown = plane.name;
  }

  #describe(point, sides, tokens, query, row) {
    const { queries } = this.size;
    const key = point - queries;
    return sayCloud("point", {
      group: sides[key < 0 ? 0 : 1],
      token: tokens[point],
      position: key < 0 ? point : key,
      weight: key < 0 || !row ? null : row[key],
      query: query === null ? "" : tokens[query],
    });
  }

  /** @param {string[]} tokens @param {Float32Array} weights of the keys */
  #paint(tokens, weights) {
    const { size, model, shell } = this;
    const table = colourTable("default", shell.theme);
    const scaled = (x, most) => entry(table, Math.round(255 * Math.min(1, x / (most || 1))));
    const colour = model.get("colour");
    if (colour === "position")
      return tokens.map((_, i) =>
        scaled(i < size.queries ? i : i - size.queries, Math.max(size.queries, size.keys) - 1),
      );
    const known = [...new Set([...size.key_tokens, ...size.query_tokens])];
    if (colour === "token") return tokens.map((token) => headColour(known.indexOf(token)));
    return tokens.map((_, i) =>
      i < size.queries
        ? shell.inks.quiet
        : scaled(Math.sqrt(weights[i - size.queries]), Math.sqrt(Math.max(...weights))),
    );
  }

  #controls() {
    const { model, shell, plane } = this;
    const group = (label, part, choices, chosen) =>
      radioGroup({ label, part, choices, chosen, choose: (value) => shell.set({ [part]: value }) })
        .root;
    const named = (names) => names.map((value) => ({ value, text: sayCloud(value) }));
    this.choice.show();
    putAnew(this.bar, [
      kindChoice(model.get("_kinds"), plane.info.kind, (kind) => this.changeKind(kind)).root,
      this.choice.root,
      group(sayCloud("show"), "shows", named(CLOUD_SHOWS), model.get("shows")),
      group(sayCloud("colour"), "colour", named(CLOUD_COLOURS), model.get("colour")),
    ]);
  }

  code() {
    return `view.plane  # ${this.wanted}`;
  }

  pictures() {
    return [{ canvas: this.canvas, title: this.hint.textContent ?? "" }];
  }

  fileNumbers() {
    const { plane, size } = this;
    const { places, names, diamonds, chosen } = this.mark;
    const shows = this.model.get("shows");
    const row = this.#row(chosen);
    const [groups, hint] = [
      CLOUD_SIDES[shows].map((group) => sayCloud("group", { group })),
      sayCloud(`${shows}_hint`),
    ];
    return numbersOf(
      { point: names },
      {
        side: [["point"], diamonds.map((is) => groups[is ? 0 : 1]), sayCloud("side")],
        x: [["point"], places.map(([x]) => x), hint],
        y: [["point"], places.map(([, y]) => y), hint],
        [row ? "weight" : "received"]: [
          ["point"],
          [...size.query_tokens.map(() => null), ...(row ?? plane.received)],
          sayCloud("weight", { query: row && names[chosen], position: chosen ?? 0 }),
        ],
      },
    );
  }
}

export default mounted(CloudViewer, "cloud");
