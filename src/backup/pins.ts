/**
 * Pins: as long as one is there, a sweep leaves alone what its session stored and what its index
 * needs. The proof that this suffices is in docs/design/backup.md.
 */
import { randomBytes } from 'node:crypto';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import { folders, isId, newId, timeOfId } from './layout.ts';
import type { Objects } from './objects.ts';
import type { Pin } from './records.ts';

/** A pin says that often that it is in use. */
const renewAfterMs = 3600 * 1000;
const renewedSuffix = '.renewed';

/** Our own pin, while we need it. */
export class HeldPin {
  readonly session: string;
  readonly #objects: Objects;
  readonly #name: string;
  readonly #pin: Pin;
  #renewedAt: number;

  private constructor(objects: Objects, volume: string, session: string, pin: Pin, now: number) {
    this.#objects = objects;
    this.session = session;
    this.#name = `${folders.pins(volume)}${session}`;
    this.#pin = pin;
    this.#renewedAt = now;
  }

  static async put(objects: Objects, volume: string, pin: Pin, signal?: AbortSignal) {
    const held = new HeldPin(objects, volume, newId(pin.since, randomBytes(10)), pin, pin.since);
    await objects.putPin(held.#name, pin, signal);
    await objects.target.flush(signal);
    return held;
  }

  /** Takes over the pin of a write that was interrupted. */
  static async resume(
    objects: Objects,
    volume: string,
    session: string,
    pin: Pin,
    signal?: AbortSignal,
  ) {
    const held = new HeldPin(objects, volume, session, pin, 0);
    await held.renewIfDue(Date.now(), signal);
    return held;
  }

  /**
   * Says once in a while that the pin is in use. It does so in a second object: the pin itself is
   * put once, so that it stays away when somebody gave us up.
   */
  async renewIfDue(now: number, signal?: AbortSignal): Promise<void> {
    if (now - this.#renewedAt < renewAfterMs) return;
    this.#renewedAt = now;
    const name = `${this.#name}${renewedSuffix}`;
    await this.#objects.putPin(name, { ...this.#pin, since: now }, signal);
  }

  /** @throws `conflict` when somebody took the pin away: what it protected may be gone. */
  async checkThere(signal?: AbortSignal): Promise<void> {
    const { target } = this.#objects;
    if ((await target.size(this.#name, signal)) !== null) return;
    await target.delete(`${this.#name}${renewedSuffix}`);
    throw new HyperscaleError('conflict', 'the work on a backup was given up by somebody else', {
      hint: 'It was finished elsewhere, or was silent for days and taken for dead. Start again.',
      values: { session: this.session },
    });
  }

  async release(): Promise<void> {
    await this.#objects.target.delete(this.#name);
    await this.#objects.target.delete(`${this.#name}${renewedSuffix}`);
  }
}

/** A pin as it was found; null when it cannot be read. */
export type FoundPin = { session: string; pin: Pin | null; renewedAt: number };

/** All pins of a volume. */
export async function findPins(
  objects: Objects,
  volume: string,
  signal?: AbortSignal,
): Promise<FoundPin[]> {
  const folder = folders.pins(volume);
  const found = new Map<string, FoundPin>();
  const renewals = new Map<string, number>();
  for await (const name of objects.target.names(folder, signal)) {
    const session = name.slice(folder.length).replace(renewedSuffix, '');
    if (!isId(session)) continue;
    const pin = await readPin(objects, name, signal);
    if (pin === 'gone') continue;
    const since = pin?.since ?? timeOfId(session);
    if (name.endsWith(renewedSuffix)) renewals.set(session, since);
    else found.set(session, { session, pin, renewedAt: since });
  }
  return [...found.values()].map((one) => ({
    ...one,
    renewedAt: Math.max(one.renewedAt, renewals.get(one.session) ?? 0),
  }));
}

async function readPin(
  objects: Objects,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Pin | null | 'gone'> {
  try {
    return (await objects.pin(name, signal)) ?? 'gone';
  } catch (error) {
    if (isHyperscaleError(error, 'damaged')) return null;
    throw error;
  }
}

/** Gives a pin up; what it protected goes with the next sweep. */
export async function dropPin(objects: Objects, volume: string, session: string): Promise<void> {
  const name = `${folders.pins(volume)}${session}`;
  await objects.target.delete(name);
  await objects.target.delete(`${name}${renewedSuffix}`);
}
