import { HyperscaleError } from '../errors.ts';

/** Parts of lists: as many entries as were asked for, and where the next part begins. */

/** The most entries that one answer may be asked to have. */
export const maxPage = 1000;

export type PageWish = { limit?: string | undefined; after?: string | undefined };

/** `next` is the `after` of the next part; absent at the end of the list. */
export type Page<T> = { entries: T[]; next?: string };

/** How many entries are asked for. @throws `bad-input` @returns null: all of them */
export function limitIn({ limit }: PageWish): number | null {
  if (limit === undefined) return null;
  const count = Number(limit);
  if (/^[0-9]{1,9}$/.test(limit) && count >= 1 && count <= maxPage) return count;
  throw new HyperscaleError('bad-input', `limit ${JSON.stringify(limit)} is not valid`, {
    hint: `It is a whole number from 1 to ${maxPage}.`,
    values: { field: 'limit', value: limit },
  });
}

/**
 * A part of a list in the order of its keys, which are unique. Entries that come and go meanwhile move
 * no others: those that are there all the time are in exactly one part each.
 * @param wish `after`: only entries behind that key, whether there is one with it or not.
 * @throws `bad-input` for a limit that cannot be.
 */
export function pageByKey<T>(
  all: readonly T[],
  keyOf: (entry: T) => string,
  wish: PageWish,
): Page<T> {
  const { after } = wish;
  const keyed = all
    .map((entry) => ({ entry, key: keyOf(entry) }))
    .filter(({ key }) => after === undefined || key > after)
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const limit = limitIn(wish) ?? keyed.length;
  const page = keyed.slice(0, limit);
  const last = page.at(-1);
  return {
    entries: page.map(({ entry }) => entry),
    ...(last === undefined || keyed.length <= limit ? {} : { next: last.key }),
  };
}

/**
 * A part of a list that has an order of its own.
 * @throws `bad-input` for a limit that cannot be, `not-found` when there is no entry `after` any more.
 */
export function pageInOrder<T>(
  all: readonly T[],
  keyOf: (entry: T) => string,
  wish: PageWish,
): Page<T> {
  const { after } = wish;
  const place = after === undefined ? -1 : all.findIndex((entry) => keyOf(entry) === after);
  if (after !== undefined && place < 0) {
    throw new HyperscaleError(
      'not-found',
      `the list has no ${JSON.stringify(after)} to go on after`,
      {
        hint: 'It may have been deleted meanwhile: begin again without `after`.',
        values: { field: 'after', value: after },
      },
    );
  }
  const limit = limitIn(wish) ?? all.length;
  const entries = all.slice(place + 1, place + 1 + limit);
  const last = entries.at(-1);
  const more = last !== undefined && place + 1 + limit < all.length;
  return { entries, ...(more ? { next: keyOf(last) } : {}) };
}
