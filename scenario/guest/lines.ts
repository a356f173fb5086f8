import type { Readable } from 'node:stream';

/** Calls `take` for every complete line of a stream; a last piece without a newline is dropped. */
export function onLines(stream: Readable, take: (line: string) => void): void {
  let held = '';
  stream.on('data', (chunk: Buffer) => {
    const lines = (held + chunk.toString('latin1')).split('\n');
    held = lines.pop() ?? '';
    for (const line of lines) take(line.replace(/\r+$/, ''));
  });
}
