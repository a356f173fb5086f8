import { SimProcess } from './engine-process.ts';

/** One life of a machine's daemon, as its engine sees it: when it is gone, nothing settles. */
export class DaemonProcess extends SimProcess {
  /** Resolves after some time in which the daemon runs. */
  wait(milliseconds: number): Promise<void> {
    return new Promise((resolve) => this.after(milliseconds, resolve));
  }

  /** A promise that settles only while the daemon lives and runs. */
  ask<T>(begin: (resolve: (value: T) => void, reject: (error: Error) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.alive) return;
      begin(
        (value) => this.whenRunning(() => resolve(value)),
        (error) => this.whenRunning(() => reject(error)),
      );
    });
  }
}
