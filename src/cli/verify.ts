import type { VerificationAnswer, WorkAnswer } from '../api/schemas.ts';
import type { Context } from './context.ts';
import { withProgress } from './progress.ts';

/**
 * Asks for a verification; while it goes on, a terminal shows how far each node is. Ctrl-C ends the
 * reading on all nodes.
 */
export async function verifyVolume(
  context: Context,
  name: string,
  wishes: { seal: boolean; repair: boolean },
): Promise<VerificationAnswer> {
  const { client } = context;
  const describe = async () => {
    // How far it is matters less than that it goes on.
    const { work } = await client.work().catch(() => ({ work: [] }));
    return progressText(name, work);
  };
  return withProgress(context, describe, () => client.verify(name, wishes));
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
