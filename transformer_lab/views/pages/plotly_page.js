// The module of a page that holds one plotly figure.

import { element } from "../shared/dom.js";
import { plotlyOf } from "../shared/plotly.js";
import { Requests } from "../shared/requests.js";

export default {
  async render({ model, el: root, signal }) {
    const { data, layout, config } = model.get("figure");
    const place = element("div", { role: "img", "aria-label": model.get("_sentence"), style: `min-height:${layout?.height ?? 450}px` });
    root.append(place);
    try {
      const plotly = await plotlyOf(new Requests(model, signal));
      await plotly.newPlot(place, data, layout, { displaylogo: false, responsive: true, ...config });
    } catch (error) {
      place.textContent = `This figure cannot be drawn: ${error.message}. ${model.get("_sentence")}`;
    }
    root.dataset.ready = "1";
  },
};
