import { setTimeout as delay } from 'node:timers/promises';
import type { VerificationAnswer, WorkAnswer } from '../api/schemas.ts';
import type { Context } from './context.ts';
import { printable } from './format.ts';

/** How often a terminal is told how far the nodes are. */
const progressMs = 500;
const clearLine = '\r\u001b[K';

/**
 * Asks for a verification; while it goes on, a terminal shows how far each node is. Ctrl-C ends the
 * reading on all nodes.
 */
export async function verifyVolume(
  context: Context,
  name: string,
  wishes: { seal: boolean; repair: boolean },
): Promise<VerificationAnswer> {
  const { client, io } = context;
  const over = new AbortController();
  const shown =
    io.stderr.isTTY === true && !context.json ? showProgress(context, name, over.signal) : null;
  try {
    return await client.verify(name, wishes);
  } finally {
    over.abort();
    await shown;
  }
}

async function showProgress(context: Context, name: string, over: AbortSignal): Promise<void> {
  const { client, io } = context;
  while (!over.aborted) {
    // How far it is matters less than that it goes on.
    const work = await client.work().catch(() => ({ work: [] }));
    if (over.aborted) break;
    io.stderr.write(`${clearLine}${printable(progressText(name, work.work))}`);
    await delay(progressMs, null, { signal: over }).catch(() => null);
  }
  io.stderr.write(clearLine);
}

/** `Verifying db1: n1 43 %, n2 51 %`, of the layer that is being read or mended. */
export function progressText(name: string, work: readonly WorkAnswer[]): string {
  const parts = work
    .filter(({ kind, volume, volumeName }) => {
      return (kind === 'verify' || kind === 'mend') && (volumeName === name || volume === name);
    })
    .map(({ node, kind, doneBytes, totalBytes }) => {
      const done = totalBytes === null || totalBytes === 0 ? 0 : doneBytes / totalBytes;
      return `${node} ${kind === 'mend' ? 'mends ' : ''}${Math.floor(done * 100)} %`;
    });
  return `Verifying ${name}${parts.length === 0 ? ' …' : `: ${parts.sort().join(', ')}`}`;
}
