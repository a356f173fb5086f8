import { readFileSync, writeFileSync } from 'node:fs';

const file = new URL('mutation-seeds.json', import.meta.url);

/**
 * By mutation: the history that noticed it when this was written down. Any change of the simulator
 * or of the code under it may make it another history; then the hunt begins from the first one, and
 * takes longer.
 */
export const knownSeeds: ReadonlyMap<string, number> = new Map(
  Object.entries(JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>),
);

/** Writes down which histories noticed which mutations; those of others stay. */
export function rememberSeeds(noticed: ReadonlyMap<string, number>): void {
  const all = [...new Map([...knownSeeds, ...noticed])].sort(([a], [b]) => (a < b ? -1 : 1));
  writeFileSync(file, `${JSON.stringify(Object.fromEntries(all), null, 2)}\n`);
}
