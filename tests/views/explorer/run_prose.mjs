// How a page describes results without Python: reads cases, and writes prose.js's sentences.

import fs from "node:fs";

import { outcomeSentence, partsAt, runCode, sayExplorer } from "../../../transformer_lab/views/explorer/prose.js";
import { unreadSentence } from "../../../transformer_lab/views/pages/unread.js";

const SAYS = {
  outcome: ([subject, { kl, rows, states, mean }]) => outcomeSentence(subject, { kl, rows, states, mean }),
  code: (given) => runCode(...given),
  unread: (given) => unreadSentence(...given),
  parts: (given) => partsAt(...given),
  written: (given) => sayExplorer("written", given),
};
const cases = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
process.stdout.write(JSON.stringify(cases.map(({ what, given }) => SAYS[what](given))));
