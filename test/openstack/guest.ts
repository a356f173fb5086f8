/** What the guest (lib/guest.sh) says on its console. */
import { HyperscaleError } from '../../src/errors.ts';
import { client } from './client.ts';
import { until } from './stack.ts';

export type Beat = {
  count: number;
  /** Another one after each boot. */
  boot: string;
  /** The longest of its writes with flush and read, in seconds. */
  longestSeconds: number;
  /** Sectors of its disks. */
  disks: Record<string, number>;
};

async function lines(server: string): Promise<string[]> {
  return (await client('console', 'log', 'show', server)).split(/\r?\n/);
}

function parseBeat(line: string): Beat | undefined {
  const found = /^BEAT (\d+) boot (\w+) longest ([\d.]+) on(.*)$/.exec(line);
  if (found === null) return undefined;
  const disks = (found[4] ?? '').trim().split(' ').filter(Boolean);
  return {
    count: Number(found[1]),
    boot: found[2] ?? '',
    longestSeconds: Number(found[3]),
    disks: Object.fromEntries(
      disks.map((d) => [d.split(':')[0] ?? '', Number(d.split(':')[1])] as const),
    ),
  };
}

/** The guest's last word. @throws when it wrote or read anything wrong */
export async function lastBeat(server: string): Promise<Beat | undefined> {
  const said = await lines(server);
  const bad = said.filter((line) => line.startsWith('BAD'));
  if (bad.length > 0) {
    throw new HyperscaleError('damaged', `the guest of ${server}: ${bad.slice(0, 3).join('; ')}`);
  }
  return said.map(parseBeat).findLast((beat) => beat !== undefined);
}

/** Resolves when the guest has written and read everything well twice since this call. */
export async function untilWrites(
  server: string,
  holds: (beat: Beat) => boolean = () => true,
  seconds?: number,
): Promise<Beat> {
  let first: Beat | undefined;
  return until(
    `the guest of ${server} does not write`,
    async () => {
      const beat = await lastBeat(server);
      if (beat === undefined || !holds(beat)) return undefined;
      if (first?.boot !== beat.boot) first = beat;
      return beat.count >= first.count + 8 ? beat : undefined;
    },
    seconds,
  );
}

/** What the guest found on a disk when it first saw it: what another guest, or it itself, left. */
export async function found(server: string, disk: string): Promise<string> {
  return until(`the guest of ${server} does not see ${disk}`, async () => {
    const last = (await lines(server)).findLast((line) => line.startsWith(`FOUND ${disk} `));
    return last?.slice(`FOUND ${disk} `.length).trim();
  });
}
