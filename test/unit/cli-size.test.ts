import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { printable } from '../../src/cli/format.ts';
import { exactSize, formatBytes, parseSize } from '../../src/cli/size.ts';

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['4096', 4096],
    ['4096B', 4096],
    ['1k', 1024],
    ['1K', 1024],
    ['10G', 10 * 2 ** 30],
    ['10g', 10 * 2 ** 30],
    ['10 GiB', 10 * 2 ** 30],
    [' 512MiB ', 512 * 2 ** 20],
    ['1.5T', 1.5 * 2 ** 40],
    ['0.5k', 512],
    ['1.50M', 1.5 * 2 ** 20],
    ['2P', 2 * 2 ** 50],
  ])('%j is %i bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each([
    ['', /""/],
    ['G', /"G"/],
    ['ten', /"ten"/],
    ['-1G', /"-1G"/],
    ['1e9', /"1e9"/],
    ['0x10', /"0x10"/],
    ['1,5G', /"1,5G"/],
    ['1.G', /"1.G"/],
    ['10X', /"10X"/],
    ['10GB', /"10GB" could mean.*GiB/],
    ['10iB', /"10iB"/],
    ['1.5', /not a whole number/],
    ['0.0001k', /not a whole number/],
    ['9000000P', /too big/],
    ['Infinity', /"Infinity"/],
    ['9'.repeat(100), /…/],
    ['1\u0000G', /\\u0000/],
  ])('%j is refused', (text, message) => {
    expect(() => parseSize(text)).toThrowError(
      expect.objectContaining({ code: 'bad-input', message: expect.stringMatching(message) }),
    );
  });

  it('come back exactly from the text made of them', () => {
    const anySize = fc.oneof(
      fc.maxSafeNat(),
      fc.tuple(fc.nat(1023), fc.nat(4)).map(([count, unit]) => count * 1024 ** unit),
    );
    fc.assert(fc.property(anySize, (bytes) => parseSize(exactSize(bytes)) === bytes));
  });

  it('are shown within half a percent, in three digits', () => {
    const sizes = fc.maxSafeNat();
    fc.assert(
      fc.property(sizes, (bytes) => {
        const shown = formatBytes(bytes);
        expect(shown).toMatch(/^\d{1,4}(\.\d{1,2})? ([KMGTP]i)?B$/);
        const [count, unit = 'B'] = shown.split(' ');
        const value =
          Number(count) * 1024 ** ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'].indexOf(unit);
        expect(Math.abs(value - bytes)).toBeLessThanOrEqual(bytes * 0.006);
      }),
    );
    expect(formatBytes(1.5 * 2 ** 30)).toBe('1.5 GiB');
    expect(formatBytes(2 ** 20 - 1)).toBe('1 MiB');
    expect(formatBytes(null)).toBe('-');
  });
});

it('control characters are shown, not obeyed', () => {
  expect(printable('a\u001b[31mb\u202e')).toBe('a\\u001b[31mb\\u202e');
});
