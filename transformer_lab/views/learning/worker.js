// A model that learns in a Web Worker, so that the page never waits for it.

import { Scheduler } from "../engine/scheduler.js";
import { School } from "./school.js";

const school = new School();
const scheduler = new Scheduler(
  (question) => school.answer(question),
  (message) => postMessage(message),
);
onmessage = ({ data }) => (data ? scheduler.take(data) : scheduler.stop());
