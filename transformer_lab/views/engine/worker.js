// The engine in a Web Worker, so that the page never waits for it.

import { Desk } from "./desk.js";
import { Scheduler } from "./scheduler.js";

const desk = new Desk();
const scheduler = new Scheduler((question) => desk.answer(question), (message) => postMessage(message));
onmessage = ({ data }) => (data ? scheduler.take(data) : scheduler.stop());
