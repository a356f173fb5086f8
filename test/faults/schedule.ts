/** Schedules: which fault strikes what, when, for how long. The same for the same seed. */
import { randomOf } from '../../lab/random.ts';
import { HyperscaleError } from '../../src/errors.ts';

export type Fault = {
  /** After the start of the schedule. */
  atMs: number;
  kind: string;
  /**
   * A node; two of them joined by `+`; `all` nodes; or whoever plays a part when the fault strikes:
   * `writer`, `reflection`, `proxy` (attached, not the writer).
   */
  target: string;
  /** Until it is mended; 0 for what needs no mending. */
  forMs: number;
};

/** What a schedule may do to whom, and how often. */
export type Choice = {
  kind: string;
  /** How often it is chosen, relative to others. */
  weight: number;
  /** Whom it strikes. */
  scope: 'node' | 'pair' | 'two' | 'all' | 'store' | 'writer' | 'proxy';
  /** The longest it lasts; 0 when it needs no mending. */
  longestMs: number;
  /** It takes away something of the host that other faults need to be there. */
  exclusive: boolean;
};

/** Faults strike within this time; then everything is mended. */
export const lengthMs = 12_000;
const fewest = 3;
const most = 6;
/** A host is left alone for so long after a fault that took it away. */
const rest = 2_000;
const shortestMs = 300;

export function printFault({ atMs, kind, target, forMs }: Fault): string {
  const duration = forMs > 0 ? ` for ${(forMs / 1_000).toFixed(1)}s` : '';
  return `${(atMs / 1_000).toFixed(1)}s ${kind} ${target}${duration}`;
}

export function printSchedule(schedule: readonly Fault[]): string {
  return schedule.map(printFault).join('; ');
}

/** Reads what `printSchedule` prints. @throws HyperscaleError `bad-input` */
export function parseSchedule(text: string): Fault[] {
  return text.split(';').map((part) => {
    const match = /^([\d.]+)s (\S+) (\S+)(?: for ([\d.]+)s)?$/.exec(part.trim());
    const [, at, kind, target, duration = '0'] = match ?? [];
    if (at === undefined || kind === undefined || target === undefined) {
      throw new HyperscaleError('bad-input', `'${part.trim()}' is no fault`, {
        hint: "A fault is like '3.2s cut n2 for 4.5s'; several are separated by ';'.",
      });
    }
    return { atMs: Number(at) * 1_000, kind, target, forMs: Number(duration) * 1_000 };
  });
}

/** Draws faults so that no host is struck while another exclusive fault holds it. */
export function randomSchedule(
  seed: number,
  nodes: readonly string[],
  choices: readonly Choice[],
): Fault[] {
  const random = randomOf(seed);
  const busy: { host: string; from: number; to: number }[] = [];
  const wanted = fewest + Math.floor(random() * (most - fewest + 1));
  const faults: Fault[] = [];
  for (let attempt = 0; faults.length < wanted && attempt < 50; attempt += 1) {
    const choice = pick(choices, random);
    const hosts = hostsOf(choice, nodes, random);
    const atMs = tenths(random() * lengthMs);
    const longest = Math.min(choice.longestMs, lengthMs);
    const forMs = longest === 0 ? 0 : tenths(shortestMs + random() ** 2 * (longest - shortestMs));
    const [from, to] = [atMs, atMs + forMs + rest];
    const taken = busy.some((b) => hosts.includes(b.host) && b.from < to && from < b.to);
    if (choice.exclusive && taken) continue;
    if (choice.exclusive) busy.push(...hosts.map((host) => ({ host, from, to })));
    const all = choice.scope === 'all';
    faults.push({ atMs, kind: choice.kind, target: all ? 'all' : hosts.join('+'), forMs });
  }
  return faults.sort((a, b) => a.atMs - b.atMs);
}

function tenths(milliseconds: number): number {
  return Math.round(milliseconds / 100) * 100;
}

function pick(choices: readonly Choice[], random: () => number): Choice {
  let rest = random() * choices.reduce((sum, choice) => sum + choice.weight, 0);
  for (const choice of choices) {
    rest -= choice.weight;
    if (rest < 0) return choice;
  }
  throw new HyperscaleError('bad-input', 'there is no fault to choose from');
}

function hostsOf(choice: Choice, nodes: readonly string[], random: () => number): string[] {
  const first = Math.floor(random() * nodes.length);
  const second = (first + 1 + Math.floor(random() * (nodes.length - 1))) % nodes.length;
  const [a = '', b = ''] = [nodes[first], nodes[second]];
  switch (choice.scope) {
    case 'node':
      return [a];
    case 'pair':
    case 'two':
      return [a, b];
    case 'all':
      return [...nodes];
    case 'store':
      return ['store'];
    case 'writer':
    case 'proxy':
      return [choice.scope];
  }
}
