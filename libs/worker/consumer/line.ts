/** What waits in line. Taking from the front costs the same however long it is. */
export class Line<Item> {
  #items: Item[] = [];
  #at = 0;

  get isEmpty(): boolean {
    return this.#at === this.#items.length;
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  /** Takes the first one. There must be one. */
  shift(): Item {
    const item = this.#items[this.#at] as Item;
    this.#at += 1;
    if (this.#at === this.#items.length || this.#at > 4_096) {
      this.#items = this.#items.slice(this.#at);
      this.#at = 0;
    }
    return item;
  }
}
