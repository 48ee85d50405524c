// What the model's traits say about an Explorer besides its heads.

import { HeadState } from "../heads/state.js";
import { remembered } from "../shared/remembered.js";
import { editsOf } from "./edits.js";
import { sayExplorer } from "./prose.js";

const TOOLS = remembered("tools"); // "all" or "few", for every Explorer of this reader
const EDITS = ["off", "together", "cut", "other"];
const WITH_FEW = ["tools", "folded", "window"]; // options that a reader can set with few tools

export class ExplorerState extends HeadState {
  /** What is known about all heads; set by the viewer. @type {import("./facts.js").Facts} */
  facts;

  /** @param {any} model */
  constructor(model) {
    super(model);
    this.last = TOOLS.get();
    this.kindAtFirst = this.kindName;
    /** Options that only all tools can set, for when they are shown again. */
    this.more = {};
  }

  /** Whether all tools are shown: as the reader chose here, or in the last Explorer. */
  get allTools() {
    return (this.options.tools ?? this.last) === "all";
  }

  /** Show all tools, or few. */
  changeTools() {
    const tools = this.allTools ? "few" : "all";
    TOOLS.set(tools);
    const { window: _, ...options } = this.options;
    if (tools === "all") return this.set({ _options: { ...this.more, ...options, tools } });
    if (this.kindName !== this.kindAtFirst) this.changeKind(this.kindAtFirst);
    this.set({ _options: { ...options, tools }, pins: [] });
  }

  /** With few tools, drop the options that no visible control would change. */
  simplify() {
    const all = Object.entries(this.options);
    const stay = all.filter(([name]) => WITH_FEW.includes(name));
    if (this.allTools || stay.length === all.length) return;
    this.more = this.options;
    this.set({ _options: Object.fromEntries(stay) });
  }

  /** Whether Python, or the model in the page, answers. */
  get live() {
    return this.model.get("_live") !== false;
  }

  /**
   * Why the page cannot do something, and who can change that; "" if it can.
   * @param {string} what as in the message `cannot`: "off" (one head), "together" (several) …
   */
  whyNot(what) {
    const { note, effects, ways = [] } = this.about;
    if (note && EDITS.includes(what)) return note;
    if (this.live || (what === "off" && effects)) return "";
    const lost = Boolean(this.model.lost);
    const way = ways.find((one) => !lost && (one === "model" || what === "off")) ?? null;
    return sayExplorer("cannot", { what, lost, way });
  }

  /** Python's description of the model, and of what can be requested. */
  get about() {
    return this.model.get("_about");
  }

  /**
   * What a click does: "look", "off" (switch a head off) or "cut"; the last two only if the tools
   * are shown.
   */
  get tool() {
    const { tool = "look" } = this.allTools ? this.options : {};
    return tool === "look" || this.whyNot(tool) ? "look" : tool;
  }

  get cutting() {
    return this.tool === "cut";
  }

  /**
   * The side whose tokens the model predicts after (or at): the text, or the target that it writes.
   */
  get predictedSide() {
    return this.about.kind === "encoder-decoder" ? "target" : "text";
  }

  /**
   * The spot of a token of the text or target in the map on view; null: it has none.
   * @param {"text" | "target"} side
   * @param {number} index
   * @returns {import("../heads/state.js").Spot | null}
   */
  spotOf(side, index) {
    const { kindName, kind } = this;
    const asQuery = kindName === "encoder" ? "text" : this.predictedSide;
    if (side === asQuery) return index < kind.queries ? { query: index, key: null } : null;
    return kindName === "cross" && index < kind.keys ? { query: null, key: index } : null;
  }

  /** The token of a side at a spot of the map. @param {"text" | "target"} side @param {import("../heads/state.js").Spot | null} spot */
  tokenOf(side, spot) {
    if (!spot || !this.spotOf(side, 0)) return null;
    if (this.kindName === "cross") return side === "target" ? spot.query : spot.key;
    return spot.query ?? spot.key;
  }

  /** The named parts of the text that are folded. @returns {Set<string>} */
  get folded() {
    return new Set(this.options.folded ?? this.about.folded ?? []);
  }

  /** Fold a named part, or unfold it. @param {string} name */
  fold(name) {
    const folded = this.folded;
    if (!folded.delete(name)) folded.add(name);
    this.option({ folded: [...folded] });
  }

  /** The tokens of a side. @param {"text" | "target"} side @returns {string[]} */
  tokensOf(side) {
    if (side === this.predictedSide) return this.about.tokens;
    return this.kinds.encoder?.query_tokens ?? this.kinds.cross?.key_tokens ?? [];
  }

  /**
   * The token that could be masked: the chosen one, if it belongs to the text and is not masked.
   */
  get chosenToken() {
    const chosen = this.selected?.query ?? this.selected?.key ?? null;
    return this.kindName === "encoder" &&
      chosen !== null &&
      !this.model.get("_masked").includes(chosen)
      ? chosen
      : null;
  }

  /** Label of a head, with its evidence. */
  labelOf(layer, head, kind = this.kindName) {
    return this.model.get("_labels")[kind]?.[layer]?.[head] ?? { tag: "", sentence: "" };
  }

  get named() {
    return Object.keys(this.model.get("_labels")).length > 0;
  }

  /** What a link restores besides the choices. */
  get linked() {
    const { model, about } = this;
    return {
      text: model.get("_text"),
      target: about.own_target ? null : model.get("_target"),
      masked: model.get("_masked"),
      ids: model.get("_carried")?.given ?? null,
      segments: about.segments?.length ? about.segments : undefined,
      edits: editsOf(model).map(({ made, code, what }) => ({ made, code, what })),
      position: model.get("_outcome").position,
    };
  }

  /** Whether there is nothing to measure an effect by. */
  get blind() {
    return (
      Boolean(this.about.note) ||
      (this.about.predicts && this.model.get("_outcome").position === null)
    );
  }
}
