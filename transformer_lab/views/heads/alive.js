// Another text in a HeadView, on a page that carries its model.

import { carriesModel } from "../pages/page_model.js";
import { TextPage } from "../pages/text_page.js";
import { headBlock, kindsOf, mapTraits } from "./reading.js";

/** The model of a view, alive where its page carries one. @param {any} model @param {AbortSignal} signal */
export const aliveHeads = (model, signal) => (carriesModel(model) ? new TextPage(model, signal, headTraits, headPart) : model);

const about = (ask, { of }) => (question) => ask({ ...question, of });

async function headTraits(ask, [told], page) {
  const kinds = kindsOf(page.get("_kinds"), told);
  const place = { kind: page.get("kind"), layer: page.get("layer"), head: page.get("head") };
  return { _kinds: kinds, ...(await mapTraits(about(ask, told), kinds, place)), a: null, b: null };
}

const headPart = (ask, [told], name, page) => headBlock(about(ask, told), page.get("_kinds"), name);
