import { describe, expect, it } from 'vitest';
import { faults } from './faults.ts';
import { runHistory } from './history.ts';
import { runMany } from './run.ts';

const histories = 20_000;
const minutes = 1.5;
const jobs = 2;
/** In so many histories every kind of fault happens. */
const enoughForAll = 300;

describe('the simulator', () => {
  it('plays the same history for the same seed, in this process and in another', async () => {
    const seeds = [1, 2, 3, 4];
    const here = new Map<number, string>();
    for (const seed of seeds) {
      const { hash } = await runHistory(seed);
      expect((await runHistory(seed)).hash).toBe(hash);
      here.set(seed, hash);
    }
    const there = await runMany({
      histories: seeds.length,
      milliseconds: 60_000,
      jobs: 1,
      from: 1,
      say: () => undefined,
    });
    expect(there.hashes).toEqual(here);
    expect(new Set(here.values()).size).toBe(seeds.length);
  }, 120_000);

  it(
    `keeps every promise in ${histories} histories, or as many as fit in ${minutes} minutes`,
    async () => {
      const said: string[] = [];
      const report = await runMany({
        histories,
        milliseconds: minutes * 60_000,
        jobs,
        from: 1,
        say: (line) => said.push(line),
      });
      console.info(said.at(-1));
      expect(report.failed.map((f) => `seed ${f.seed}: ${f.error}`)).toEqual([]);
      // A run that meets nothing proves nothing; on a busy machine it is a short one.
      if (report.done >= enoughForAll) {
        const met = Object.keys(faults).filter((kind) => (report.counts[kind] ?? 0) > 0);
        expect(met).toEqual(Object.keys(faults));
        const happened = ['clone', 'flatten', 'rename', 'retype', 'revoke', 'protect'];
        const checked = ['points', 'reverts', 'groups', 'imports', 'backups'];
        for (const what of [...happened, ...checked.map((c) => `checked ${c}`)]) {
          expect(report.counts[what] ?? 0, what).toBeGreaterThan(0);
        }
      }
      for (const phase of ['idle', 'opening', 'open', 'fencing', 'deleting']) {
        expect(report.counts[`phase ${phase}`], phase).toBeGreaterThan(0);
      }
      expect(report.counts['checked reads']).toBeGreaterThan(report.done);
    },
    (minutes + 2) * 60_000,
  );
});
