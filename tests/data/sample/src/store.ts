export class Store<T> {
  private items = new Map<string, T>();

  /**
   * Looks an item up, making it if it is not there yet.
   *
   * @param key - its name
   */
  getOrCreate(key: string, make: () => T): T {
    let item = this.items.get(key);
    if (item === undefined) this.items.set(key, (item = make()));
    return item;
  }
}
