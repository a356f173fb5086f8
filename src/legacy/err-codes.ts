import type { ErrorCode, HyperscaleError } from '../errors.ts';

/** The original product's own numbers for a bad field, and for a message that it does not know. */
export const badParameter = 10;
export const badMessage = 106;

/** Any other failure; its text says which. */
const general = 1;

/** Ours, as the number that Linux has for the same thing (errno(3)). */
const errCodes: Partial<Record<ErrorCode, number>> = {
  'bad-input': badParameter,
  'not-found': 2,
  unauthorized: 13,
  'in-use': 16,
  exists: 17,
  'no-space': 28,
  conflict: 11,
  'not-allowed': 1,
  'not-supported': 95,
  timeout: 110,
  unavailable: 111,
  'store-unavailable': 111,
  quarantined: 111,
  'node-down': 112,
  'not-enough-nodes': 112,
  cancelled: 125,
};

/** The `err_code` of a reply: never 0. */
export function errCodeOf(error: HyperscaleError): number {
  const { errCode } = error.values;
  return typeof errCode === 'number' ? errCode : (errCodes[error.code] ?? general);
}
