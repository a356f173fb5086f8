/** Figures of docs/openstack.md, printed by `./check openstack`. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { nothingLeft } from './residue.ts';
import {
  boot,
  deleteServers,
  deleteVolumes,
  makeVolume,
  run,
  untilServer,
  untilVolume,
} from './stack.ts';

/** `HS_STACK_CYCLES` sets another number, for a machine with other work. */
const cycles = Number(process.env.HS_STACK_CYCLES ?? 100);
const atATime = 4;
const servers = Array.from({ length: atATime }, (_, i) => `figures-${i + 1}`);
const ofType = (type: string) => ['--type', type, '--size', '1'];

beforeAll(async () => {
  await Promise.all(
    servers.map(async (name) => {
      await makeVolume(`${name}-root`, ...ofType('hyperscale'), '--image', 'tiny', '--bootable');
      await boot(name, `${name}-root`);
      await makeVolume(`${name}-data`, ...ofType('hyperscale'));
    }),
  );
});

afterAll(async () => {
  await deleteServers(...servers);
  const volumes = servers.flatMap((name) => [`${name}-root`, `${name}-data`]);
  await Promise.all(volumes.map((name) => untilVolume(name, 'available')));
  await deleteVolumes(...volumes);
  await nothingLeft();
});

/** Seconds until a volume is attached to a running server, as its user waits for it. */
async function attachSeconds(server: string, volume: string): Promise<number> {
  const began = performance.now();
  await run('server', 'add', 'volume', server, volume);
  await untilVolume(volume, 'in-use');
  return (performance.now() - began) / 1000;
}

async function detach(server: string, volume: string): Promise<void> {
  await run('server', 'remove', 'volume', server, volume);
  await untilVolume(volume, 'available');
}

const median = (values: number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

test('an attachment takes at most 1.5 times as long as one of the trivial driver', async () => {
  const [server = ''] = servers;
  await untilServer(server, 'ACTIVE');
  await makeVolume('trivial', ...ofType('trivial'));
  const taken: Record<string, number[]> = { trivial: [], [`${server}-data`]: [] };
  for (let round = 0; round < 5; round += 1) {
    for (const [volume, seconds] of Object.entries(taken)) {
      seconds.push(await attachSeconds(server, volume));
      await detach(server, volume);
    }
  }
  await deleteVolumes('trivial');
  const [trivial, ours] = Object.values(taken).map(median) as [number, number];
  console.log(
    `attach: ${ours.toFixed(1)} s, trivial driver ${trivial.toFixed(1)} s (medians of 5)`,
  );
  expect(ours).toBeLessThanOrEqual(1.5 * trivial);
});

test(`${cycles} attachments, ${atATime} at a time, leave nothing`, async () => {
  const began = performance.now();
  await Promise.all(
    servers.map(async (server) => {
      for (let cycle = 0; cycle < cycles / atATime; cycle += 1) {
        await attachSeconds(server, `${server}-data`);
        await detach(server, `${server}-data`);
      }
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `${cycles} cycles of attach and detach, ${atATime} at a time: ${seconds.toFixed(0)} s`,
  );
}, 2_400_000);
