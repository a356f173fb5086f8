/** What an error of the etcd client means for the request that got it. */

import {
  EtcdAuthenticationFailedError,
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCDeadlineExceededError,
  GRPCFailedPreconditionError,
  GRPCInvalidArgumentError,
  GRPCNotFoundError,
  GRPCNotImplementedError,
  GRPCOutOfRangeError,
  GRPCResourceExhastedError,
  GRPCUnauthenticatedError,
} from 'etcd3';
import { errorText, HyperscaleError } from '../errors.ts';

const refusals = [
  EtcdAuthenticationFailedError,
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCFailedPreconditionError,
  GRPCInvalidArgumentError,
  GRPCNotFoundError,
  GRPCNotImplementedError,
  GRPCOutOfRangeError,
  GRPCResourceExhastedError,
  GRPCUnauthenticatedError,
];

/**
 * True when etcd itself answered that it did not do it. After every other error (time-out, lost
 * connection, no leader) the request may have been done, or may still be done later.
 */
export function isRefusal(error: unknown): boolean {
  return refusals.some((kind) => error instanceof kind);
}

/**
 * True for an error that neither etcd nor the connection made: the session is as good as before, so
 * a repetition would fail in the same way, at once and for ever.
 */
export function isOurs(error: unknown, session: { readonly lost: AbortSignal }): boolean {
  return (
    !isRefusal(error) && !session.lost.aborted && !(error instanceof GRPCDeadlineExceededError)
  );
}

/** Whether a request that failed was done: `no`, or `unknown` when it may land even later. */
export type Outcome = 'no' | 'unknown';

/** The error for a request that could not be carried out. */
export function storeUnavailable(what: string, outcome: Outcome, cause?: unknown): HyperscaleError {
  const reason = cause === undefined ? '' : `: ${errorText(cause)}`;
  const full = cause instanceof GRPCResourceExhastedError;
  return new HyperscaleError('store-unavailable', `${what}${reason}`, {
    hint: full
      ? "etcd is out of space: 'etcdctl compact', 'etcdctl defrag', 'etcdctl alarm disarm'"
      : 'nothing is lost; it can be tried again when etcd answers',
    values: { outcome },
    cause,
  });
}
