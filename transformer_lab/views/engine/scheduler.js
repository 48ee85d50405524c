// Runs answers step by step, in the order asked, so that each starts from what the last one left.
// Between steps it takes new messages: a newer question replaces the older one in its lane, and
// background questions let others go first.

const SLICE = 8;

export class Scheduler {
  /**
   * @param {(question: any) => Generator<any, any>} answer
   * @param {(message: any) => void} post
   * @param {(run: () => void) => void} [soon] runs a function after messages that have come in
   *   meanwhile
   * @param {number} [slice] milliseconds to run at a stretch
   */
  constructor(answer, post, soon = macrotask(), slice = SLICE) {
    this.answer = answer;
    this.post = post;
    this.soon = soon;
    this.slice = slice;
    /** @type {{id: number, lane: string, of: string, background: boolean, steps: Generator<any, any>}[]} */
    this.jobs = [];
    this.running = false;
  }

  /**
   * @param {{id: number, lane?: string, background?: boolean, question: any, ended?: number}} message
   *   without a lane it gets its own; "read" replaces all questions about that text, "load" about
   *   every text; `ended`: id of a question that is abandoned
   */
  take({ id, lane = `#${id}`, background = false, question, ended }) {
    const { ask, of = "" } = question ?? {};
    const over = (job) =>
      job.id === ended || job.lane === lane || ask === "load" || (ask === "read" && job.of === of);
    for (const job of this.jobs.filter(over)) this.end(job, { replaced: true });
    if (!question) return;
    try {
      this.jobs.push({ id, lane, of, background, steps: this.answer(question) });
    } catch (error) {
      return this.post({ id, error: error.message });
    }
    if (!this.running) this.soon(() => this.run());
    this.running = true;
  }

  /** Abandon all questions. */
  stop() {
    for (const job of this.jobs) job.steps.return(null);
    this.jobs = [];
  }

  run() {
    const until = performance.now() + this.slice;
    do {
      if (this.jobs.length) this.step(this.jobs.find((job) => !job.background) ?? this.jobs[0]);
    } while (this.jobs.length && performance.now() < until);
    this.running = this.jobs.length > 0;
    if (this.running) this.soon(() => this.run());
  }

  step(job) {
    try {
      const { done, value } = job.steps.next();
      if (done) this.end(job, { value });
      else if (value !== null) this.post({ id: job.id, part: value });
    } catch (error) {
      this.end(job, { error: error.message });
    }
  }

  end(job, result) {
    this.jobs = this.jobs.filter((one) => one !== job);
    job.steps.return(null); // releases what it holds
    this.post({ id: job.id, ...result });
  }
}

/** A function that runs callbacks after the queued events; a timer would add four milliseconds. */
function macrotask() {
  const { port1, port2 } = new MessageChannel();
  /** @type {(() => void)[]} */
  const waiting = [];
  port1.onmessage = () => waiting.shift()?.();
  return (run) => {
    waiting.push(run);
    port2.postMessage(null);
  };
}
