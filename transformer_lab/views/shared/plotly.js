// plotly's own script, loaded once per window: from Python, the saved page, or the page around a
// frame. It leaves a plotly that the window already has as it is.

const LATE_FOR_OTHERS = 5000; // ms; then a view requests it itself, since another view's kernel may be busy

/** @param {import("./requests.js").Requests} requests @returns {Promise<any>} Plotly */
export async function plotlyOf(requests) {
  const place = /** @type {any} */ (window);
  if (place.__tlPlotly) return place.__tlPlotly;
  if (place.__tlPlotlyComing) {
    const late = new Promise((resolve) => setTimeout(resolve, LATE_FOR_OTHERS));
    await Promise.race([place.__tlPlotlyComing.catch(() => {}), late]);
    if (place.__tlPlotly) return place.__tlPlotly;
  }
  place.__tlPlotlyComing = bring(requests);
  return place.__tlPlotlyComing;
}

async function bring(requests) {
  const { buffers } = await requests.ask({ type: "block", name: "plotly" }, false);
  const stream = new Blob([buffers[0]]).stream().pipeThrough(new DecompressionStream("gzip"));
  const source = await new Response(stream).text();
  const place = /** @type {any} */ (window);
  if (place.__tlPlotly) return place.__tlPlotly;
  const before = place.Plotly;
  const code = `window.__tlPlotly = (function (module, exports, define) {\n${source}\nreturn module.exports;\n})({ exports: {} });`;
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  try {
    await new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url;
      script.onload = resolve;
      script.onerror = () => reject(new Error("plotly’s script could not be run here"));
      document.head.append(script);
      script.remove();
    });
  } finally {
    URL.revokeObjectURL(url);
    if (before) place.Plotly = before;
    else delete place.Plotly;
  }
  return place.__tlPlotly;
}

/** Whether this browser can draw in three dimensions. */
export function drawsInSpace() {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("webgl2") ?? canvas.getContext("webgl");
  context?.getExtension("WEBGL_lose_context")?.loseContext(); // a window has only a few of them
  return Boolean(context);
}

/** Escape text so that plotly does not read it as markup. @param {string} text */
export const unmarked = (text) =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
