import { HyperscaleError } from '../errors.ts';

const units = ['', 'K', 'M', 'G', 'T', 'P'];
const pattern = /^(\d{1,20})(?:\.(\d{1,20}))?\s*([kKmMgGtTpP]?)(iB|ib|B|b)?$/;
const hint =
  'Give bytes, or a number with k, M, G, T or P (also KiB, MiB, GiB …; each is 1024 of the one before): 10G, 1.5T, 512MiB.';

/**
 * The bytes that a text such as `10G`, `1.5T` or `512MiB` stands for. Units are powers of 1024.
 * @throws `bad-input` that quotes the text.
 */
export function parseSize(text: string): number {
  const match = pattern.exec(text.trim());
  if (match === null) {
    throw bad(text, 'is not a size');
  }
  const [, whole = '', fraction = '', letter = '', suffix = ''] = match;
  if (letter !== '' && suffix.toLowerCase() === 'b') {
    throw bad(text, `could mean powers of 1000 or of 1024; say ${letter.toUpperCase()}iB`);
  }
  if (letter === '' && suffix.toLowerCase() === 'ib') {
    throw bad(text, 'is not a size');
  }
  const index = units.indexOf(letter.toUpperCase());
  const unit = 1024n ** BigInt(index);
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * unit;
  if (scaled % scale !== 0n) {
    throw bad(text, 'is not a whole number of bytes');
  }
  const bytes = scaled / scale;
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw bad(text, 'is too big');
  }
  return Number(bytes);
}

/** The shortest text without a fraction that `parseSize` reads back as exactly these bytes. */
export function exactSize(bytes: number): string {
  let count = bytes;
  let index = 0;
  while (count > 0 && count % 1024 === 0 && index < units.length - 1) {
    count /= 1024;
    index += 1;
  }
  return `${count}${units[index]}`;
}

/** Bytes for people, three digits at least: `1.5 GiB`, `640 MiB`, `0 B`. Rounded. */
export function formatBytes(bytes: number | null): string {
  if (bytes === null) {
    return '-';
  }
  let count = bytes;
  let index = 0;
  while (count >= 1023.5 && index < units.length - 1) {
    count /= 1024;
    index += 1;
  }
  if (index === 0) {
    return `${bytes} B`;
  }
  const digits = count < 9.995 ? 2 : count < 99.95 ? 1 : 0;
  return `${Number(count.toFixed(digits))} ${units[index]}iB`;
}

function bad(text: string, why: string): HyperscaleError {
  const shown = JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
  return new HyperscaleError('bad-input', `size ${shown} ${why}`, {
    hint,
    values: { value: text },
  });
}
