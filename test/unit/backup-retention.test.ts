/** What a plan keeps no longer goes, and what fails is told and stops nothing. */
import { expect, test } from 'vitest';
import type { CallName, TargetCalls } from '../../src/backup/calls.ts';
import type { BackupEntry } from '../../src/backup/entry.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { BackupRetention } from '../../src/node/backup-retention.ts';
import type { Context } from '../../src/node/context.ts';
import type { Volume } from '../../src/volume/types.ts';
import { record, sealed } from './volume/fixtures.ts';

const hourMs = 3_600_000;
const { signal } = new AbortController();

const episode = {
  ...{ id: 'e', layer: 'layer-1', sizeBytes: 64 * 2 ** 20, at: '2026-01-01T00:00:00Z' },
  ...{ target: 'nas', name: 'episode-e', backup: 'base' },
};
const volume = record({
  chain: [sealed(1, ['n1', 'n2'])],
  episodePlan: { target: 'nas', everyMinutes: 15, keep: { last: 2 } },
  episodes: [episode],
});
const old: BackupEntry = {
  ...{ volume: 'v', id: 'a'.repeat(32), at: 0, name: 'episode-a' },
  ...{ sizeBytes: 4096, storedBytes: 1, volumeName: 'disk' },
};

/** Retention with a target that answers as told, what it was asked, and the events. */
function world(answers: Partial<Record<CallName, unknown>>, shown: Volume | null = volume) {
  const asked: { name: CallName; args: unknown }[] = [];
  const events: string[] = [];
  const clock = { now: 0 };
  const targets: TargetCalls = {
    names: () => ['nas'],
    call: async (_target, name, args) => {
      asked.push({ name, args });
      const answer = answers[name];
      if (answer instanceof Error) throw answer;
      return answer as never;
    },
  };
  const context = {
    store: { volume: () => (shown === null ? undefined : { value: shown, revision: '1' }) },
    environment: { monotonic: () => clock.now },
    events: { emit: (type: string, text: string) => events.push(`${type}: ${text}`) },
  } as unknown as Context;
  const retention = new BackupRetention(context, targets, signal);
  const names = () => asked.map(({ name }) => name);
  return { retention, asked, events, clock, names };
}

test('what goes is told, with the base held, and its space is freed now and then', async () => {
  const { asked, clock, events, names, retention } = world({ prune: [old], sweep: {} });
  await retention.prune('v', 'nas', signal);
  expect(asked[0]).toEqual({
    name: 'prune',
    args: { volume: 'v', prefix: 'episode-', keep: { last: 2 }, held: ['base'] },
  });
  expect(events).toEqual([expect.stringMatching(/^backup.removed: .*episode-a on nas/)]);
  clock.now = 5 * hourMs;
  await retention.prune('v', 'nas', signal);
  expect(names()).toEqual(['prune', 'sweep', 'prune']);
  clock.now = 6 * hourMs;
  await retention.prune('v', 'nas', signal);
  expect(names()).toEqual(['prune', 'sweep', 'prune', 'prune', 'sweep']);
});

test('without a plan for that target, or when nothing goes, nothing is done', async () => {
  const none = world({ prune: [] });
  await none.retention.prune('v', 'nas', signal);
  await none.retention.prune('v', 's3', signal);
  expect(none.names()).toEqual(['prune']);
  expect(none.events).toEqual([]);
  const { episodePlan: _, ...off } = volume;
  for (const shown of [off, null]) {
    const gone = world({ prune: [old] }, shown);
    await gone.retention.prune('v', 'nas', signal);
    expect(gone.names()).toEqual([]);
  }
});

test('a damaged index, or a target that is away, is told', async () => {
  const damaged = new HyperscaleError('damaged', 'an index is damaged');
  const { events, retention } = world({ prune: [old], sweep: damaged });
  await retention.prune('v', 'nas', signal);
  await expect.poll(() => events.at(-1)).toMatch(/^backup.sweep-failed: .*an index is damaged/);
  const away = world({ prune: new HyperscaleError('unavailable', 'nas is away') });
  await away.retention.prune('v', 'nas', signal);
  expect(away.events).toEqual([expect.stringMatching(/^backup.sweep-failed: .*nas is away/)]);
});
