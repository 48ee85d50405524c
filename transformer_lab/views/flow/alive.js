// Another text in a FlowView, and every cut of it, on a page that carries its model. The counterpart of data.py.

import { floatsView } from "../pages/page_model.js";
import { aliveTextPage } from "../pages/text_page.js";
import { flowName } from "./picture.js";

const FLOW = /^flow\/(\d+)\/(\d+|-)\/(-|\d+\.\d+\.\d+\.\d+(?:\+\d+\.\d+\.\d+\.\d+)*)$/;
const LONGEST = 256; // most tokens that can still be distinguished

/** The model of a view: one that computes here if the page carries a model. @param {any} model @param {AbortSignal} signal */
export const aliveFlows = (model, signal) =>
  aliveTextPage(model, signal, { traits: flowTraits, block: flowBlock, names: FLOW });

async function flowTraits(ask, [read], page) {
  const { tokens } = read.text;
  if (tokens.length > LONGEST)
    throw new Error(
      `text has ${tokens.length} tokens; a flow is drawn of up to ${LONGEST}: shorten it`,
    );
  const sizes = Object.entries(page.get("_kinds")).map(([kind, size]) => [
    kind,
    { ...size, queries: tokens.length, keys: tokens.length },
  ]);
  const start = { position: tokens.length - 1, token: null, cuts: [] };
  const { info, buffers } = await flowOf(ask, read, page, start);
  return {
    _kinds: Object.fromEntries(sizes),
    _tokens: tokens,
    ...start,
    _flow: info,
    _flow_data: buffers[0],
  };
}

async function flowBlock(ask, [read], name, page) {
  const [, position, token, cuts] = name.match(FLOW) ?? [];
  if (!position) throw new Error("this page does not hold it");
  const places = cuts === "-" ? [] : cuts.split("+").map((cut) => cut.split(".").map(Number));
  return flowOf(ask, read, page, {
    position: Number(position),
    token: token === "-" ? null : Number(token),
    cuts: places,
  });
}

async function flowOf(ask, { of }, page, { position, token, cuts }) {
  const edits = cuts.map(([layer, head, query, key]) => ({
    edit: "knock_out",
    layer,
    head,
    query,
    key,
  }));
  const { against_id: against } = page.get("_flow");
  const found = await ask({ ask: "flow", of, edits, position, token, against });
  const { edges, stream, stays, mlps } = found;
  const [name, other, ...names] = await ask({
    ask: "names",
    of,
    ids: [found.token, against ?? found.token, ...found.answers.map(({ id }) => id)],
  });
  const info = {
    names: [
      flowName(position, found.token, cuts),
      ...(found.token === found.most ? [flowName(position, null, cuts)] : []),
    ],
    position,
    token: found.token,
    name,
    against: against === null ? null : other,
    against_id: against,
    logit: found.logit,
    constant: found.constant,
    total: found.total,
    n: found.count,
    before: found.before,
    after: found.after,
    edges: edges.length,
    answers: found.answers.map(({ id, before, after }, i) => [id, names[i], before, after]),
    cuts,
  };
  const numbers = [
    edges.flatMap(({ place }) => place),
    edges.map(({ value }) => value),
    ...stream,
    ...stays,
    ...mlps,
  ];
  return { type: "block", info, buffers: [floatsView(numbers)] };
}
