/**
 * Guests that stopped at an I/O error go on by themselves, as soon as their volumes can serve again.
 *
 * A member of a volume that answers an error is put out by the head's node (docs/design/protocol.md),
 * and what failed is repeated by the guest's QEMU when the guest is resumed. This sees the guests of
 * this node that stopped, waits until what they use is served, and resumes them: soon, then after
 * longer and longer pauses, for as long as they are stopped by an error of a disk of ours. What
 * anybody else paused is never resumed. Nothing is remembered: after a restart libvirt tells.
 */
import { errorText } from '../errors.ts';
import type { DomainEvents } from '../libvirt/events.ts';
import type { Virsh } from '../libvirt/virsh.ts';
import type { Environment, Log } from '../node/context.ts';
import type { EventLog } from '../node/events.ts';
import type { Volume, VolumeId } from '../volume/types.ts';
import { type StoppedGuest, stoppedGuest } from './stopped-disks.ts';
import { goesOnAfterMs, pauseBefore } from './stopped-guest.ts';

/** A guest that is resumed so often in one go gets its volumes read through for damage. */
const searchAfter = 4;
/** libvirt's news may be missed; this finds a guest that stopped meanwhile. */
const lookEveryMs = 60_000;

export type IoErrorContext = {
  virsh: Virsh;
  domainEvents: Pick<DomainEvents, 'on'>;
  /** The volume of that id, if it is attached on this node. */
  attached(id: VolumeId): Volume | undefined;
  /** It can be read and written on this node now. */
  serves(id: VolumeId): boolean;
  /** Looks for copies that cannot be read, and has them mended; may take long. */
  searchDamage(id: VolumeId): Promise<void>;
  events: Pick<EventLog, 'emit'>;
  environment: Environment;
  log: Log;
};

/** A guest that stopped, until it has run for a while. */
type Episode = {
  guest: StoppedGuest;
  since: number;
  /** How often it was resumed. */
  attempts: number;
  /** How often its volumes were not there yet, in a row. */
  waits: number;
  /** When it was resumed last, if it has not been seen stopped since. */
  resumedAt: number | null;
  searched: boolean;
  /** Cancels the next look. */
  cancel: () => void;
};

export class IoErrors {
  readonly #context: IoErrorContext;
  readonly #episodes = new Map<string, Episode>();
  readonly #unsubscribe: (() => void)[] = [];
  #cancelLook: () => void = () => undefined;
  #ended = false;

  constructor(context: IoErrorContext) {
    this.#context = context;
  }

  /** Looks for guests that are stopped already, and follows what happens. */
  start(): void {
    const off = this.#context.domainEvents.on((event) => {
      if (event.type === 'following') this.look();
      const stops = event.type === 'lifecycle' && event.event === 'Suspended';
      if (event.type === 'io-error' || stops) this.#notice(event.domain);
    });
    this.#unsubscribe.push(off);
    this.look();
  }

  stop(): void {
    this.#ended = true;
    for (const off of this.#unsubscribe) off();
    this.#cancelLook();
    for (const episode of this.#episodes.values()) episode.cancel();
  }

  /** Looks at all guests that are paused. Failures are for later: a node needs no libvirt. */
  look(): void {
    const { environment, virsh, log } = this.#context;
    this.#cancelLook();
    if (this.#ended) return;
    this.#cancelLook = environment.after(lookEveryMs, () => this.look());
    virsh.run(['list', '--state-paused', '--uuid']).then(
      (text) => {
        for (const line of text.split('\n')) if (line.trim() !== '') this.#notice(line.trim());
      },
      (error: unknown) => log.debug({ error: errorText(error) }, 'paused guests are not known'),
    );
  }

  /** @param domain name or UUID of one that may have stopped. */
  #notice(domain: string): void {
    const known = [...this.#episodes.values()].some(
      ({ guest }) => guest.uuid === domain || guest.name === domain,
    );
    // One that is known is looked at when its pause is over, however soon it stopped again.
    if (this.#ended || known) return;
    this.#begin(domain).catch((error: unknown) => this.#failed(domain, error));
  }

  async #begin(domain: string): Promise<void> {
    const { environment, events } = this.#context;
    const guest = await stoppedGuest(this.#context, domain);
    if (guest === null || this.#ended || this.#episodes.has(guest.uuid)) return;
    const episode: Episode = {
      guest,
      since: environment.monotonic(),
      attempts: 0,
      waits: 0,
      resumedAt: null,
      searched: false,
      cancel: () => undefined,
    };
    this.#episodes.set(guest.uuid, episode);
    events.emit('vm.stopped', stoppedText(guest), eventOf(guest));
    this.#after(episode, pauseBefore(0));
  }

  #after(episode: Episode, milliseconds: number): void {
    if (this.#ended) return;
    episode.cancel = this.#context.environment.after(milliseconds, () => {
      this.#step(episode).catch((error: unknown) => {
        this.#failed(episode.guest.name, error);
        episode.waits += 1;
        this.#after(episode, pauseBefore(episode.waits));
      });
    });
  }

  /** Resumes the guest, waits on, or sees that it goes on. */
  async #step(episode: Episode): Promise<void> {
    const { serves, virsh, environment } = this.#context;
    if (episode.resumedAt === null && !episode.guest.disks.every((d) => serves(d.volume.id))) {
      episode.waits += 1;
      // It may be gone, or somebody's, by now; libvirt is not asked every time.
      if (episode.waits % 4 !== 0) return this.#after(episode, pauseBefore(episode.waits));
    }
    const guest = await stoppedGuest(this.#context, episode.guest.uuid);
    if (guest === null) return this.#runs(episode);
    episode.guest = guest;
    episode.resumedAt = null;
    if (!guest.disks.every((d) => serves(d.volume.id))) {
      return this.#after(episode, pauseBefore(episode.waits));
    }
    episode.waits = 0;
    if (episode.attempts >= searchAfter) this.#search(episode);
    await virsh.run(['resume', '--domain', guest.uuid]);
    episode.resumedAt = environment.monotonic();
    episode.attempts += 1;
    this.#after(episode, pauseBefore(episode.attempts));
  }

  /** It is not stopped by an error of ours, now. */
  #runs(episode: Episode): void {
    const { environment, events } = this.#context;
    const { resumedAt, since, attempts, guest } = episode;
    const ran = resumedAt === null ? null : environment.monotonic() - resumedAt;
    if (ran !== null && ran < goesOnAfterMs) {
      this.#after(episode, goesOnAfterMs - ran);
      return;
    }
    this.#episodes.delete(guest.uuid);
    // Somebody else has resumed or ended it.
    if (resumedAt === null) return;
    const stoodMs = Math.round(resumedAt - since);
    const tries = attempts === 1 ? '' : ` and was resumed ${attempts} times`;
    const text = `Guest ${guest.name} goes on; it stood for ${(stoodMs / 1_000).toFixed(1)} s${tries}.`;
    const { values, ...about } = eventOf(guest);
    events.emit('vm.resumed', text, { ...about, values: { ...values, stoodMs, attempts } });
  }

  /** A copy that cannot be read is not noticed by the head: the nodes are asked to look for one. */
  #search(episode: Episode): void {
    const { searchDamage, log } = this.#context;
    if (episode.searched) return;
    episode.searched = true;
    for (const { volume } of episode.guest.disks) {
      // With one copy there is nothing to mend from.
      if (volume.policy.reflections === 0) continue;
      searchDamage(volume.id).catch((error: unknown) => {
        log.warn({ volume: volume.id, error: errorText(error) }, 'damage is not looked for');
      });
    }
  }

  #failed(vm: string, error: unknown): void {
    this.#context.log.warn({ vm, error: errorText(error) }, 'a guest that stopped waits');
  }
}

function stoppedText({ name, disks }: StoppedGuest): string {
  const list = disks.map(({ target, volume, error }) => `${target} (${volume.name}): ${error}`);
  return `Guest ${name} stopped at an error of ${list.join(', ')}. It is resumed by itself.`;
}

/** What an event of a guest is about: its volume, where it is one. */
function eventOf({ name, uuid, disks }: StoppedGuest) {
  const [first, ...others] = disks;
  const volume = first === undefined || others.length > 0 ? {} : { volume: first.volume.id };
  return { ...volume, values: { vm: name, uuid, disks: disks.map((d) => d.target) } };
}
