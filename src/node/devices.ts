import type { Consumer } from '../api/service.ts';
import type { BlockDevice, BlockDeviceSpec } from '../engine/block-device.ts';
import type { BlockDevices } from '../engine/block-devices.ts';
import { Serial } from '../engine/serial.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { attachmentOn } from '../volume/queries.ts';
import type { SessionId, VolumeId } from '../volume/types.ts';
import type { Agent } from './agent.ts';

/** Where a consumer on this host finds an attachment as a block device. */
export type Device = { device: string; link: string | null };

/** One volume's device here; work on it is done one after the other. */
type Entry = {
  serial: Serial;
  device: BlockDevice | null;
  /** Gives up the start that is under way. */
  starting: { session: SessionId; abort: AbortController } | null;
};

/**
 * The block devices of this node. Each is the child of an attachment session: it is made when the
 * session is there, and ended before the session may go. Nothing of them is in the records; after a
 * restart of the daemon they are found again.
 */
export class Devices {
  readonly #agent: Agent;
  readonly #entries = new Map<VolumeId, Entry>();

  constructor(agent: Agent) {
    this.#agent = agent;
  }

  /** Finds what runs; ends what has lost its session. Call it once, before `settle`. */
  async adopt(): Promise<void> {
    for (const device of await this.#found()) {
      const entry = this.#entry(device.spec.volume);
      // Two of one volume: an old one whose session went while no daemon was there.
      const stale = this.#session(device.spec.volume) !== device.spec.session;
      if (stale || entry.device !== null) await device.kill();
      else this.#set(entry, device);
    }
  }

  /** Guests must not wait for a block device that cannot be looked at. */
  async #found(): Promise<BlockDevice[]> {
    const { blockDevices, log } = this.#agent.context;
    try {
      return (await blockDevices?.adopt()) ?? [];
    } catch (error) {
      log.error({ error: errorText(error) }, 'block devices cannot be adopted');
      return [];
    }
  }

  /** Looks at all devices, for what changed while nobody listened. */
  settleAll(): void {
    for (const id of this.#entries.keys()) this.settle(id);
  }

  /** Volumes that have a device here, and its session. */
  list(): { volume: VolumeId; session: SessionId }[] {
    return [...this.#entries.values()].flatMap(({ device }) =>
      device === null ? [] : [{ ...device.spec }],
    );
  }

  /** @throws `not-allowed` where there are no devices, `bad-input` for the name of a link */
  mayMake(name: string | undefined): BlockDevices {
    const { blockDevices, self } = this.#agent.context;
    if (blockDevices === undefined) {
      throw new HyperscaleError('not-allowed', `${self.node} has no block devices`);
    }
    if (name !== undefined) blockDevices.checkLinkName(name);
    return blockDevices;
  }

  /**
   * Makes the device of this host's attachment, or finds it; with `name` also the link to it. The
   * attachment need not be served yet.
   * @throws `not-allowed` without an attachment, `exists` or `conflict` for the link, `bad-input`,
   *   `conflict` when it is detached meanwhile
   */
  async make(id: VolumeId, name: string | undefined, signal: AbortSignal): Promise<Device> {
    const blockDevices = this.mayMake(name);
    const entry = this.#entry(id);
    return entry.serial.run(async () => {
      const session = this.#session(id);
      if (session === undefined) throw this.#notAttached(id);
      const before = entry.device;
      const fits = before?.spec.session === session && before.stands();
      if (before !== null && !fits) await this.#kill(entry);
      const spec = { volume: id, session };
      const made = entry.device ?? (await this.#start(blockDevices, entry, spec, signal));
      if (entry.device === null) this.#set(entry, made);
      try {
        // Revoked while it was made: whoever told of it has found no device to end.
        if (this.#session(id) !== session) throw this.#notAttached(id);
        const link = name === undefined ? made.link() : made.makeLink(name, this.#isLive);
        return { device: made.path, link };
      } catch (error) {
        // Nothing is half done: without its link a new device is not told of.
        if (!fits) await this.#kill(entry);
        throw error;
      }
    });
  }

  /** Starts one of a session that may still have to be served. */
  async #start(
    blockDevices: BlockDevices,
    entry: Entry,
    spec: BlockDeviceSpec,
    signal: AbortSignal,
  ): Promise<BlockDevice> {
    const worker = this.#agent.worker(spec.volume);
    const abort = new AbortController();
    const either = AbortSignal.any([signal, abort.signal]);
    entry.starting = { session: spec.session, abort };
    try {
      const reachable = worker.waitUntil(() => worker.reachable(spec.session), either);
      return await blockDevices.start(spec, { reachable, signal: either });
    } finally {
      entry.starting = null;
      abort.abort(); // nobody waits any more
    }
  }

  /** Ends a start; whoever waits for the device is told that it is not wanted any more. */
  #giveUp({ starting }: Entry): void {
    if (starting === null) return;
    starting.abort.abort(
      new HyperscaleError('conflict', 'the volume was detached while its device was made', {
        hint: 'Attach it again.',
      }),
    );
  }

  /** Takes the device away; none is fine. @throws `in-use` unless `force` */
  async remove(id: VolumeId, force: boolean): Promise<void> {
    await this.ending(id, force, async () => undefined);
  }

  /**
   * Takes the device away and then ends its session, with no chance for another device in between.
   * @throws `in-use` unless `force`; the session is untouched then
   */
  async ending<T>(id: VolumeId, force: boolean, end: () => Promise<T>): Promise<T> {
    const entry = this.#entries.get(id);
    if (entry === undefined && this.#agent.context.blockDevices === undefined) return end();
    const { serial } = entry ?? this.#entry(id);
    if (entry !== undefined) this.#giveUp(entry);
    // By force nobody waits for what hangs on the process: it hangs no longer.
    if (force) await entry?.device?.stop();
    return serial.run(async () => {
      const { device } = this.#entry(id);
      if (device !== null) {
        const mayWait = !force && this.#session(id) === device.spec.session && device.stands();
        if (mayWait) {
          await device.remove();
          this.#entry(id).device = null;
        } else {
          await this.#kill(this.#entry(id));
        }
      }
      return end();
    });
  }

  /** Lets the volume's device here have the size that the volume has. @returns it, if there is one */
  async resize(id: VolumeId, sizeBytes: number): Promise<Consumer[]> {
    const { device } = this.#entries.get(id) ?? {};
    if (device == null) return [];
    const told = { kind: 'device', name: device.path } as const;
    try {
      await device.resize(sizeBytes);
      return [{ ...told, problem: null }];
    } catch (error) {
      return [{ ...told, problem: errorText(error) }];
    }
  }

  /** Ends the device of a volume whose session here is gone or another one; soon. */
  settle(id: VolumeId): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    const { device, starting } = entry;
    const session = this.#session(id);
    if (starting !== null && starting.session !== session) this.#giveUp(entry);
    if (device !== null && device.spec.session !== session) this.#clear(entry, device);
  }

  /** Ends all of them, for a node that may not serve any more. */
  async killAll(): Promise<void> {
    const entries = [...this.#entries.values()];
    for (const entry of entries) this.#giveUp(entry);
    await Promise.all(entries.map((entry) => entry.serial.run(() => this.#kill(entry))));
  }

  readonly #isLive = (target: string): boolean =>
    [...this.#entries.values()].some(({ device }) => device?.target === target);

  #set(entry: Entry, device: BlockDevice): void {
    const { events, log, self } = this.#agent.context;
    entry.device = device;
    device.onExit(() => {
      const { volume } = device.spec;
      const name = this.#agent.worker(volume).volume?.name ?? volume;
      log.error({ volume, device: device.path }, 'the process of a block device died');
      events.emit(
        'device.died',
        `The process of ${device.path}, the block device of volume ${name} on ${self.node}, died: its users get I/O errors.`,
        { volume },
      );
      this.#clear(entry, device);
    });
  }

  /** Ends a device whose process died or whose session is gone. */
  #clear(entry: Entry, device: BlockDevice): void {
    const { log } = this.#agent.context;
    // First what lets anything through; then, in turn, what is left of it.
    device
      .stop()
      .then(() =>
        entry.serial.run(async () => {
          if (entry.device === device) await this.#kill(entry);
        }),
      )
      .catch((error: unknown) => {
        const { volume } = device.spec;
        log.error({ volume, error: errorText(error) }, 'a block device cannot be ended');
      });
  }

  async #kill(entry: Entry): Promise<void> {
    const { device } = entry;
    await device?.kill();
    entry.device = null;
  }

  /** The session of this boot's attachment here. */
  #session(id: VolumeId): SessionId | undefined {
    const { self } = this.#agent.context;
    const { volume } = this.#agent.worker(id);
    const mine = volume && attachmentOn(volume, self.node);
    return mine?.boot === self.boot ? mine.session : undefined;
  }

  #notAttached(id: VolumeId): HyperscaleError {
    const { self } = this.#agent.context;
    const name = this.#agent.worker(id).volume?.name ?? id;
    return new HyperscaleError('not-allowed', `volume ${name} is not attached on ${self.node}`, {
      hint: `Attach it first: hscli volume attach ${name} --node ${self.node}`,
    });
  }

  #entry(id: VolumeId): Entry {
    const known = this.#entries.get(id);
    if (known !== undefined) return known;
    const entry: Entry = { serial: new Serial(), device: null, starting: null };
    this.#entries.set(id, entry);
    return entry;
  }
}
