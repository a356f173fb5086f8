/** What the program that serves a backup says to the daemon: one line of JSON each. */
import type { BackupEntry } from '../backup/entry.ts';
import type { TargetSettings } from '../daemon/backup-config.ts';
import { type ErrorCode, errorCodes, errorText, HyperscaleError } from '../errors.ts';
import type { BackupWish } from './choose.ts';

export type WantedBackup = { target: string; settings: TargetSettings; wish: BackupWish };

/** What it is told, once, on its standard input, which then stays open as long as it is to serve. */
export type SourceRequest = WantedBackup & {
  /** Where it listens. */
  socket: string;
};

export type SourceLine =
  /** It serves. `sizeBytes`: what is shown, which zeros fill up. */
  | { kind: 'ready'; entry: BackupEntry; sizeBytes: number }
  /** It could not begin, or a read failed. */
  | { kind: 'failed'; error: SaidError };

export type SaidError = {
  code: ErrorCode;
  message: string;
  hint: string | null;
  values: Record<string, unknown>;
};

export function saidError(error: unknown): SaidError {
  if (!(error instanceof HyperscaleError)) {
    return { code: 'internal', message: errorText(error), hint: null, values: {} };
  }
  const { code, message, values } = error;
  return { code, message, hint: error.hint ?? null, values };
}

export function heardError({ code, message, hint, values }: SaidError): HyperscaleError {
  const known = Object.hasOwn(errorCodes, code) ? code : 'internal';
  return new HyperscaleError(known, message, { values, ...(hint === null ? {} : { hint }) });
}
