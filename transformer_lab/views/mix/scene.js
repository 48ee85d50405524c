// Attention of one word, by hand: weights and mixture from its scores.

import { fixed, messages } from "../shared/messages.js";
import catalogue from "./messages.json" with { type: "json" };

const say = messages(catalogue);
const SIZES = [1, 4, 16, 64, 256];

/** softmax(scores / √d) over the words that are not hidden. */
function weightsOf({ scores, d, hidden }) {
  const scaled = scores.map((score, i) => (hidden.includes(i) ? -Infinity : score / Math.sqrt(d)));
  const top = Math.max(...scaled);
  if (top === -Infinity) return scores.map(() => 0);
  const shares = scaled.map((score) => Math.exp(score - top));
  const total = shares.reduce((sum, share) => sum + share, 0);
  return shares.map((share) => share / total);
}

function scene(s) {
  const { words, scores, d, hidden, values, query } = s;
  const weights = weightsOf(s);
  const mixture = [0, 1].map((axis) =>
    weights.reduce((sum, weight, i) => sum + weight * values[i][axis], 0),
  );
  const [x, y] = mixture;
  const weight = Math.max(...weights);
  const word = weight > 0 ? words[weights.indexOf(weight)] : null;
  const sentence = say("sentence", { word, weight, query: query || null, x, y });
  const off = words.map((_, i) => hidden.includes(i));
  const scaled = scores.map((score, i) => (off[i] ? null : score / Math.sqrt(d)));
  const bars = (title, numbers) => {
    const text = numbers.map((x, i) => (off[i] ? say("hidden") : fixed(x)));
    return { title, mark: { type: "bars", values: numbers, rows: { labels: words }, text } };
  };
  const points = {
    type: "points",
    places: { shape: [words.length, 2], values: values.flat() },
    names: words,
    sizes: weights,
    sizes_mean: say("weight"),
    special: mixture,
    special_name: say("mixture"),
  };
  const still = [
    bars(say("scores", { d }), scaled),
    bars(say("weights"), weights),
    { title: say("values"), mark: points },
  ];
  const of = (numbers, means) => [["word"], numbers, means];
  return {
    name: "",
    sentence,
    weights,
    mixture,
    panels: [
      [{ part: "mix", title: "", mark: { type: "mix", off, scaled, weights, mixture }, still }],
    ],
    axes: { word: words, coordinate: ["x", "y"] },
    arrays: {
      score: of(scores, say("is_score")),
      hidden: of(off, say("is_hidden")),
      weight: of(weights, say("is_weight")),
      x: of(
        values.map(([x]) => x),
        say("is_x"),
      ),
      y: of(
        values.map(([, y]) => y),
        say("is_y"),
      ),
      mixture: [["coordinate"], mixture, say("is_mixture")],
    },
  };
}

/** @type {import("../shared/scene.js").SceneOf} */
export const view = {
  folder: "mix",
  say,
  bare: true,
  traits: ["scores", "d", "hidden", "_words", "_values", "_query"],
  needs: () => [],
  scene,
  controls: ({ d }) => [
    {
      part: "size",
      label: say("divide_by_d_d"),
      chosen: d,
      set: (value) => ({ d: value }),
      choices: [...new Set([...SIZES, d])]
        .sort((a, b) => a - b)
        .map((value) => ({ value, text: value === 1 ? say("not_divided") : String(value) })),
    },
  ],
  failed: (_, why) => why,
  code: ({ scores, d, hidden }) =>
    `view.scores, view.d, view.hidden = [${scores.join(", ")}], ${d}, [${hidden.join(", ")}]`,
};
