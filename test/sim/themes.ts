import { SeededRandom } from './random.ts';

/**
 * What a history is above all about. Users who do a little of everything seldom do two things that
 * belong together, so in some histories they do mostly one thing, and what disturbs it.
 */
export const themes = ['clones', 'groups', 'images', 'late news', 'views'] as const;
export type Theme = (typeof themes)[number];

const themeSeed = 0x7e55_5f25;
/** So many histories have one. */
const share = 0.4;

/** The theme of a history; null: a little of everything. */
export function themeOf(seed: number): Theme | null {
  const random = new SeededRandom(seed ^ themeSeed);
  return random.chance(share) ? random.pick(themes) : null;
}
