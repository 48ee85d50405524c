// Remembers a reader's choice from one view to the next; pages that may not store anything forget
// it.

/** @param {string} name @returns {{get: () => string | null, set: (value: string) => void}} */
export function remembered(name) {
  const key = `transformer-lab:${name}`;
  const attempt = (what) => {
    try {
      return what();
    } catch {
      return null; // storage is refused in some frames
    }
  };
  return {
    get: () => attempt(() => localStorage.getItem(key)),
    set: (value) => void attempt(() => localStorage.setItem(key, value)),
  };
}
