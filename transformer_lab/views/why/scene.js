// What a WhyView shows of one score: the row that it competes in, its dimensions, and which
// components wrote what query and key carry.

import { largest } from "../shared/attention.js";
import { fixed, messages, numbered, short, withSign } from "../shared/messages.js";
import { callOn, SELECTION } from "../shared/scene.js";
import { cellOf, fallingParts, largestBySize, shadeOf } from "./cell.js";
import catalogue from "./messages.json" with { type: "json" };

const say = messages(catalogue);
const COMPETITORS = 8;
const LISTED = 8; // sources per side; the rest are summed
const write = (x) => (Math.abs(x) < 0.05 ? "" : fixed(x, 1)); // in the table

/** The name of the score that the choices need; "-" is for what `WhyData.place` fills in. */
function nameOf({ kind, layer, head, selected, size: { queries, keys } }) {
  const at = (value, count) => (value == null ? "-" : Math.min(value, count - 1));
  const [query, key] = selected ?? [];
  return ["cell", kind, layer, head, at(query, queries), at(key, keys)].join("/");
}

/** What is on view of a score: of its excess over the row's mean, by rotary pair. */
function chosenOf(s, found) {
  const cell = found.get(nameOf(s));
  const { info } = cell;
  const above = Boolean(s.options.above) && info.mean !== null;
  const pairs = Boolean(s.options.pairs && info.pairs);
  const { query_tokens: queries, key_tokens: keys } = s.size;
  const tokens = { query: queries[info.query], key: keys[info.key] };
  const split = cell.splits[above ? "above" : "score"];
  const name = info.names[0].replace("cell/", "");
  return { cell, info, above, pairs, tokens, split, name };
}

function sentenceOf(s, { cell, info, above }) {
  const products = cell.productsOf(above);
  const dimension = largestBySize(products);
  const [key_part, key_value] = cell.best("key", above);
  const [query_part, query_value] = cell.best("query", above);
  return say("sentence", {
    ...s,
    ...info,
    query: numbered(s.size.query_tokens, info.query),
    key: numbered(s.size.key_tokens, info.key),
    apart: info.mean === null ? null : info.scaled - info.mean,
    above,
    dimension,
    product: products[dimension],
    key_part,
    key_value,
    query_part,
    query_value,
  });
}

/** Which keys compete in the row, and the way from the dot product to the weight. */
function rowPanel({ size, hover }, { cell, info, tokens }) {
  const { query, key } = info;
  const keys = largest(cell.weights, COMPETITORS).map(({ index }) => index);
  if (!keys.includes(key)) keys.splice(Math.min(keys.length, COMPETITORS - 1), 1, key);
  const weights = keys.map((k) => cell.weights[k]);
  const scores = keys.map((k) => {
    const score = cell.scores[k];
    return Number.isFinite(score) ? fixed(score) : say("masked");
  });
  const mark = {
    type: "bars",
    values: weights,
    rows: { labels: keys.map((k) => size.key_tokens[k]), tokens: true },
    means: say("attention_weight"),
    chosen: [keys.indexOf(key)],
    text: weights.map((weight, i) => say("weight_of", { text: short(weight), score: scores[i] })),
  };
  const spot = hover.row;
  return {
    part: "row",
    title: say("who_competes"),
    mark,
    about: ["what “", { token: tokens.query }, say("attends_to_choose_a", { query })],
    query,
    row: {
      caption: say("the_largest_weights_of"),
      names: [say("key_word"), say("score"), say("weight")],
      keys,
      scores,
    },
    ledger: { caption: say("from_dot_product_to"), rows: ledgerOf(info) },
    pointed: [null, query].includes(spot?.query) ? spot.key : null,
    still: [{ title: say("the_rows_largest"), mark, width: 0.38 }],
  };
}

/** Name, number and meaning of each step. */
function ledgerOf({ dot, scale, scaled, softcap, capped, bias, score, weight, mean }) {
  const line = (name, value, quiet) => [name, value, { quiet }];
  const lines = [
    line(say("query_key"), fixed(dot, 3), say("the_dot_product")),
    line(say("scale"), fixed(scaled, 3), say("times", { scale })),
  ];
  if (softcap !== null)
    lines.push(
      line(say("softcap"), fixed(capped, 3), say("squeezed_to", { softcap: `${softcap}` })),
    );
  if (bias === null) lines.push(line(say("bias"), "−∞", say("masked_the_query_may")));
  else if (bias) lines.push(line(say("bias"), withSign(bias, 3), say("position_bias_or_mask")));
  const average = mean === null ? "" : say("the_rows_mean_before", { mean });
  return [
    ...lines,
    line(say("score_word"), score === null ? "−∞" : fixed(score, 3), average),
    line(say("softmax"), weight.toFixed(4), say("its_fraction_of_the")),
  ];
}

/** The score as a sum of its dimensions, or of its rotary pairs. */
function fallPanel({ hover }, { cell, info, above, pairs }, sentence) {
  const parts = fallingParts(pairs ? cell.byPair(above) : cell.productsOf(above));
  const k = above ? cell.aboveK : cell.k;
  const unit = pairs ? say("rotary_pair") : say("dimension");
  const sum = parts.at(-1).to;
  const factors = ({ index }) => [cell.q, k].map((x) => fixed(x[index], 3));
  const members = ({ index }) => (pairs ? cell.pairs[index].join(", ") : String(index));
  const mark = {
    type: "waterfall",
    values: parts.map(({ value }) => value),
    parts: {
      title: say("largest_product_first", { unit }),
      labels: parts.map(({ index }) => say("part_label", { pairs, index })),
    },
  };
  const place = hover.waterfall ?? null;
  const pointed = parts[place ?? -1];
  const how = !pairs && pointed && `: ${[...factors(pointed), info.scale.toFixed(4)].join(" × ")}`;
  const by = pairs ? say("rotary_pair_by_rotary") : say("dimension_by_dimension");
  return {
    part: "waterfall",
    title: say("the_score_number_by"),
    hint: above ? say("q_key_the_rows") : say("q_k_scale"),
    picture: say("the_score_of", { part: by }),
    says: say("the_score_as_a", { parts: parts.length, sentence }),
    mark,
    parts,
    sum,
    place,
    below: say("largest_first", { unit }),
    every: [say("every_number_as_a"), say("every_number")],
    numbers: {
      names: pairs
        ? ["pair", "product", say("sum_so_far")]
        : [
            "dimension",
            "query",
            above ? say("key_above_mean") : "key",
            "product",
            say("sum_so_far"),
          ],
      rows: parts.map((part) => [
        members(part),
        ...(pairs ? [] : factors(part)),
        withSign(part.value, 3),
        fixed(part.to, 3),
      ]),
    },
    line: pointed
      ? [
          `${say("part", { pairs, of: members(pointed) })}${how || ""} = `,
          { text: withSign(pointed.value, 4), part: "number" },
          say("so_far", pointed),
        ]
      : [{ quiet: say("bars_add_up_to", { total: sum }) }],
    still: [{ title: say("number_by_number", { above, by }), mark, width: 0.62 }],
  };
}

/** What wrote one side, the largest parts first. */
function sideOf(side, { info, split, tokens }) {
  const { names } = info.sources[side];
  const value = (i) => split[side][i];
  const order = [...names.keys()].sort((a, b) => Math.abs(value(b)) - Math.abs(value(a)));
  const kept = order.slice(0, LISTED);
  const sum = (places) => places.reduce((all, i) => all + value(i), 0);
  const labels = kept.map((i) => names[i]);
  const values = kept.map(value);
  if (order.length > LISTED) {
    labels.push(say("others", { n: order.length - LISTED }));
    values.push(sum(order.slice(LISTED)));
  }
  const most = Math.max(...values.map(Math.abs), 1e-9);
  const caption = side === "key" ? say("the_keys_side_what") : say("the_querys_side_what");
  return {
    caption: [caption, { token: tokens[side] }, say("carries", { info: info[side] })],
    title: say("side_wrote", { side, sum: sum(order) }),
    mark: {
      type: "bars",
      values,
      rows: { labels },
      shades: values.map((x) => shadeOf(x, most)),
      text: values.map((x) => withSign(x)),
    },
  };
}

/** Both sides as ranked lists, and a table of both together. */
function sourcesPanel({ hover }, chosen) {
  const { info, split, above } = chosen;
  const panel = { part: "table", title: say("who_wrote_it") };
  const why = info.why_no_sources || (above ? info.why_no_above : "");
  if (!split)
    return { ...panel, mark: { type: "matrix" }, note: say("not_known", { why }), still: [] };
  const sides = ["key", "query"].map((side) => sideOf(side, chosen));
  const namesOf = (all, kept, rest) => [
    ...kept.map((i) => all[i]),
    ...(kept.length < all.length ? [rest] : []),
  ];
  const axis = (side, kept) => ({ labels: namesOf(info.sources[side].short, kept, "rest") });
  const full = (side, kept, at) => namesOf(info.sources[side].names, kept, say("all_others"))[at];
  const { rows, columns, shape, table, total } = split;
  const { row = null, column = null } = hover.table ?? {};
  const spot = row === null || column === null ? null : { row, column };
  const about = say("parts_of_the_score");
  const value = spot && table[row * shape[1] + column];
  const text =
    spot &&
    say("querys_keys", { name: full("query", rows, row), name2: full("key", columns, column) });
  return {
    ...panel,
    hint: say("into_the_stream", {
      part: above ? say("of_what_lies_above") : say("of_the_score"),
      total,
    }),
    picture: say("querys_source_row_keys"),
    says: spot
      ? say("arrow_keys_move", { about, text, value })
      : say("arrow_keys_choose_a", { about }),
    about: say("both_together_row_the"),
    note: say("layer_norms_are_frozen"),
    mark: {
      type: "matrix",
      values: { shape, values: table },
      rows: axis("query", rows),
      columns: axis("key", columns),
      signed: true,
      end: Math.max(...table.map(Math.abs), 1e-9),
    },
    hover: spot,
    line: spot
      ? [text, { text: withSign(value, 3), part: "table-number" }]
      : [{ quiet: say("hover_over_a_cell") }],
    sides,
    still: sides,
  };
}

/** What a file holds. */
function filesOf({ size }, { cell, info }) {
  const d = ["dimension"];
  const arrays = {
    q: [d, cell.q, say("is_q")],
    k: [d, cell.k, say("is_k")],
    product: [d, cell.products, say("is_product")],
    score: [["key"], cell.scores, say("is_score")],
    weight: [["key"], cell.weights, say("is_weight")],
  };
  const axes = { key: size.key_tokens.slice(0, info.keys) };
  if (cell.aboveProducts) arrays.product_above_mean = [d, cell.aboveProducts, say("is_above")];
  for (const [name, split] of Object.entries(cell.splits))
    for (const side of ["query", "key"]) {
      const axis = `${side}_source`;
      axes[axis] = info.sources[side].names;
      arrays[`${name}_by_${axis}`] = [[axis], split[side], say("is_by", { name, side })];
    }
  return { axes, arrays };
}

function scene(s, found) {
  const chosen = chosenOf(s, found);
  const { name, above, info } = chosen;
  const sentence = sentenceOf(s, chosen);
  return {
    name,
    sentence,
    title: say("why_here_of", info),
    subtitle: say("why_here"),
    note: s.note,
    panels: [[rowPanel(s, chosen), fallPanel(s, chosen, sentence)], [sourcesPanel(s, chosen)]],
    marked: { above: String(above) },
    ...filesOf(s, chosen),
  };
}

/** Choices of query, key, split and unit. */
function controls(s, found) {
  const { info, above, pairs } = chosenOf(s, found);
  const { query_tokens: queries, key_tokens: keys } = s.size;
  const token = (part, label, chosen, tokens, set) => ({
    part,
    label,
    count: tokens.length,
    chosen,
    text: (at) => `${at} ${tokens[at]}`,
    set,
  });
  const option = (part, label, name, on, choices) => ({
    part,
    label,
    chosen: choices[Number(on)].value,
    choices,
    set: (value) => ({ _options: { ...s.options, [name]: value === choices[1].value } }),
  });
  const splits = [
    { value: "score", text: say("of_the_score") },
    { value: "above", text: say("above_the_rows_mean"), name: say("what_lies_above_the") },
  ];
  const units = [
    { value: "dimension", text: say("dimension") },
    { value: "pair", text: say("rotary_pair"), name: say("rotary_pair_two_dimensions") },
  ];
  const { query, key } = info;
  return [
    token("query", say("query_label"), query, queries, (at) => ({ selected: [at, null] })),
    token("key", say("key_label"), key, keys, (at) => ({ selected: [query, at] })),
    ...(info.mean === null ? [] : [option("split", say("split"), "above", above, splits)]),
    ...(info.pairs ? [option("unit", say("by"), "pairs", pairs, units)] : []),
  ];
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "why",
  say,
  traits: [...SELECTION, "_options", "_batch", "_note"],
  needs: (s) => [nameOf(s)],
  names: ({ info }) => info.names,
  read: ({ info, bytes }) => cellOf(info, bytes),
  scene,
  bare: true,
  forgets: true,
  parts: {
    row: { pick: (_, selected) => ({ selected }) },
    table: { size: [560, 0], height: ([rows]) => 31 * rows, write },
  },
  controls,
  spot: ({ hover }) => hover.row ?? null,
  pointed: (_, spot) => (spot ? { row: spot } : {}),
  part: ({ layer, head }) => `layer-${layer}-head-${head}`,
  failed: (_, why, s) =>
    s.held ? say("this_page_holds_only", s) : say("layer_head_cannot_be", { ...s, why }),
  code(s, found) {
    const { info, above } = chosenOf(s, found);
    const call = info.sources ? "score_by_source" : "score_by_dimension";
    const { layer, head, query, key } = info;
    return callOn(s, call, [layer, head, query, key], above && "above_mean=True");
  },
};
