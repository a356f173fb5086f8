import { type ErrorCode, isHyperscaleError } from '../errors.ts';

/**
 * How loudly the failure of a duty or a job is logged: what others were faster at is nothing, a
 * fault of the surroundings is a warning, and a defect of this software an error.
 * @param expected codes that are part of normal work.
 */
export function failureLevel(error: unknown, ...expected: ErrorCode[]): 'debug' | 'warn' | 'error' {
  if (isHyperscaleError(error, ...expected)) return 'debug';
  const defect =
    isHyperscaleError(error, 'rule-broken') ||
    error instanceof TypeError ||
    error instanceof RangeError ||
    error instanceof ReferenceError;
  return defect ? 'error' : 'warn';
}
