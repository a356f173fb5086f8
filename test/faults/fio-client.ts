/** A workload that writes with fio and reads every block back, over and over. */
import type { Consumer } from '../../lab/consumer.ts';
import { startFio } from '../../lab/fio.ts';
import { errorText } from '../../src/errors.ts';
import type { Workload } from './machine.ts';

const run = { rw: 'randwrite', bs: 4096, iodepth: 4, verify: true, passes: 2 } as const;
const sizeBytes = 1 << 20;
const runtimeSeconds = 3;

export class FioClient implements Workload {
  readonly #directory: string;
  /** Runs in which every block was read back as it was written. */
  verified = 0;
  /** What fio said when a block was not what had been written. */
  readonly wrong: string[] = [];
  /** What fio said when a request failed. */
  readonly errors: string[] = [];

  constructor(directory: string) {
    this.#directory = directory;
  }

  settled(): void {
    // Every run writes all its blocks before it reads them.
  }

  async run(consumer: Consumer, stop: AbortSignal): Promise<void> {
    let gone = false;
    const end = consumer.ended().then(() => {
      gone = true;
    });
    while (!stop.aborted && !gone) {
      const fio = startFio({
        uri: consumer.uri,
        directory: this.#directory,
        sizeBytes,
        runtimeSeconds,
        ...run,
      });
      // fio waits for ever for an answer from a server that is gone.
      end.then(() => fio.kill()).catch(() => undefined);
      try {
        await fio.wait();
        this.verified += 1;
      } catch (error) {
        const text = errorText(error);
        if (/verify: |crc32c|bad header/i.test(text)) this.wrong.push(text);
        else if (!gone) this.errors.push(text);
      }
    }
  }
}
