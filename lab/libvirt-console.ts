/** What a guest of a lab says on its serial port: a file that grows, read line by line. */
import { EventEmitter, once } from 'node:events';
import {
  chmodSync,
  closeSync,
  type FSWatcher,
  openSync,
  readSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { HyperscaleError } from '../src/errors.ts';

/** A line, and when it was read here, on the clock of `performance.now()`. */
export type ConsoleLine = { text: string; atMs: number };

/**
 * Follows a console file. QEMUs append to it, so that a guest that moves to another node of the lab
 * goes on in the same file.
 */
export class GuestConsole {
  readonly path: string;
  readonly lines: ConsoleLine[] = [];
  /** `line` for each new one. */
  readonly events = new EventEmitter<{ line: [ConsoleLine] }>();
  readonly #file: number;
  readonly #watcher: FSWatcher;
  #offset = 0;
  #held = '';
  #open = true;

  /** Makes the file, which QEMU may write to as whatever user it runs. */
  constructor(path: string) {
    this.path = path;
    this.events.setMaxListeners(0);
    writeFileSync(path, '');
    chmodSync(path, 0o666);
    this.#file = openSync(path, 'r');
    this.#watcher = watch(path, { persistent: false }, () => this.#read());
  }

  #read(): void {
    const chunk = Buffer.alloc(64 * 1024);
    while (this.#open) {
      const length = readSync(this.#file, chunk, 0, chunk.length, this.#offset);
      if (length === 0) return;
      this.#offset += length;
      const pieces = (this.#held + chunk.toString('latin1', 0, length)).split('\n');
      this.#held = pieces.pop() ?? '';
      for (const piece of pieces) {
        const line = { text: piece.replace(/\r+$/, ''), atMs: performance.now() };
        this.lines.push(line);
        this.events.emit('line', line);
      }
    }
  }

  /** The newest line that matches. */
  last(pattern: RegExp): RegExpExecArray | undefined {
    for (let index = this.lines.length - 1; index >= 0; index -= 1) {
      const match = pattern.exec(this.lines[index]?.text ?? '');
      if (match !== null) return match;
    }
    return undefined;
  }

  /**
   * Resolves with what `probe` finds, asked now and after each line.
   *
   * @throws HyperscaleError `timeout` quoting the last lines
   */
  async until<T>(what: string, probe: () => T | undefined, timeoutMs: number): Promise<T> {
    const signal = AbortSignal.timeout(timeoutMs);
    for (;;) {
      this.#read();
      const found = probe();
      if (found !== undefined) return found;
      try {
        await once(this.events, 'line', { signal });
      } catch {
        const said = this.lines.slice(-5).map(({ text }) => text);
        throw new HyperscaleError(
          'timeout',
          `no ${what} within ${timeoutMs} ms; ${this.path} ends with: ${said.join(' | ')}`,
        );
      }
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watcher.close();
    closeSync(this.#file);
  }
}
