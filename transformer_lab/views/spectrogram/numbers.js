// What a word gives to every time as numbers for a file, named as Python names them (exported.py).

import { nested, single } from "../shared/files.js";

/**
 * @param {object} on
 * @param {import("./sound.js").Sound} on.sound
 * @param {ArrayLike<number>} on.weights of what is chosen
 * @param {(layer: number, head: number) => ArrayLike<number>} on.row of a head
 * @param {ImageBitmap} on.image the spectrogram, the highest band first
 * @param {string} on.who
 * @returns {import("../shared/files.js").Numbers}
 */
export function soundNumbers({ sound, weights, row, image, who }) {
  const { heads, positions, step, hop, bins, frames, low, high } = sound;
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  const loud = (band, frame) => low + (pixels[4 * ((bins - 1 - band) * frames + frame)] / 255) * (high - low);
  const every = nested([heads.length, Math.max(...heads)], (layer, head) => Array.from(row(layer, head), single));
  return {
    arrays: {
      weight: { axes: ["seconds"], means: `attention weight of the chosen word: ${who}`, values: Array.from(weights, single) },
      every_head: { axes: ["layer", "head", "seconds"], means: "attention weight of each head", values: every },
      spectrogram: {
        axes: ["band", "frame_seconds"], means: "log-mel, as the model was given it, in the 256 shades of the picture",
        values: nested([bins, frames], (band, frame) => single(loud(band, frame))),
      },
    },
    axes: { seconds: nested([positions], (i) => i * step), frame_seconds: nested([frames], (i) => i * hop) },
  };
}
