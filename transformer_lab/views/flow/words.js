// How a logit comes together, in words and numbers. The counterpart of words.py.

import { quoted, short, withSign } from "../shared/messages.js";
import { moved } from "../shared/words.js";

/**
 * @typedef {object} FlowSaid
 * @property {string} token
 * @property {string | null} against
 * @property {string} at
 * @property {number} position
 * @property {number} logit
 * @property {[number, number, number, number, number] | null} best the edge that carries most: layer, head, key, query, value
 * @property {[string, string]} bestNames its tokens
 * @property {number} shown
 * @property {number} n
 * @property {number} rest what the edges that are not shown bring together
 * @property {number} cuts
 * @property {number} before
 * @property {number} after
 * @property {[string, number]} answer the likeliest token now
 *
 * @param {FlowSaid} said
 */
export function flowSentence(said) {
  const above = said.against === null ? "" : ` above ${quoted(said.against)}`;
  const what = `${quoted(said.token)}${above} after ${quoted(said.at)} (${said.position})`;
  let text = `${what}: no head carries anything toward its logit.`;
  if (said.best) {
    const [layer, head, key, query, value] = said.best;
    const [source, target] = said.bestNames.map(quoted);
    const way = key === query ? `at ${source} (${key}) itself` : `from ${source} (${key}) to ${target} (${query})`;
    text = `${what}: of what heads carry toward its logit (${withSign(said.logit)}), layer ${layer}, head ${head} brings most, ${withSign(value)} ${way}. `
      + `${said.shown} of ${said.n} edges are shown; the others together bring ${withSign(said.rest)}.`;
  }
  if (!said.cuts) return text;
  const [name, probability] = said.answer;
  const now = name === said.token ? "" : `; now ${quoted(name)} is likeliest (${short(probability)})`;
  return `With ${said.cuts} edge${said.cuts > 1 ? "s" : ""} cut, P(${quoted(said.token)}) ${moved(short(said.before), short(said.after))}${now}. ${text}`;
}
