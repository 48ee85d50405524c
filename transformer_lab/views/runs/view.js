// The module of RunView: a scrubber over a run, above the heads at the step that is shown.

import { bytesOf, typed } from "../shared/codecs.js";
import { element } from "../shared/dom.js";
import { Scrubber } from "./scrubber.js";
import { mounted } from "../shared/mounted.js";
import { runNumbers, sayRun } from "./numbers.js";
import { BaseViewer } from "../shared/viewer.js";

class RunViewer extends BaseViewer {
  constructor(model, root, signal) {
    super(model, root, signal, {
      part: () => `layer-${model.get("layer")}-head-${model.get("head")}`,
      sentence: () => this.said,
    });
    this.scrubber = new Scrubber(this.shell, model, signal);
    this.heads = element("div.tl-heads");
    root.append(this.shell.header, this.shell.message, this.scrubber.root, this.heads);
    this.shell.watch(["_steps", "_scores", "_measures"], () => this.scrubber.renew());
  }

  async open() {
    this.shell.draw();
    this.scrubber.renew();
    await this.scrubber.openHeads(this.heads);
  }

  draw() {
    const { layers, heads } = this.scrubber.kind;
    const count = this.scrubber.stops.length;
    this.shell.subtitle.textContent = sayRun("snapshots", { layers, heads, count });
    this.scrubber.draw();
  }

  get said() {
    return `${this.scrubber.text} ${this.heads.querySelector("[data-part=sentence]")?.textContent ?? ""}`;
  }

  code() {
    return this.scrubber.code();
  }

  fileNumbers() {
    return runNumbers(
      this.scrubber,
      typed(Float32Array, bytesOf(this.model.get("_curve"))),
      this.scrubber.viewer?.numbers,
    );
  }

  get title() {
    return sayRun("step_of", { title: super.title, step: this.model.get("step") });
  }

  pictures() {
    const { loss, course, viewer } = this.scrubber;
    return [
      { canvas: loss, title: sayRun("loss") },
      { canvas: course, title: this.scrubber.measure },
      { thumbnails: viewer?.heads.thumbnails, title: sayRun("heads") },
      {
        canvas: viewer?.heads.mapPanel.canvas,
        title: sayRun("layer_head", { layer: this.scrubber.layer, head: this.scrubber.head }),
      },
    ];
  }
}

export default mounted(RunViewer, "runs");
