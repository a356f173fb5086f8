/** Waiting for a state of a volume: by its events, with a slow re-read as the safety net. */
import { setTimeout } from 'node:timers/promises';
import { HyperscaleError } from '../src/errors.ts';
import type { LabApi } from './api.ts';

/** The longest time between two looks at the volume, in milliseconds. */
const lookAtLeastEveryMs = 250;

/** How long one answer may take; a node that is frozen or cut off does not answer at all. */
const answerWithinMs = 2_000;

export type VolumeWait<T> = {
  volume: string;
  predicate: (volume: T) => boolean;
  timeoutMs: number;
  /** The API to ask, asked for anew after each failure: its node may be gone. */
  api: () => LabApi;
};

/** Calls `wake` at each event of the volume, until aborted; reconnects after a failure. */
async function followEvents<T>(
  wait: VolumeWait<T>,
  signal: AbortSignal,
  wake: () => void,
): Promise<void> {
  const path = `/v1/events?volume=${encodeURIComponent(wait.volume)}`;
  while (!signal.aborted) {
    try {
      for await (const _event of wait.api().events(path, signal)) {
        wake();
      }
    } catch {
      // The re-read goes on meanwhile and its error is the one that is told.
    }
    await setTimeout(lookAtLeastEveryMs, undefined, { signal }).catch(() => undefined);
  }
}

/**
 * Resolves with the volume (the body of `GET /v1/volumes/NAME`) once `predicate` holds for it.
 *
 * @throws HyperscaleError `timeout` quoting the last state or answer that was seen
 */
export async function waitForVolume<T>(wait: VolumeWait<T>): Promise<T> {
  const deadline = performance.now() + wait.timeoutMs;
  const path = `/v1/volumes/${encodeURIComponent(wait.volume)}`;
  const stop = new AbortController();
  let woken = Promise.withResolvers<void>();
  const events = followEvents(wait, stop.signal, () => woken.resolve());
  let seen = 'nothing';
  try {
    while (performance.now() < deadline) {
      // Renewed before the read, so that an event during the read leads to another one.
      woken = Promise.withResolvers<void>();
      try {
        const left = Math.ceil(deadline - performance.now());
        const patience = Math.max(1, Math.min(answerWithinMs, left));
        const answer = await wait.api().request<T>('GET', path, undefined, patience);
        seen = `${answer.status} ${JSON.stringify(answer.body, null, 1)}`;
        if (answer.status === 200 && wait.predicate(answer.body)) {
          return answer.body;
        }
      } catch (error) {
        seen = `no answer (${String(error)}); before: ${seen.replace(/^no answer .*?before: /s, '')}`;
      }
      await Promise.race([woken.promise, setTimeout(lookAtLeastEveryMs)]);
    }
  } finally {
    stop.abort();
    await events;
  }
  const text = `volume '${wait.volume}' is not as awaited after ${wait.timeoutMs} ms`;
  throw new HyperscaleError('timeout', `${text}; last seen: ${seen}`);
}
