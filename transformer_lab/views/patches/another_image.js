// On a page that carries its model, another image: the control to choose one, reading its file into
// numbers, and what the view shows of it.

import { asSentence } from "../shared/messages.js";
import { inPageLine } from "../pages/in_page_line.js";
import { weightsLine } from "../pages/ask_row.js";
import { carriesModel, viewOf } from "../pages/page_model.js";
import { TextPage } from "../pages/text_page.js";
import { bytesOf } from "../shared/codecs.js";
import { button } from "../shared/controls.js";
import { element } from "../shared/dom.js";
import { Requests, Waiting } from "../shared/requests.js";
import { answersOf } from "../shared/scene.js";
import { say, view } from "./scene.js";

const MOST_BYTES = 64 << 20;
const MOST_PIXELS = 25_000_000;
const LONGEST_SIDE = 50; // times the shorter one, as in pictures/image_model.py
const BEGINNINGS = [/^\x89PNG\r\n/, /^\xff\xd8\xff/, /^RIFF[^]{4}WEBP/, /^BM/];

/** @param {number} width @param {number} height */
function contextOf(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  return /** @type {CanvasRenderingContext2D} */ (
    canvas.getContext("2d", { willReadFrequently: true })
  );
}

/** Bytes [3, height, width] of an image file. @param {File} file @throws for a file that is not an image, or that cannot be read as in Python */
export async function pixelsOf(file) {
  const refuse = (why, values = {}) => {
    throw new Error(say("refused", { name: file.name, why, width: 0, height: 0, ...values }));
  };
  const begins = String.fromCharCode(...new Uint8Array(await file.slice(0, 1 << 14).arrayBuffer()));
  if (file.size > MOST_BYTES) refuse("bytes");
  if (!BEGINNINGS.some((one) => one.test(begins))) refuse("format");
  if (/acTL|ANIM/.test(begins)) refuse("animated");
  if (begins[1] === "P" && begins.charCodeAt(24) === 16) refuse("deep");
  const bitmap = await createImageBitmap(file, {
    colorSpaceConversion: "none",
    imageOrientation: "from-image",
  }).catch(() => refuse("damaged"));
  const { width, height } = /** @type {ImageBitmap} */ (bitmap);
  if (width * height > MOST_PIXELS) refuse("pixels", { width, height });
  if (Math.max(width, height) > LONGEST_SIDE * Math.min(width, height))
    refuse("long", { width, height });
  const context = contextOf(width, height);
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(/** @type {ImageBitmap} */ (bitmap), 0, 0);
  const { data: rgba } = context.getImageData(0, 0, width, height);
  const n = width * height;
  const data = new Uint8Array(3 * n);
  for (let i = 0; i < n; i++)
    for (let colour = 0; colour < 3; colour++) data[colour * n + i] = rgba[4 * i + colour];
  return { shape: [3, height, width], data };
}

/** Encode colours [3, height, width] as a PNG file. @param {ArrayLike<number>} seen @param {number[]} size height and width */
export async function pngOf(seen, [height, width]) {
  const context = contextOf(width, height);
  const image = context.createImageData(width, height);
  const n = width * height;
  for (let i = 0; i < n; i++) image.data.set([seen[i], seen[n + i], seen[2 * n + i], 255], 4 * i);
  context.putImageData(image, 0, 0);
  const blob = await new Promise((resolve) => context.canvas.toBlob(resolve));
  return viewOf(new Uint8Array(await blob.arrayBuffer()));
}

/** The row below a picture with a button to choose an image file. @param {any} model @param {AbortSignal} signal @returns {HTMLElement[]} */
export function anotherImage(model, signal) {
  const carried = model.get("_carried");
  if (!carried?.travels) return [];
  const requests = new Requests(model, signal);
  const message = element("p.tl-message#image-message", { role: "alert", hidden: true });
  const tell = (text) => Object.assign(message, { textContent: text, hidden: !text });
  const busy = element("p.tl-hint#image-busy", { role: "status", hidden: true });
  const waiting = new Waiting(busy);
  const file = element("input#image-file", {
    type: "file",
    accept: "image/png,image/jpeg,image/webp,image/bmp",
    hidden: true,
  });
  const choose = button(say("another"), "another", () => file.click());
  file.addEventListener("change", async () => {
    const [chosen] = file.files ?? [];
    file.value = "";
    if (!chosen) return;
    const ask = (pixels) => requests.ask({ type: "run", pixels, name: chosen.name });
    const said = pixelsOf(chosen)
      .then(ask)
      .then(() => "", asSentence);
    tell(await waiting.during(said, say("reading")));
  });
  const row = carried.prepares ? [element("div.tl-trials", choose, file)] : [];
  return [...row, message, busy, inPageLine(model, signal), ...weightsLine(model)];
}

/** The model of a view: one that computes here if the page carries a model. @param {any} model @param {AbortSignal} signal */
export const alivePatches = (model, signal) =>
  carriesModel(model) ? new ImagePage(model, signal) : model;

class ImagePage extends TextPage {
  view = view;

  /** Stay live if the engine fails: each request then reports why. */
  get(name) {
    return name === "_live" || this.page.get(name);
  }

  /** @param {Record<string, any>} given the pixels, and whether to `prepare` them */
  async #read(given) {
    const of = this.next();
    return { ...(await this.ask({ ask: "read", of, ...given })), of };
  }

  async again() {
    const { buffer } = bytesOf(this.page.get("_pixels")).slice();
    const pixels = { shape: this.carried.shape, data: new Float32Array(buffer) };
    return [await this.#read({ pixels })];
  }

  /** Another image. @param {{pixels: {shape: number[], data: Uint8ClampedArray}, name: string}} given [3, height, width] */
  async run({ pixels, name }) {
    const { page, carried } = this;
    const { first } = page.get("_grid");
    const read = await this.#read({ pixels, prepare: true });
    const asked = (what, more) => this.named([read], what, undefined, more);
    const { numbers } = await asked(`rows/${first}`);
    const far =
      page.get("kind") === "encoder" ? (await asked("far")).info.values : page.get("_far");
    const [top] = (await asked("effect", { edits: [] })).info.rows;
    const edits = page.get("_edits"); // the positions are the same, so they hold for this image too
    const effect = edits.length ? (await asked("effect")).info : {};
    const picture = await pngOf(read.seen, carried.shape.slice(-2));
    this.take([read]);
    page.set({
      ...answersOf([[`rows/${first}`, numbers]]),
      _pixels: viewOf(read.pixels),
      _picture: picture,
      _far: far,
      _effect: effect,
      _every: [],
      ...(top ? { _unit: say("unit", { name: top[0] }) } : {}),
      selected: null,
      link: "",
      _how: { ...page.get("_how"), edits: [], image: name },
      _carried: { ...carried, moved: true, image: name },
    });
  }
}
