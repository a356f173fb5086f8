import { type ErrorCode, errorCodes, HyperscaleError } from '../errors.ts';
import { printable } from './format.ts';

/**
 * Turns anything thrown into what is written to stderr and the exit status.
 * @param json write JSON for programs instead of text for people.
 */
export function failureOf(thrown: unknown, json: boolean): { text: string; exit: number } {
  const error = asOurs(thrown);
  const { exit } = errorCodes[error.code];
  if (json) {
    const { code, message, hint, values } = error;
    return { text: `${JSON.stringify({ error: { code, message, hint, values, exit } })}\n`, exit };
  }
  const hint = error.hint === undefined ? '' : `  what to do: ${printable(error.hint)}\n`;
  return { text: `hscli: ${printable(error.message)}\n${hint}`, exit };
}

function asOurs(thrown: unknown): HyperscaleError {
  if (thrown instanceof HyperscaleError) {
    return thrown;
  }
  if (thrown instanceof Error && thrown.name === 'AbortError') {
    return new HyperscaleError('cancelled', 'cancelled');
  }
  return new HyperscaleError(
    'internal',
    thrown instanceof Error ? thrown.message : String(thrown),
    {
      cause: thrown,
    },
  );
}

/** The exit statuses, as `hscli --help` explains them. */
export function exitStatusHelp(): string {
  const codes = new Map<number, ErrorCode[]>();
  for (const code of Object.keys(errorCodes) as ErrorCode[]) {
    const { exit } = errorCodes[code];
    codes.set(exit, [...(codes.get(exit) ?? []), code]);
  }
  const lines = [...codes]
    .sort(([a], [b]) => a - b)
    .map(([exit, names]) => `  ${String(exit).padEnd(4)}${names.join(', ')}`);
  return ['Exit status (the code of an error is in --json output):', '  0   done', ...lines].join(
    '\n',
  );
}
