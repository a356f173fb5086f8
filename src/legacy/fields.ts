import { HyperscaleError } from '../errors.ts';
import type { Body } from './argument.ts';
import { badParameter } from './err-codes.ts';

/** Reading the fields of a call: each with its type, or an error that names it. */

const maxText = 1024;
const gib = 2 ** 30;
/** More is no size of a volume; what fits in between is checked by the daemon. */
const maxGib = 2 ** 22;

/** A text that must be there. @throws `bad-input` */
export function textField(body: Body, field: string): string {
  const value = body[field];
  if (value === undefined || value === null) throw wrong(`"${field}" is missing`);
  if (typeof value !== 'string') throw wrong(`"${field}" is ${shown(value)}, and not a text`);
  if (value === '' || value.length > maxText) {
    throw wrong(`"${field}" has ${value.length} characters; it has 1 to ${maxText}`);
  }
  return value;
}

/** A size in GiB that must be there, in bytes. @throws `bad-input` */
export function sizeField(body: Body, field: string): number {
  return gib * numberField(body, field, { least: 1, most: maxGib });
}

/**
 * A whole number, also as a text of digits.
 * @param range.otherwise what it is when it is absent; without it, it must be there.
 * @throws `bad-input`
 */
export function numberField(
  body: Body,
  field: string,
  range: { least: number; most: number; otherwise?: number },
): number {
  const value = body[field];
  if (value === undefined || value === null) {
    if (range.otherwise !== undefined) return range.otherwise;
    throw wrong(`"${field}" is missing`);
  }
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
  const { least, most } = range;
  if (typeof number !== 'number' || !Number.isInteger(number) || number < least || number > most) {
    throw wrong(`"${field}" is ${shown(value)}, and not a whole number from ${least} to ${most}`);
  }
  return number;
}

function wrong(message: string): HyperscaleError {
  return new HyperscaleError('bad-input', message, {
    hint: 'docs/legacy-protocol.md shows the fields of every operation.',
    values: { errCode: badParameter },
  });
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
