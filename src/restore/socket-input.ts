import type { Socket } from 'node:net';

/** A connection as a sequence of bytes that are taken one piece after the other. */
export class SocketInput {
  readonly #socket: Socket;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    for (const event of ['readable', 'end', 'close', 'error']) {
      socket.on(event, () => this.#wake());
    }
  }

  /** So many bytes; null when the connection ends before they came. */
  async take(bytes: number): Promise<Buffer | null> {
    if (bytes === 0) return Buffer.alloc(0);
    for (;;) {
      if (this.#socket.destroyed) return null;
      const got = this.#socket.read(bytes) as Buffer | null;
      if (got !== null) return got.length === bytes ? got : null;
      if (this.#socket.readableEnded) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
