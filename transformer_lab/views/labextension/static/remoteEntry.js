// An extension of JupyterLab and Jupyter Notebook: a view whose kernel is gone shows its saved picture.
//
// JupyterLab prefers the widget of an output to its picture, and finds out too late that the widget is
// not there: a notebook that is opened the next day would show "model not found". The file is loaded as
// it is. It asks JupyterLab for no module, and so needs no build.

(() => {
  const VIEW = "application/vnd.jupyter.widget-view+json";
  const MARK = "transformer_lab"; // in the metadata of an output of ours
  const PATIENCE = 1000; // milliseconds until a picture takes the place of "Loading widget..."
  const HINT =
    "Saved picture, as it was when the cell ran: later clicks are not in it. To get the interactive view back, run the cells above (Run ▸ Run All Above Selected Cell) and then this cell.";

  function hint() {
    const line = document.createElement("p");
    line.className = "tl-saved";
    line.style.cssText =
      "margin: 4px 0 8px; color: var(--jp-ui-font-color1); font: var(--jp-ui-font-size1) var(--jp-ui-font-family)";
    line.textContent = HINT;
    return line;
  }

  function picture({ data, metadata }) {
    const image = document.createElement("img");
    image.src = `data:image/png;base64,${data["image/png"]}`;
    image.alt = metadata["image/png"]?.alt ?? "";
    image.style.maxWidth = "100%";
    return image;
  }

  // Shows the picture where a view is missing after `render`, or does not come soon. JupyterLab clears
  // the node itself when the view comes later.
  async function withPicture(renderer, render, model, create) {
    const show = () => {
      if (renderer.isDisposed || renderer.isHidden || renderer.widgets.length) return;
      if (model.data["image/png"]) renderer.node.replaceChildren(picture(model), hint());
      else if (model.data["text/html"]) {
        const card = create("text/html"); // of a prediction; JupyterLab cleans what it does not trust
        renderer.node.replaceChildren(card.node);
        card.renderModel(model);
      }
    };
    const timer = setTimeout(show, PATIENCE);
    await render(model);
    clearTimeout(timer);
    show();
  }

  // In a notebook that is not trusted JupyterLab shows the picture by itself.
  async function withHint(renderer, render, model) {
    await render(model);
    const image = renderer.node.querySelector("img");
    if (image) image.alt = model.metadata["image/png"]?.alt ?? ""; // which JupyterLab leaves out
    renderer.node.append(hint());
  }

  const AFTER = { [VIEW]: withPicture, "image/png": withHint };

  function createNew({ content: { rendermime } }) {
    const create = rendermime.createRenderer.bind(rendermime);
    rendermime.createRenderer = (mime, ...rest) => {
      const renderer = create(mime, ...rest);
      const render = renderer.renderModel.bind(renderer);
      const after = AFTER[mime];
      if (after)
        renderer.renderModel = (model) =>
          model.metadata[MARK] ? after(renderer, render, model, create) : render(model);
      return renderer;
    };
  }

  const plugin = {
    id: "transformer-lab-notebooks:saved-pictures",
    autoStart: true,
    activate: ({ docRegistry }) => void docRegistry.addWidgetExtension("Notebook", { createNew }),
  };
  (window._JUPYTERLAB ??= {})["transformer-lab-notebooks"] = {
    init: () => {},
    get: async () => () => ({ __esModule: true, default: plugin }),
  };
})();
