// What was drawn, kept in this browser: IndexedDB, or the page's memory where that is blocked or full.

const NAME = "heliograph";
const MOST = 60;

export class Store {
  #database = null;
  #memory = new Map();

  /** Open the store; return whether what is put into it stays. */
  async open() {
    try {
      const opening = indexedDB.open(NAME, 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore("drawn", { keyPath: "id" });
      this.#database = await settled(opening);
    } catch {
      this.#database = null;
    }
    return this.#database !== null;
  }

  /** Return what there is, the newest first. */
  async all() {
    const kept = this.#database ? await this.#run("readonly", (store) => store.getAll()) : [];
    return [...kept, ...this.#memory.values()].sort((one, other) => other.created - one.created);
  }

  /** Keep an entry, and let go of the oldest ones. */
  async put(entry) {
    try {
      if (!this.#database) {
        throw new Error("no database");
      }
      await this.#run("readwrite", (store) => store.put(entry));
    } catch {
      this.#memory.set(entry.id, entry);
    }
    const old = (await this.all()).slice(MOST);
    await Promise.all(old.map(({ id }) => this.remove(id)));
  }

  async remove(id) {
    this.#memory.delete(id);
    if (this.#database) {
      await this.#run("readwrite", (store) => store.delete(id));
    }
  }

  async clear() {
    this.#memory.clear();
    if (this.#database) {
      await this.#run("readwrite", (store) => store.clear());
    }
  }

  #run(mode, act) {
    return settled(act(this.#database.transaction("drawn", mode).objectStore("drawn")));
  }
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("blocked"));
  });
}
