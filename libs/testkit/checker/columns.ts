/** Whole numbers by index, as many as come; -1 where none was set. Four bytes each. */
export class Column {
  #values = new Int32Array(1_024).fill(-1);
  #length = 0;

  /** One more than the highest index that was set. */
  get length(): number {
    return this.#length;
  }

  get(index: number): number {
    return index < this.#length ? (this.#values[index] ?? -1) : -1;
  }

  set(index: number, value: number): void {
    if (index >= this.#values.length) {
      const grown = new Int32Array(Math.max(index + 1, this.#values.length * 2)).fill(-1);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[index] = value;
    if (index >= this.#length) this.#length = index + 1;
  }
}

/** Something for each key, made when it is first asked for. */
export class ByKey<Key, Value> extends Map<Key, Value> {
  readonly #make: (key: Key) => Value;

  constructor(make: (key: Key) => Value) {
    super();
    this.#make = make;
  }

  of(key: Key): Value {
    const found = this.get(key);
    if (found !== undefined) return found;
    const made = this.#make(key);
    this.set(key, made);
    return made;
  }
}
