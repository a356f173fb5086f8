import { describe, expect, it } from 'vitest';
import { imagesToPrune, type PrunableImage } from '../../src/image/prune.ts';

const none = { maxCount: null, maxBytes: null, keep: [] };

function image(name: string, more: Partial<PrunableImage> = {}): PrunableImage & { id: string } {
  const at = { createdAt: '2026-11-01T00:00:00.000Z', usedAt: null };
  return { id: `id-${name}`, name, state: 'ready', bytes: 10, ...at, ...more };
}

function gone(...args: Parameters<typeof imagesToPrune>): string[] {
  return imagesToPrune(...args).map(({ name }) => name);
}

describe('images beyond a bound', () => {
  const old = image('old', { usedAt: '2026-11-02T00:00:00.000Z' });
  const hot = image('hot', { usedAt: '2026-11-09T00:00:00.000Z' });
  const never = image('never', { createdAt: '2026-11-05T00:00:00.000Z' });
  const all = [hot, never, old];

  it('go in the order of their last use, and no more of them than needed', () => {
    expect(gone(all, { ...none, maxCount: 3 })).toEqual([]);
    expect(gone(all, { ...none, maxCount: 2 })).toEqual(['old']);
    expect(gone(all, { ...none, maxCount: 0 })).toEqual(['old', 'never', 'hot']);
    expect(gone(all, { ...none, maxBytes: 30 })).toEqual([]);
    expect(gone(all, { ...none, maxBytes: 29 })).toEqual(['old']);
    expect(gone(all, { ...none, maxCount: 2, maxBytes: 10 })).toEqual(['old', 'never']);
  });

  it('stay when they are to be kept or are being imported, and count', () => {
    const importing = image('new', { state: 'importing', bytes: null });
    const bounds = { ...none, maxCount: 2, keep: ['old', 'id-hot'] };
    expect(gone([...all, importing], bounds)).toEqual(['never']);
    expect(gone([...all, importing], { ...none, maxBytes: 0 })).not.toContain('new');
  });
});
