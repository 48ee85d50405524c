// What a reader chose in one view, for the next one; a page that may not store it forgets it.

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
