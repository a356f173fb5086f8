/**
 * What may be read of a block. Writes are numbered in the order in which they were issued. A write
 * takes effect at some moment between its issue and its end: its acknowledgement or, when its
 * consumer died, the end of its session. So a read may not return a write that ended before another was issued
 * that had been acknowledged, or read by somebody, before the read began.
 */
export type Write = {
  block: number;
  session: string;
  /** The number of the newest write that was issued when it ended; Infinity while it has not. */
  ended: number;
  acknowledged: boolean;
  /** It may be gone although it was acknowledged: every copy lost power. */
  forgiven?: true;
  /** How many requests for it are under way in heads that live. */
  underWay: number;
};

export class BlockHistory {
  /** What was there before anybody wrote: nothing, or what it was cloned from or reverted to. */
  #begun: readonly number[] = [];
  /** How often it was made something else than what was written to it. */
  generation = 0;
  readonly #writes = new Map<number, Write>();
  readonly #abandoned = new Set<number>();
  /** By block: the newest write that was acknowledged or read. */
  readonly #floor = new Map<number, number>();
  /** What was the floor of a read that began before its loss was forgiven. */
  readonly #forgiven = new Set<number>();

  /** From now on it shows this; what was written before cannot be seen any more. */
  restart(content: readonly number[]): void {
    this.#begun = [...content];
    this.generation += 1;
    this.#writes.clear();
    this.#abandoned.clear();
    this.#floor.clear();
  }

  issue(value: number, block: number, session: string): void {
    const write = { block, session, ended: Infinity, acknowledged: false, underWay: 0 };
    this.#writes.set(value, write);
  }

  write(value: number): Write | undefined {
    return this.#writes.get(Math.abs(value));
  }

  floor(block: number): number {
    return this.#floor.get(block) ?? 0;
  }

  /** The newest write of the block that was acknowledged before write `issued` was issued. */
  floorBefore(block: number, issued: number): number {
    let floor = 0;
    for (const [value, write] of this.#writes) {
      const counts = write.acknowledged && write.forgiven !== true;
      if (write.block === block && counts && write.ended < issued) floor = Math.max(floor, value);
    }
    return floor;
  }

  acknowledge(value: number, newest: number): void {
    const write = this.#writes.get(value);
    if (write === undefined) return;
    write.ended = Math.min(write.ended, newest);
    write.acknowledged = true;
    this.#raise(write.block, value);
  }

  /** Its consumer is gone; what holds it beneath may still repeat it while its session is served. */
  abandon(value: number): void {
    this.#abandoned.add(value);
  }

  /** Ends the abandoned writes of sessions that are not served any more. */
  endAbandoned(newest: number, served: (session: string) => boolean): void {
    for (const value of this.#abandoned) {
      const write = this.#writes.get(value);
      if (write !== undefined && served(write.session)) continue;
      if (write !== undefined) write.ended = Math.min(write.ended, newest);
      this.#abandoned.delete(value);
    }
  }

  /** Somebody has read it, so nothing older may be read from here on, unless it may still change. */
  seen(value: number): void {
    const write = this.write(value);
    if (write !== undefined && write.underWay === 0 && write.ended < Infinity) {
      this.#raise(write.block, Math.abs(value));
    }
  }

  /** All copies may have lost what was not stable: what is there now is what there is. */
  forgive(content: readonly number[]): void {
    for (const write of this.#writes.values()) if (write.acknowledged) write.forgiven = true;
    for (const [block, value] of content.entries()) {
      const write = this.write(value);
      if (write !== undefined) write.ended = Infinity;
      this.#forgiven.add(this.floor(block));
      this.#floor.set(block, 0);
    }
  }

  /** Why a block may not show this; null when it may. @param began the floor when the read began. */
  wrong(block: number, value: number, began: number): string | null {
    const floor = this.#forgiven.has(began) ? 0 : began;
    const begun = this.#begun[block] ?? 0;
    if (value === begun && floor === 0) return null;
    if (value === 0 && begun !== 0) return `nothing, but it began with ${begun}`;
    if (value === 0) return floor === 0 ? null : `nothing, but write ${floor} was acknowledged`;
    const write = this.write(value);
    if (write === undefined) return `${value}, which nobody wrote`;
    if (write.block !== block) return `write ${value}, which was for block ${write.block}`;
    if (value < 0 && write.acknowledged && write.ended < Infinity)
      return `a torn write ${-value} that was acknowledged`;
    if (write.ended < floor) return `write ${value}, but ${floor} is newer and was acknowledged`;
    return null;
  }

  /** Checks what is seen through all layers. @returns what is wrong with it, or null. */
  wrongContent(content: readonly number[]): string | null {
    for (const [block, value] of content.entries()) {
      const wrong = this.wrong(block, value, this.floor(block));
      if (wrong !== null) return `block ${block} shows ${wrong}`;
    }
    return null;
  }

  #raise(block: number, value: number): void {
    this.#floor.set(block, Math.max(this.floor(block), value));
  }
}
