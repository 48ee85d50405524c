// A cloud as Python sends it: coordinates, colours, and descriptions of points.

import { PALETTE } from "../shared/colours.js";
import { numbersOf } from "../shared/files.js";
import { floatsOf } from "../shared/shell.js";
import { messages } from "../shared/messages.js";
import embeddingMessages from "./messages.json" with { type: "json" };

export const sayEmbedding = messages(embeddingMessages);

const ORDER = ["layer", "random", "paths"];
const NUMBERS = ["position", "length"];

export class CloudData {
  /** @param {any} model */
  constructor(model) {
    const points = model.get("_points");
    this.model = model;
    this.tokens = points.tokens;
    this.positions = points.positions;
    this.texts = points.texts;
    this.textNames =
      points.text_names ?? [...new Set(points.texts)].map((i) => sayEmbedding("text", { i }));
    this.labels = points.labels;
    this.where = points.where;
    this.sample = points.sample;
    this.own = points.own;
    this.n = this.tokens.length;
    this.rows = this.where.length;
    this.numbers = floatsOf(model, "_coordinates");
    this.norms = floatsOf(model, "_norms");
  }

  /** What a point is, in one word. */
  get one() {
    return this.where[0] === "vectors" ? "vector" : "token";
  }

  get ways() {
    return this.rows > 1 ? ["layer", "paths", "random"] : ["layer", "random"];
  }

  get colours() {
    const several = new Set(this.texts).size > 1;
    return [
      "token",
      "position",
      "length",
      ...(several ? ["text"] : []),
      ...(this.labels.length ? ["label"] : []),
    ];
  }

  /** @param {string} shows @param {number} row @param {number} point @param {number} axis 3: the share that is shown */
  at(shows, row, point, axis) {
    return this.numbers[((ORDER.indexOf(shows) * this.rows + row) * this.n + point) * 4 + axis];
  }

  norm(row, point) {
    return this.norms[row * this.n + point];
  }

  /** Shares of the variance that components explain: of the tokens, and of random directions. @returns {[number[], number[]]} */
  explained(shows, row) {
    const shares = this.model.get("_shares");
    return shows === "paths"
      ? [shares.paths[0], shares.paths[1]]
      : [shares.layer[row], shares.random[row]];
  }

  /** @param {number} row @returns {[string, number, number] | null} */
  lone(row) {
    const found = this.model.get("_shares").lone[row];
    return found && [this.tokens[found[0]], this.positions[found[0]], found[1]];
  }

  /** @param {{shows: string, row: number, colour: string}} chosen */
  forFile({ shows, row, colour }) {
    const [own, chance] = this.explained(shows, row);
    const { numbers, names, places } = this.painted(colour, row);
    const point = ["point"];
    const component = (share, i) => [
      `component_${i + 1}`,
      [
        point,
        (at) => this.at(shows, row, at, i),
        sayEmbedding("is_component", {
          component: i + 1,
          share: String(Number(share.toPrecision(6))),
        }),
      ],
    ];
    return numbersOf(
      {
        point: this.tokens,
        ...(shows === "paths" ? { row: this.where, component: [1, 2, 3] } : {}),
      },
      {
        ...Object.fromEntries((shows === "random" ? chance : own).map(component)),
        position: [point, this.positions, sayEmbedding("is_position")],
        length: [point, (at) => this.norm(row, at), sayEmbedding("is_length")],
        kept: [point, (at) => this.at(shows, row, at, 3), sayEmbedding("is_kept")],
        [`colour_${colour}`]: [
          point,
          (at) => (numbers ? numbers[at] : names[places[at]]),
          sayEmbedding("is_colour", { colour }),
        ],
        ...(shows === "paths"
          ? {
              path: [
                ["row", "point", "component"],
                (at, one, i) => this.at(shows, at, one, i),
                sayEmbedding("is_path"),
              ],
            }
          : {}),
      },
    );
  }

  /** The token of a point in views of the text. @param {number} point */
  tokenOf(point) {
    return this.own ? point : this.positions[point];
  }

  /** The point of a selection, or null. @param {any} pair @param {string} kind */
  pointOf(pair, kind) {
    if (!pair) return null;
    const token = pair[0] ?? (kind === "cross" ? null : pair[1]);
    if (token === null || token === undefined) return null;
    const point = this.own ? token : this.positions.indexOf(token);
    return point >= 0 && point < this.n ? point : null;
  }

  /** What colours the points: numbers on a scale, or categories. @param {string} by @param {number} row */
  painted(by, row) {
    const every = (make) => Array.from({ length: this.n }, (_, i) => make(i));
    if (NUMBERS.includes(by))
      return {
        numbers: by === "position" ? this.positions : every((i) => this.norm(row, i)),
        names: [],
        places: [],
      };
    const values =
      by === "text"
        ? this.texts.map((i) => this.textNames[i])
        : by === "label"
          ? this.labels
          : this.tokens;
    const names = [...new Set(values)];
    const index = new Map(names.map((name, i) => [name, i]));
    return { numbers: null, names, places: values.map((value) => index.get(value)) };
  }

  /** Text shown when the reader points at a point. */
  describe(shows, row, point) {
    return [
      `“${this.tokens[point]}” (${this.positions[point]})`,
      sayEmbedding("point", { norm: this.norm(row, point), kept: this.at(shows, row, point, 3) }),
    ];
  }
}

/** Colour of a category, the same in both themes. @param {number} i */
export const categoryColour = (i) => PALETTE.heads[i % PALETTE.heads.length];

/** A colour of a table for each number, between the least and the largest. @param {number[]} numbers @param {Uint8ClampedArray} table */
export function scaled(numbers, table) {
  const [low, high] = extent(numbers);
  return numbers.map((x) => {
    const at = Math.round((255 * (x - low)) / (high - low || 1));
    return `rgb(${table[3 * at]},${table[3 * at + 1]},${table[3 * at + 2]})`;
  });
}

/** @param {number[]} numbers @returns {[number, number]} */
export function extent(numbers) {
  let [low, high] = [Infinity, -Infinity];
  for (const x of numbers) [low, high] = [Math.min(low, x), Math.max(high, x)];
  return [low, high];
}

/**
 * Position of the eye after a rotation around the vertical axis, and up or down.
 * @param {{x: number, y: number, z: number}} eye
 * @param {number} around radians
 * @param {number} up radians
 * @param {number} [nearer] factor of the distance
 */
export function turned({ x, y, z }, around, up, nearer = 1) {
  const distance = Math.hypot(x, y, z) * nearer;
  const angle = Math.atan2(y, x) + around;
  const height = Math.max(-1.5, Math.min(1.5, Math.atan2(z, Math.hypot(x, y)) + up));
  return {
    x: distance * Math.cos(height) * Math.cos(angle),
    y: distance * Math.cos(height) * Math.sin(angle),
    z: distance * Math.sin(height),
  };
}
