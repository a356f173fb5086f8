/**
 * One error type for the whole system. A code is stable and may be relied on by callers; the
 * message names the value and the reason, the hint says what to do next.
 */

/** Every code, with the HTTP status that the API answers and the exit status of `hscli`. */
export const errorCodes = {
  'bad-input': { status: 400, exit: 2 },
  unauthorized: { status: 401, exit: 4 },
  'not-found': { status: 404, exit: 3 },
  exists: { status: 409, exit: 5 },
  'in-use': { status: 409, exit: 5 },
  conflict: { status: 409, exit: 5 },
  'not-allowed': { status: 409, exit: 5 },
  'not-supported': { status: 501, exit: 11 },
  'no-space': { status: 507, exit: 6 },
  'not-enough-nodes': { status: 503, exit: 6 },
  'node-down': { status: 503, exit: 6 },
  unavailable: { status: 503, exit: 6 },
  'store-unavailable': { status: 503, exit: 6 },
  quarantined: { status: 503, exit: 6 },
  timeout: { status: 504, exit: 7 },
  'guest-refused': { status: 409, exit: 7 },
  cancelled: { status: 499, exit: 130 },
  'foreign-pool': { status: 500, exit: 8 },
  'already-running': { status: 500, exit: 8 },
  'old-software': { status: 500, exit: 8 },
  damaged: { status: 500, exit: 9 },
  inconsistent: { status: 500, exit: 10 },
  engine: { status: 500, exit: 1 },
  libvirt: { status: 502, exit: 1 },
  'rule-broken': { status: 500, exit: 1 },
  internal: { status: 500, exit: 1 },
} as const;

export type ErrorCode = keyof typeof errorCodes;

export type ErrorDetails = {
  /** What an operator can do about it, one sentence. */
  hint?: string;
  /** The values that matter, for logs and for programs. */
  values?: Record<string, unknown>;
  cause?: unknown;
};

export class HyperscaleError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly values: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'HyperscaleError';
    this.code = code;
    this.hint = details.hint;
    this.values = details.values ?? {};
  }
}

/** True when `error` is ours and has one of `codes` (any of ours when none is given). */
export function isHyperscaleError(error: unknown, ...codes: ErrorCode[]): error is HyperscaleError {
  return error instanceof HyperscaleError && (codes.length === 0 || codes.includes(error.code));
}

/** The text of anything that was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
