import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import type { RecoveryAnswer } from '../api/recover-schemas.ts';
import { HyperscaleError } from '../errors.ts';
import type { Context } from './context.ts';
import { planText } from './recover-text.ts';

export type RecoverOptions = { dryRun?: boolean; acceptDataLoss?: boolean; yes?: boolean };

/**
 * Shows what a recovery would do, and does it when it is told to.
 * @throws `unavailable` when acknowledged writes may be lost and that was not accepted,
 *   `cancelled` when a person does not agree.
 */
export async function recoverCluster(
  context: Context,
  options: RecoverOptions,
): Promise<RecoveryAnswer> {
  const { client, io, json } = context;
  const acceptDataLoss = options.acceptDataLoss === true;
  const plan = await client.recover({ dryRun: true, acceptDataLoss });
  if (plan.needless || options.dryRun === true) return plan;
  // The refusal itself is the daemon's, with what to do about it.
  const willRefuse = plan.refused !== null || (plan.losses.length > 0 && !acceptDataLoss);
  if (!json) io.stderr.write(await planText(plan));
  if (options.yes !== true && !willRefuse) await confirmRecovery(context);
  return client.recover({ dryRun: false, acceptDataLoss, digest: plan.digest });
}

async function confirmRecovery({ io, json }: Context): Promise<void> {
  if (io.stdin.isTTY !== true || json) {
    throw new HyperscaleError('bad-input', 'nobody can be asked whether to recover', {
      hint: 'Look at the plan with --dry-run, then say --yes.',
    });
  }
  const reader = createInterface({ input: io.stdin, output: io.stderr, terminal: false });
  try {
    const question = 'These records become the truth for all nodes. Type recover to go on: ';
    const answer = await Promise.race([
      reader.question(question, { signal: io.signal }),
      once(reader, 'close', { signal: io.signal }).then(() => ''),
    ]);
    if (answer.trim() !== 'recover') {
      throw new HyperscaleError('cancelled', 'nothing was changed');
    }
  } finally {
    reader.close();
  }
}
