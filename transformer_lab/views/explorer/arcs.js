// Arcs over a strip of tokens: from the token that attends to those that it attends to. They snap
// when the head is off.

import { onceAFrame, svgPart } from "../shared/dom.js";

const LEAST = 0.1; // weight of an arc
const MOST = 3; // arcs
const FEW = 60; // tokens; with more, the lines of the strip scroll
const LINES = 2;

/**
 * @typedef {object} Arched
 * @property {number} from the token that attends
 * @property {ArrayLike<number>} weights of each token
 * @property {boolean} off whether the head is switched off
 */

/** The tokens that get most weight, the largest first. @param {ArrayLike<number>} weights @returns {number[]} */
export function strongest(weights) {
  const all = Array.from(weights, (_, i) => i).filter((i) => weights[i] >= LEAST);
  return all.sort((a, b) => weights[b] - weights[a]).slice(0, MOST);
}

/**
 * The path of an arc, from the top of one token to that of another, or to the bottom of one in a
 * line above.
 * @param {{x: number, y: number}} from
 * @param {{x: number, y: number, height: number}} to
 * @param {number} room above a line
 */
export function arcOf(from, to, room) {
  if (from.y > to.y) {
    const end = to.y + to.height;
    return `M${from.x} ${from.y}C${from.x} ${from.y - room} ${to.x} ${end + room} ${to.x} ${end}`;
  }
  const self = from.x === to.x ? 6 : 0; // a loop
  const high = Math.min(room / 0.8, 12 + Math.abs(from.x - to.x) / 12 + 2 * self);
  const top = Math.min(from.y, to.y) - high;
  const [start, end] = [from.x - self, to.x + self];
  return `M${start} ${from.y}C${start - self} ${top} ${end + self} ${top} ${end} ${to.y}`;
}

export class Arcs {
  /** @param {HTMLElement} root of the strip */
  constructor(root) {
    this.root = root;
    this.svg = svgPart("svg", { class: "tl-arcs", "aria-hidden": "true" });
    /** @type {Map<number, SVGElement>} by token */
    this.paths = new Map();
    /** @type {Map<number, HTMLElement>} */
    this.buttons = new Map();
    /** @type {Arched | null} */
    this.arched = null;
    this.later = onceAFrame(() => this.#draw()); // it measures the tokens
  }

  /** @param {Map<number, HTMLElement>} buttons by token @param {Arched | null} arched */
  show(buttons, arched) {
    this.buttons = buttons;
    this.arched = arched;
    this.later();
  }

  #draw() {
    const { root, svg, arched } = this;
    const all = [...this.buttons];
    const few = all.length <= FEW;
    root.classList.toggle("tl-arched", few);
    const tops = few ? all.map(([, { offsetTop }]) => offsetTop) : [];
    const fits = few && new Set(tops).size <= LINES;
    root.classList.toggle("tl-arched", fits);
    if (svg.parentElement !== root) root.prepend(svg);
    const places = new Map(
      (fits ? all : []).map(([i, { offsetLeft, offsetWidth, offsetHeight }], at) => [
        i,
        { x: offsetLeft + offsetWidth / 2, y: tops[at], height: offsetHeight },
      ]),
    );
    const from = arched && places.get(arched.from);
    const to = from ? strongest(arched.weights).filter((i) => places.has(i)) : [];
    const now = new Map();
    for (const key of to) {
      const made = this.paths.get(key) ?? svgPart("path", { pathLength: "1" });
      made.setAttribute("d", arcOf(from, places.get(key), tops[0]));
      made.setAttribute("stroke-width", String(1 + 3 * arched.weights[key]));
      now.set(key, made);
    }
    svg.classList.toggle("tl-off", Boolean(arched?.off));
    for (const [key, path] of this.paths) if (!now.has(key)) path.remove();
    for (const [key, path] of now) if (!this.paths.has(key)) svg.append(path);
    this.paths = now;
  }
}
