/** What is checked: the configurations that must hold, and the breakages that must be found. */
import { readFileSync } from 'node:fs';
import type { Search, Settings } from './search.ts';

export type Configuration = {
  name: string;
  checks: string;
  set: Settings;
  /** Too large for the quick run. */
  deep?: boolean;
  depth?: number;
};

export type Breakage = {
  name: string;
  /** Of docs/design/rules.md, or a word. */
  rule: string;
  /** The macro that switches the rule off. */
  without: string;
  set: Settings;
  /** What goes wrong then. */
  wrong: string;
};

export const configurations = load<Configuration>('configurations.json');
export const breakages = load<Breakage>('breakages.json');

const quickSeconds = 600;
const depth = 200_000;

/** Two searches run at once; together they stay below 6 GB. */
const memoryMegabytes = 2_900;

export function searchOf(configuration: Configuration, deepSeconds: number): Search {
  return {
    name: configuration.name,
    set: configuration.set,
    how: configuration.deep === true ? 'bitstate' : 'exhaustive',
    depth: configuration.depth ?? depth,
    memoryMegabytes,
    seconds: configuration.deep === true ? deepSeconds : quickSeconds,
  };
}

export function searchForBreakage({ name, set, without }: Breakage): Search {
  return { name, set, without, how: 'shortest', depth, memoryMegabytes, seconds: quickSeconds };
}

function load<T>(file: string): T[] {
  return JSON.parse(readFileSync(new URL(file, import.meta.url), 'utf8')) as T[];
}
