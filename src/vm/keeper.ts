/**
 * Keeps the records of this node's domains as libvirt has them, removes what an evacuation left
 * behind here, and clears up after migrations whose daemon died. Looks at everything at the start,
 * when the store comes back, and now and then; at one domain when libvirt tells of it.
 */
import pLimit from 'p-limit';
import { errorText, HyperscaleError, isHyperscaleError } from '../errors.ts';
import type { Versioned } from '../store/store.ts';
import { changeVm, type MoveContext } from './move-context.ts';
import {
  type DomainSeen,
  goesWithDomain,
  gone,
  isGone,
  maxXmlBytes,
  noted,
  type VmRecord,
  type VmState,
} from './record.ts';
import { removeLeftover } from './returned.ts';
import { isToSettle, settle } from './settle.ts';

/** libvirt tells of changes; this finds what was missed. */
const lookEveryMs = 60_000;
/** A migration that could not be cleared up is tried again, as is a look that failed. */
const retryMs = 2_000;
/** libvirt tells of one change by several events. */
const gatherMs = 200;
/** virsh is a process a call. */
const domainsAtATime = 2;

export class DomainKeeper {
  readonly #context: MoveContext;
  /** Migrations that this daemon is carrying out; they clear up themselves. */
  readonly #isMoving: (uuid: string) => boolean;
  readonly #limit = pLimit(domainsAtATime);
  #cancelTimer: () => void = () => undefined;
  #looking: Promise<void> | null = null;
  readonly #pending = new Set<string>();
  /** Old guests are still to be removed here. */
  #hasLeftovers = false;
  #stopped = false;
  #complained = '';

  constructor(context: MoveContext, isMoving: (uuid: string) => boolean) {
    this.#context = context;
    this.#isMoving = isMoving;
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTimer();
  }

  /** Looks at everything, and again later. Failures are logged; a node needs no libvirt. */
  async look(): Promise<void> {
    this.#looking ??= this.#lookNow().finally(() => {
      this.#looking = null;
    });
    await this.#looking;
  }

  /** Ends what an evacuation left behind here; nothing else may happen here before. */
  async removeLeftovers(): Promise<void> {
    const { records, self } = this.#context;
    const all = (await records.list()).map(({ value }) => value);
    const left = all.filter((r) => r.leftOn.includes(self));
    this.#hasLeftovers = left.length > 0;
    for (const record of left) await removeLeftover(this.#context, record);
    this.#hasLeftovers = false;
  }

  /** Records one domain as it is now. @throws when libvirt or the store does not answer */
  async note(uuid: string): Promise<void> {
    const seen = await this.#context.domains.see(uuid);
    if (seen === null) await this.#forget(uuid);
    else await this.#record(seen);
  }

  /**
   * Something happened to the domain of that name: it is recorded shortly after, once for all that
   * happens at a time.
   */
  changed(name: string): void {
    if (this.#stopped || this.#pending.has(name)) return;
    this.#pending.add(name);
    this.#context.environment.after(gatherMs, () => {
      this.#pending.delete(name);
      this.#limit(() => this.#noteNamed(name)).catch((error: unknown) => {
        this.#context.log.info({ name, error: errorText(error) }, 'a domain is not recorded');
      });
    });
  }

  async #noteNamed(name: string): Promise<void> {
    if (this.#stopped) return;
    const uuid = await this.#context.domains.uuidOf(name);
    if (uuid === null) await this.look();
    else await this.note(uuid);
  }

  async #lookNow(): Promise<void> {
    this.#cancelTimer();
    if (this.#stopped) return;
    let again = lookEveryMs;
    try {
      again = (await this.#lookAtAll()) ? lookEveryMs : retryMs;
      this.#complained = '';
    } catch (error) {
      const text = errorText(error);
      if (text !== this.#complained) this.#context.log.info({ error: text }, 'domains not seen');
      this.#complained = text;
      // Without libvirt there is nothing to hurry for, unless it is waited for.
      if (!isHyperscaleError(error, 'unavailable') || this.#hasLeftovers) again = retryMs;
    }
    if (this.#stopped) return;
    this.#cancelTimer = this.#context.environment.after(again, () => {
      // It reports its failures itself.
      this.look().catch(() => undefined);
    });
  }

  /** @returns false when something is left to be done soon. */
  async #lookAtAll(): Promise<boolean> {
    const { domains, records, self } = this.#context;
    // First of all: what belongs elsewhere must be gone before anything else happens here.
    await this.removeLeftovers();
    const all = (await records.list()).map(({ value }) => value);
    const unsettled = all.filter(
      ({ uuid, migration }) =>
        migration !== null && isToSettle(this.#context, migration) && !this.#isMoving(uuid),
    );
    const uuids = await domains.uuids();
    const mine = all.filter((r) => r.node === self).map((r) => r.uuid);
    const wanted = [...new Set([...uuids, ...mine])];
    await Promise.all(wanted.map((uuid) => this.#limit(() => this.#noteQuietly(uuid))));
    const ends = await Promise.all(unsettled.map(({ uuid }) => settle(this.#context, uuid)));
    await Promise.all(unsettled.map(({ uuid }) => this.#noteQuietly(uuid)));
    return ends.every(({ over }) => over);
  }

  /** One domain's trouble is not the others'. */
  async #noteQuietly(uuid: string): Promise<void> {
    try {
      await this.note(uuid);
    } catch (error) {
      this.#context.log.warn({ vm: uuid, error: errorText(error) }, 'a domain is not recorded');
    }
  }

  async #record(seen: DomainSeen): Promise<void> {
    const { records, self, environment } = this.#context;
    const known = await records.read(seen.uuid);
    if (known === undefined) {
      const next = noted(undefined, seen, self);
      if (next === null) return;
      checkSize(next);
      await records.swap(null, { ...next, operation: environment.randomId() });
      return;
    }
    if (seen.volumes.length === 0 && goesWithDomain(known.value, self)) {
      await this.#drop(known);
      return;
    }
    await changeVm(this.#context, seen.uuid, (r) => this.#next(r, seen));
  }

  #next(record: VmRecord, seen: DomainSeen): VmState | null {
    const next = noted(record, seen, this.#context.self);
    if (next !== null) checkSize(next);
    return next;
  }

  /** The domain is not here: its record goes, if it is this node's. */
  async #forget(uuid: string): Promise<void> {
    const { records, domains, self } = this.#context;
    const known = await records.read(uuid);
    if (known === undefined || !goesWithDomain(known.value, self)) return;
    if ((await domains.presence(uuid)) === 'absent') await this.#drop(known);
  }

  /** It stays for nodes that have yet to remove an old life of the domain; not for removed nodes. */
  async #drop(known: Versioned<VmRecord>): Promise<void> {
    const { records, node, environment } = this.#context;
    const { value } = known;
    if (value.leftOn.every((name) => node(name) === undefined)) {
      await records.remove(known);
    } else if (!isGone(value)) {
      const operation = environment.randomId();
      await records.swap(known, { ...gone(value), operation });
    }
  }
}

function checkSize({ name, xml, liveXml }: VmState): void {
  const bytes = Buffer.byteLength(xml ?? '') + Buffer.byteLength(liveXml ?? '');
  if (bytes <= maxXmlBytes) return;
  throw new HyperscaleError('not-allowed', `the definitions of ${name} have ${bytes} bytes`, {
    hint: `At most ${maxXmlBytes} are recorded; hscli vm evacuate cannot move this guest.`,
  });
}
