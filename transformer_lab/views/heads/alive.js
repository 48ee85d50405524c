// Another text in a HeadView, on a page that carries its model.

import { aliveTextPage } from "../pages/text_page.js";
import { bytesOf } from "../shared/codecs.js";
import { headBlock, kindsOf, mapTraits, NO_BYTES, ONE_HEAD } from "./reading.js";

/** The model of a view, alive where its page carries one. @param {any} model @param {AbortSignal} signal */
export const aliveHeads = (model, signal) =>
  aliveTextPage(model, signal, { traits: headTraits, block: headPart, names: ONE_HEAD, wanted: () => !bytesOf(model.get("_maps") ?? NO_BYTES).byteLength });

const about = (ask, { of }) => (question) => ask({ ...question, of });

async function headTraits(ask, [told], page) {
  const kinds = kindsOf(page.get("_kinds"), told);
  const place = { kind: page.get("kind"), layer: page.get("layer"), head: page.get("head") };
  return { _kinds: kinds, ...(await mapTraits(about(ask, told), kinds, place)), a: null, b: null };
}

const headPart = (ask, [told], name, page) => headBlock(about(ask, told), page.get("_kinds"), name);
