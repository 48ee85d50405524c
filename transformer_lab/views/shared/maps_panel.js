// Two maps side by side, for views that bring this panel: few need all that it imports.

import { element } from "./dom.js";
import { MapPair } from "./map_pair.js";
import { MarkPanel } from "./panels.js";

/** Two maps of one size and their difference; what is pointed at is the same in all three. */
export class MapsPanel extends MarkPanel {
  get box() {
    const { viewer, part, does } = this;
    const pointed = {
      get spot() {
        return viewer.hover[part] ?? null;
      },
      at: (spot) => viewer.pointAt(part, spot),
    };
    const start = () => does.start(viewer.shown);
    this.pair = new MapPair(viewer.shell, viewer.signal, does.names, start, pointed);
    const { weight, difference } = this.pair.legends;
    return element("div", this.pair.box, element("div.tl-row", weight, difference));
  }

  get pictures() {
    return this.pair.pictures;
  }

  draw({ mark: { maps, rows, columns, sentence, apart, captions } }) {
    this.count = this.pair.show({
      rows,
      columns,
      first: maps[0].every,
      second: maps[1].every,
      ahead: () => false,
      apart,
      captions: captions ?? maps.map(({ name }) => name),
      widths: this.does.widths,
      height: this.does.size[1],
      text: sentence,
    });
  }
}
