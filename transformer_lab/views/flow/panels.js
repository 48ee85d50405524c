// The picture of a flow, which hears pointer and keys, and the tables beside it.

import { colourTable, headColour } from "../shared/colours.js";
import { button, putAnew } from "../shared/controls.js";
import {
  element,
  hearPointer,
  listen,
  rowPart,
  say,
  tableParts,
  taken,
  tokenElement,
} from "../shared/dom.js";
import { withSign } from "../shared/messages.js";
import { MarkPanel } from "../shared/panels.js";
import { fillTable, nodesOf } from "../shared/pieces.js";
import { linearLegend } from "../shared/shell.js";
import { FlowPicture } from "./picture.js";
import { chosen, cutOf, sameCut, selectedIn, view } from "./scene.js";

export class FlowPanel extends MarkPanel {
  /** @param {any} viewer @param {any} panel @param {any} does */
  constructor(viewer, panel, does) {
    super(viewer, panel, does);
    this.scrolled.before(this.legend, this.readout);
    hearPointer(this.canvas, viewer.signal, (x, y) => this.picture.hit(x, y), {
      hover: (edge) => {
        this.canvas.style.cursor = edge ? "pointer" : "default";
        this.point(edge && cutOf(edge));
      },
      pick: (edge) => this.pick(edge),
    });
    listen(this.canvas, "keydown", viewer.signal, (event) => this.#key(event));
  }

  get box() {
    this.names = element("canvas.tl-flow-names", { "aria-hidden": "true" });
    this.picture = new FlowPicture(this.canvas, this.names);
    this.circuit = element("p.tl-flow-circuit#circuit");
    this.heads = element("p.tl-hint.tl-flow-heads#heads");
    this.readout = element("p.tl-readout#readout");
    this.scrolled = element("div.tl-flow-box", this.names, this.canvas);
    return element("div", { style: "display:contents" }, this.circuit, this.heads, this.scrolled);
  }

  draw(panel) {
    const { scrolled, viewer, picture } = this;
    const { mark, drawn, focus, heads, explained, largest, circuit } = panel;
    const { theme, inks } = viewer.shell;
    const table = colourTable("diverging", theme);
    this.panel = panel;
    const room = Math.max(260, scrolled.clientWidth - 6); // its padding
    picture.show({ ...drawn, table, inks }, room);
    scrolled.classList.toggle("tl-wide", picture.width > scrolled.clientWidth);
    picture.draw(focus);
    if (this.middle !== mark.at) {
      this.middle = mark.at; // bring the position that is followed into view
      scrolled.scrollLeft = picture.x(mark.at) - scrolled.clientWidth / 2;
    }
    say(this.circuit, circuit);
    this.circuit.hidden = !circuit;
    this.readout.replaceChildren(element("span", nodesOf(panel.readout)));
    const sign = (value) => (value ? withSign(value) : "0");
    const means = view.say("circles_the_stream_at");
    this.legend.replaceChildren(...linearLegend(table, -largest, largest, means, sign));
    const dot = (head) => element("span.tl-dot", { style: `background:${headColour(head)}` });
    const used = heads.flatMap((head) => [dot(head), `${head} `]);
    this.heads.replaceChildren(view.say("heads"), ...used, explained);
  }

  #key(event) {
    const { reachable: edges } = this.panel;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const jump = { Home: 0, End: edges.length - 1 }[event.key];
    const cuts = ["Enter", " ", "x", "X", "Delete"].includes(event.key);
    const unknown = step === undefined && jump === undefined && !cuts;
    if (unknown || event.ctrlKey || event.metaKey || event.altKey) return;
    taken(event);
    if (!edges.length) return;
    const own = selectedIn(this.viewer.state); // a key may come before the last one is drawn
    const now = edges.findIndex((edge) => sameCut(cutOf(edge), own));
    if (cuts) return void (now >= 0 && this.pick(edges[now]));
    const next = jump ?? (now < 0 ? 0 : (now + (step ?? 0) + edges.length) % edges.length);
    this.viewer.shell.set(chosen(edges[next]));
  }
}

export class SidePanel extends MarkPanel {
  get box() {
    const list = (name, table) =>
      element("div.tl-flow-list", { tabindex: 0, role: "group", "aria-label": name }, table);
    this.answers = element("table.tl-blocks#answers");
    this.sum = element("table.tl-table#sum");
    this.mlps = element("table.tl-table#mlps");
    this.everyMlp = element(
      "details.tl-details",
      element("summary", view.say("every_mlp_as_a")),
      list(view.say("every_mlp"), this.mlps),
    );
    this.edges = element("table.tl-blocks.tl-flow-edges#edges");
    return element(
      "div",
      { style: "display:contents" },
      this.answers,
      element("p.tl-heading", element("b", view.say("what_the_logit_is"))),
      this.sum,
      this.everyMlp,
      element(
        "details.tl-details",
        element("summary", view.say("the_edges_as_a")),
        list(view.say("the_edges"), this.edges),
      ),
    );
  }

  get pictures() {
    return [];
  }

  draw({ answers, chosen: at, sum, mlps, edges, tokens }) {
    this.legend.remove(); // there is one of the picture
    fillTable(this.answers, answers);
    this.answers.tBodies[0].rows[at]?.classList.add("tl-on");
    fillTable(this.sum, sum);
    fillTable(this.mlps, mlps);
    this.everyMlp.hidden = !mlps.rows.length;
    const names = ["head_word", "from_to", "carries", "cut_word"].map((key) => view.say(key));
    putAnew(
      this.edges,
      tableParts(
        names,
        edges.map((edge) => this.#line(edge, tokens)),
      ),
    );
  }

  #line(edge, tokens) {
    const { layer, head, query, key, isCut, text } = edge;
    const does = isCut ? view.say("remove_cut") : view.say("cut_label");
    const values = { layer, head, token: tokens[key], key, token2: tokens[query], query };
    const what = `${does}: ${view.say("layer_head_of", values)}`;
    return rowPart(
      `L${layer} H${head}`,
      [tokenElement(tokens[key]), ` ${key} → `, tokenElement(tokens[query]), ` ${query}`],
      text,
      button(does, `cut-${cutOf(edge).join("-")}`, what, () => this.pick(edge)),
    );
  }
}
