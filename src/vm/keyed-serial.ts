import { Serial } from '../engine/serial.ts';

/** Runs work of the same key one after another; work of different keys side by side. */
export class KeyedSerial {
  readonly #queues = new Map<string, { serial: Serial; waiting: number }>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(key) ?? { serial: new Serial(), waiting: 0 };
    this.#queues.set(key, queue);
    queue.waiting += 1;
    try {
      return await queue.serial.run(work);
    } finally {
      queue.waiting -= 1;
      if (queue.waiting === 0) this.#queues.delete(key);
    }
  }
}
