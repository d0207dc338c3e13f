// Web storage that may be blocked: what can't be kept lives as long as the page.

class Storage {
  #kind;
  #fallback = new Map();

  constructor(kind) {
    this.#kind = kind;
  }

  get(name) {
    try {
      return window[this.#kind].getItem(`heliograph.${name}`) ?? this.#fallback.get(name) ?? null;
    } catch {
      return this.#fallback.get(name) ?? null;
    }
  }

  set(name, value) {
    try {
      window[this.#kind].setItem(`heliograph.${name}`, value);
    } catch {
      this.#fallback.set(name, value);
    }
  }

  remove(name) {
    this.#fallback.delete(name);
    try {
      window[this.#kind].removeItem(`heliograph.${name}`);
    } catch {
      // It was never there.
    }
  }
}

/** Kept until the tab is closed. */
export const forTheSession = new Storage("sessionStorage");
/** Kept until it is removed. */
export const forGood = new Storage("localStorage");
