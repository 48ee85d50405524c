// What each block adds, and the logit lens, as tables. Rows of the lens are layers, columns are
// tokens; a cell shows the likeliest token, coloured by the probability of the model's final
// answer.

import { bytesOf, typed } from "../shared/codecs.js";
import { entry, inkOn } from "../shared/colours.js";
import { element, tokenElement, barPart, tableParts, rowPart, listen } from "../shared/dom.js";
import { linearShade } from "../shared/number_map.js";
import { around, percentText, sizeText, SLOT, withSign } from "../shared/messages.js";

export const LENS_COLUMNS = 16; // tokens in one block, as in data.py
const NARROWEST = 62; // pixels of a column
const ROW_NAME = 58;
export const COMPACT_FROM = 12; // rows from which cells show no probability

/** The lens at some tokens, as it was sent. */
export class LensBlock {
  /** @param {any} info @param {Uint8Array} bytes */
  constructor(info, bytes) {
    Object.assign(this, info);
    /** @type {any} */
    const { rows, count, k } = info;
    const cells = rows * count;
    let at = 0;
    const take = (type, length) => typed(type, bytes.subarray(at, (at += 4 * length)));
    this.tokens = take(Int32Array, cells * k);
    this.probabilities = take(Float32Array, cells * k);
    this.answer = take(Int32Array, count);
    this.answerProbability = take(Float32Array, cells);
  }
}

/** Size of a block in bytes. @param {any} info */
const blockSize = ({ rows, count, k }) => 4 * (2 * rows * count * k + count + rows * count);

export class LensStore {
  /** @param {any} model @param {import("../shared/requests.js").Requests} requests */
  constructor(model, requests) {
    this.model = model;
    this.requests = requests;
    /** @type {Map<number, any>} */
    this.blocks = new Map();
    /** @type {Map<number, Promise<void>>} requests in progress */
    this.asked = new Map();
    const bytes = bytesOf(model.get("_lens_data"));
    let at = 0;
    for (const info of model.get("_lens")) {
      this.blocks.set(info.from, new LensBlock(info, bytes.subarray(at, (at += blockSize(info)))));
    }
  }

  /** The block that holds a token, if it is loaded. @param {number} token */
  at(token) {
    return this.blocks.get(token - (token % LENS_COLUMNS)) ?? null;
  }

  /**
   * Request the missing blocks of some tokens, and wait for them and for earlier requests.
   * @param {number} from @param {number} to
   * @returns {Promise<boolean>} whether anything has arrived
   */
  async fetch(from, to) {
    let came = false;
    for (let first = from - (from % LENS_COLUMNS); first < to; first += LENS_COLUMNS) {
      if (this.blocks.has(first)) continue;
      if (!this.asked.has(first)) this.asked.set(first, this.#ask(first));
      await this.asked.get(first);
      came = true;
    }
    return came;
  }

  async #ask(first) {
    try {
      const { message, buffers } = await this.requests.ask(
        { type: "block", name: `lens/${first}` },
        false,
      );
      this.blocks.set(first, new LensBlock(message.info, buffers[0]));
    } finally {
      this.asked.delete(first);
    }
  }

  /** @param {number} token @returns {{name: string, probability: number}[] | null} */
  top(row, token) {
    const block = this.at(token);
    if (!block) return null;
    const start = (row * block.count + token - block.from) * block.k;
    return Array.from({ length: block.k }, (_, i) => ({
      name: block.names[block.tokens[start + i]],
      probability: block.probabilities[start + i],
    }));
  }

  /** The model's answer at a token. */
  answer(token) {
    const block = this.at(token);
    if (!block) return null;
    const column = token - block.from;
    return {
      token: block.names[block.answer[column]],
      index: block.answer[column],
      probability: block.answerProbability[(block.rows - 1) * block.count + column],
      settled: block.settled[column],
    };
  }

  /** Probability of that answer in a row. */
  answerProbability(row, token) {
    const block = this.at(token);
    return block ? block.answerProbability[row * block.count + token - block.from] : null;
  }

  /** Whether the likeliest token of a cell is the model's answer. */
  agrees(row, token) {
    const block = this.at(token);
    const column = token - block.from;
    return block.tokens[(row * block.count + column) * block.k] === block.answer[column];
  }
}

/** How many columns fit. @param {number} width @param {number} count */
export const lensColumns = (width, count) =>
  Math.min(count, 24, Math.max(2, Math.floor((width - ROW_NAME) / NARROWEST)));

export class LensTable {
  /** @param {{hover: (row: number | null, token: number | null) => void, pick: (row: number | null, token: number) => void}} on @param {AbortSignal} signal */
  constructor(on, signal) {
    this.table = element("table.tl-lens#lens");
    const at = (event) => {
      const cell = event.target.closest?.("[data-token]");
      return (
        cell && {
          row: cell.dataset.row === undefined ? null : Number(cell.dataset.row),
          token: Number(cell.dataset.token),
        }
      );
    };
    listen(this.table, "pointerover", signal, (event) => {
      const cell = at(event);
      on.hover(cell?.row ?? null, cell?.token ?? null);
    });
    listen(this.table, "pointerleave", signal, () => on.hover(null, null));
    listen(this.table, "click", signal, (event) => {
      const cell = at(event);
      if (cell) on.pick(cell.row, cell.token);
    });
  }

  /**
   * @param {object} scene
   * @param {LensStore} scene.store
   * @param {string[]} scene.tokens
   * @param {number} scene.from
   * @param {number} scene.count
   * @param {string[]} scene.rows names
   * @param {Uint8ClampedArray} scene.table
   * @param {string} scene.caption
   * @param {string} scene.after what the rows are
   */
  show({ store, tokens, from, count, rows, table, caption, after }) {
    const columns = Array.from({ length: count }, (_, i) => from + i);
    const head = columns.map((token) =>
      element(
        "th",
        { scope: "col", "data-token": token, title: `${tokens[token]} (${token})` },
        tokenElement(tokens[token]),
      ),
    );
    const body = rows.map((name, row) =>
      rowPart(
        { "data-row": row },
        name,
        columns.map((token) => lensCell(store, row, token, table)),
      ),
    );
    this.table.classList.toggle("tl-compact", rows.length > COMPACT_FROM);
    this.table.replaceChildren(
      element("caption.tl-hint", caption),
      element("thead", element("tr", element("th", { scope: "col" }, after), head)),
      element("tbody", body),
    );
  }

  /** @param {number | null} token @param {number | null} row @param {number | null} chosen */
  mark(token, row, chosen) {
    for (const cell of this.table.querySelectorAll("[data-token]")) {
      const at = Number(cell.dataset.token);
      cell.classList.toggle("tl-focus", at === token);
      cell.classList.toggle("tl-selected", at === chosen);
    }
    for (const line of this.table.querySelectorAll("tr[data-row]")) {
      line.classList.toggle("tl-on", Number(line.dataset.row) === row);
    }
  }
}

function lensCell(store, row, token, table) {
  const top = store.top(row, token)?.[0];
  if (!top) return element("td.tl-absent", { "data-token": token, "data-row": row }, "…");
  const at = linearShade(store.answerProbability(row, token), 0, 1);
  return element(
    "td",
    {
      "data-token": token,
      "data-row": row,
      class: store.agrees(row, token) ? "tl-agrees" : "",
      style: `background:${entry(table, at)};color:${inkOn(table, at)}`,
    },
    element("span.tl-word", tokenElement(top.name)),
    element("span.tl-weight", percentText(top.probability)),
  );
}

export class BlockTable {
  /**
   * @param {{hover: (row: number | null) => void, pick: (row: number) => void}} on
   * @param {AbortSignal} signal
   * @param {import("../shared/messages.js").Say} say
   */
  constructor(on, signal, say) {
    this.say = say;
    this.table = element("table.tl-blocks#blocks");
    const at = (event) => {
      const line = event.target.closest?.("tr[data-row]");
      return line ? Number(line.dataset.row) : null;
    };
    listen(this.table, "pointerover", signal, (event) => on.hover(at(event)));
    listen(this.table, "pointerleave", signal, () => on.hover(null));
    listen(this.table, "click", signal, (event) => {
      const row = at(event);
      if (row !== null) on.pick(row);
    });
  }

  /**
   * @param {object} scene
   * @param {import("./view.js").Profile} scene.profile
   * @param {number} scene.longest the norm that fills a bar
   * @param {number} scene.largest the share that fills a bar; larger ones are marked
   * @param {string[]} scene.rows names
   * @param {Uint8ClampedArray} scene.diverging
   * @param {string | null} scene.token null: the typical token
   */
  show({ profile, longest, largest, rows, diverging, token }) {
    const { norms, parts, shares, cosines } = profile;
    const { say } = this;
    const body = rows.map((row, i) =>
      rowPart(
        { "data-row": i },
        row,
        [barPart(norms[i] / longest, "tl-plain"), element("span.tl-count", sizeText(norms[i]))],
        parts.map((_, p) =>
          i === 0
            ? element("td")
            : addedCell(shares[p][i - 1], cosines[p][i - 1], largest, diverging, say("cosine")),
        ),
      ),
    );
    this.table.replaceChildren(
      element(
        "caption.tl-hint",
        around(say("bars", { token: token === null ? null : SLOT }), tokenElement(token ?? "")),
      ),
      ...tableParts(
        [say("after"), say("size"), ...parts.map((part) => say("adds", { part }))],
        body,
      ),
    );
  }

  /** @param {number | null} row */
  mark(row) {
    for (const line of this.table.querySelectorAll("tr[data-row]")) {
      line.classList.toggle("tl-on", Number(line.dataset.row) === row);
    }
  }
}

function addedCell(share, cosine, largest, diverging, means) {
  const colour = entry(diverging, linearShade(cosine, -1, 1));
  return element(
    "td",
    barPart(share / largest, share > 1.0001 * largest ? "tl-over" : "", colour),
    element("span.tl-count", `× ${sizeText(share)}`),
    element("span.tl-count.tl-quiet", { title: means }, withSign(cosine)),
  );
}
