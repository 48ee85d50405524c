/** The end of an answer; an error as its sentence. */
export function last(steps) {
  try {
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
    }
  } catch (error) {
    return { error: error.message, stack: error.stack };
  }
}
