// The engine in a Web Worker, so that the page never waits for it.

import { Desk } from "./desk.js";
import { Scheduler } from "./scheduler.js";

const desk = new Desk();
const scheduler = new Scheduler(answerOf, (message) => postMessage(message));

function* answerOf(question) {
  const value = yield* desk.answer(question);
  question.weights?.buffer.transfer?.(0); // the engine's memory has a copy now
  return value;
}

postMessage({}); // it runs
onmessage = ({ data }) => (data ? scheduler.take(data) : scheduler.stop());
