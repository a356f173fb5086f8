import { HyperscaleError } from '../errors.ts';
import type { Clock } from './clock.ts';
import type { EtcdConnection } from './etcd-connection.ts';
import { isOurs, isRefusal, storeUnavailable } from './etcd-errors.ts';
import type { EtcdSession } from './etcd-session.ts';

export type UntilAnswered = <T>(
  what: string,
  attempt: (session: EtcdSession) => Promise<T | typeof again>,
) => Promise<T>;

/** What an attempt resolves with when it lost against somebody else and is to be made once more. */
export const again = Symbol('again');

/**
 * Repeats what is safe to repeat until etcd answers.
 * @throws `store-unavailable` when it does not in time, or refuses; a mistake of ours as it is
 */
export function untilAnsweredBy(context: {
  connection: EtcdConnection;
  clock: Clock;
  requestTimeoutMs: number;
}): UntilAnswered {
  const { connection, clock, requestTimeoutMs } = context;
  return async (what, attempt) => {
    const deadline = clock.now() + requestTimeoutMs;
    for (;;) {
      const session = await connection.whenReady(deadline);
      try {
        const done = await attempt(session);
        if (done !== again) return done;
      } catch (error) {
        if (error instanceof HyperscaleError) throw error;
        if (isRefusal(error)) throw storeUnavailable(what, 'no', error);
        if (isOurs(error, session)) throw error;
      }
    }
  };
}
