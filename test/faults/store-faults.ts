/** Faults of etcd, which has one member here. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RecoveryAnswer } from '../../src/api/recover-schemas.ts';
import type { HealthAnswer } from '../../src/api/schemas.ts';
import { HyperscaleError } from '../../src/errors.ts';
import type { FaultKind } from './fault.ts';
import { nodeNames, type Stage } from './stage.ts';

/** An operator tries to recover the records for so long: nodes may be down meanwhile. */
const recoverWithinMs = 60_000;
const againMs = 500;

/** Recovers the records from the pools, as often as it takes until every node believes etcd. */
async function recoverRecords(stage: Stage): Promise<void> {
  const deadline = performance.now() + recoverWithinMs;
  let told = '';
  while (performance.now() < deadline) {
    const states = await Promise.all(nodeNames.map((name) => healthOf(stage, name)));
    if (states.every((state) => state === 'ok')) return;
    const [asked] = nodeNames.filter((_, i) => states[i] === 'quarantined');
    // Without all nodes it would have to be told which to do without.
    if (asked !== undefined && states.every((state) => state !== 'away')) {
      told = await stage
        .node(asked)
        .hscli<RecoveryAnswer>('cluster', 'recover', '--yes')
        .then(JSON.stringify, String);
    }
    await sleep(againMs);
  }
  throw new HyperscaleError('timeout', `the records were not recovered: ${told}`);
}

async function healthOf(stage: Stage, name: string): Promise<HealthAnswer['status'] | 'away'> {
  const { api } = stage.node(name);
  const answer = await api
    .request<HealthAnswer>('GET', '/v1/health', undefined, 2_000)
    .catch(() => undefined);
  return answer?.body.status ?? 'away';
}

export const storeFaults: readonly FaultKind[] = [
  {
    kind: 'kill-etcd',
    weight: 3,
    scope: 'store',
    longestMs: 8_000,
    exclusive: true,
    strike: async ({ stage }) => {
      await stage.lab.etcd.kill();
      return () => stage.lab.etcd.start();
    },
  },
  {
    kind: 'freeze-etcd',
    weight: 2,
    scope: 'store',
    longestMs: 8_000,
    exclusive: true,
    strike: async ({ stage }) => {
      stage.lab.etcd.freeze();
      return async () => stage.lab.etcd.thaw();
    },
  },
  {
    kind: 'restore-etcd',
    weight: 2,
    scope: 'store',
    longestMs: 8_000,
    exclusive: true,
    strike: async ({ stage }) => {
      const { etcd, directory } = stage.lab;
      const file = join(directory, `etcd-${Date.now()}.snapshot`);
      await etcd.saveSnapshot(file);
      return async () => {
        await etcd.kill();
        await etcd.restoreSnapshot(file);
        await etcd.start();
        await recoverRecords(stage);
      };
    },
  },
];
