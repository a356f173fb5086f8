import { setTimeout as delay } from 'node:timers/promises';
import type { Context } from './context.ts';
import { printable } from './format.ts';

/** How often a terminal is told how far the work is. */
const progressMs = 500;
const clearLine = '\r\u001b[K';

/** Does long work; while it goes on, a terminal shows how far it is, on one line that goes with it. */
export async function withProgress<T>(
  context: Context,
  describe: () => Promise<string>,
  work: () => Promise<T>,
): Promise<T> {
  const { io, json } = context;
  const over = new AbortController();
  const shown = io.stderr.isTTY === true && !json ? show(context, describe, over.signal) : null;
  try {
    return await work();
  } finally {
    over.abort();
    await shown;
  }
}

async function show(
  { io }: Context,
  describe: () => Promise<string>,
  over: AbortSignal,
): Promise<void> {
  while (!over.aborted) {
    const text = await describe();
    if (over.aborted) break;
    io.stderr.write(`${clearLine}${printable(text)}`);
    await delay(progressMs, null, { signal: over }).catch(() => null);
  }
  io.stderr.write(clearLine);
}

/** How much of a volume or an image is made; null while that is not known. */
export async function madePart(
  { client }: Context,
  kind: 'import' | 'restore',
  name: string,
): Promise<number | null> {
  // How far it is matters less than that it goes on.
  const { work } = await client.work().catch(() => ({ work: [] }));
  const mine = work.find((w) => w.kind === kind && w.volumeName === name);
  if (mine === undefined || mine.totalBytes === null || mine.totalBytes === 0) return null;
  return mine.doneBytes / mine.totalBytes;
}
