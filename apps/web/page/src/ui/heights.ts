/** The heights and offsets of the rows of a list, measured or estimated. */
export class Heights {
  #measured = new Map<string, number>();
  #keys: readonly string[] = [];
  #index = new Map<string, number>();
  #offsets = new Float64Array(1);
  #isStale = true;

  constructor(readonly estimate: (index: number) => number) {}

  set(keys: readonly string[]): void {
    const known = this.#keys;
    if (keys === known) return;
    this.#keys = keys;
    this.#isStale = true;
    let same = 0;
    while (same < known.length && known[same] === keys[same]) same++;
    // Most often, a new message is the only difference.
    if (same < known.length) {
      this.#index.clear();
      same = 0;
    }
    for (; same < keys.length; same++) this.#index.set(keys[same] ?? "", same);
  }

  /** Notes a measured height. Returns true if it differs from the known one. */
  measure(key: string, height: number): boolean {
    const known = this.#measured.get(key);
    if (known !== undefined && Math.abs(known - height) < 0.5) return false;
    this.#measured.set(key, height);
    this.#isStale = true;
    return true;
  }

  /** Forgets all heights, because another width changes them. */
  forget(): void {
    this.#measured.clear();
    this.#isStale = true;
  }

  get total(): number {
    return this.#sums()[this.#keys.length] ?? 0;
  }

  /** The top of a row. */
  top(index: number): number {
    return this.#sums()[Math.min(Math.max(index, 0), this.#keys.length)] ?? 0;
  }

  indexOf(key: string): number {
    return this.#index.get(key) ?? -1;
  }

  keyAt(index: number): string | undefined {
    return this.#keys[index];
  }

  /** The row at a distance from the top. */
  at(offset: number): number {
    const sums = this.#sums();
    let low = 0;
    let high = Math.max(this.#keys.length - 1, 0);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((sums[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #sums(): Float64Array {
    if (!this.#isStale) return this.#offsets;
    const offsets = new Float64Array(this.#keys.length + 1);
    let sum = 0;
    for (let index = 0; index < this.#keys.length; index++) {
      offsets[index] = sum;
      sum += this.#measured.get(this.#keys[index] ?? "") ?? this.estimate(index);
    }
    offsets[this.#keys.length] = sum;
    this.#offsets = offsets;
    this.#isStale = false;
    return offsets;
  }
}
