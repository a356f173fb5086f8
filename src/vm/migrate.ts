/**
 * Live migration, from the node on which the guest runs. Its volumes are attached at the destination
 * first, where a proxy forwards to the head here; libvirt moves the guest; then the attachments here
 * end, and the head follows by the usual hand-over. Sealed layers that the destination lacks are
 * copied there in the background (src/cluster/repair.ts).
 *
 * The mark in the record comes before anything is attached, so that whoever finds it can clear up
 * (settle.ts). libvirt carries the migration out by itself (peer to peer): it goes on when this
 * daemon dies.
 */
import pLimit from 'p-limit';
import { errorText, HyperscaleError } from '../errors.ts';
import type { DiskSource } from '../libvirt/disk-xml.ts';
import { attachmentOn } from '../volume/queries.ts';
import type { NodeName, VolumeId } from '../volume/types.ts';
import type { MigrationFigures } from './domains.ts';
import { movable, refuseUnready } from './movable.ts';
import { changeVm, isUp, liveNode, type MoveContext } from './move-context.ts';
import type { Migrated, MigrationState } from './moves.ts';
import { type DomainSeen, migrating } from './record.ts';
import { sendGuest } from './send-guest.ts';
import { type Settlement, settle } from './settle.ts';

/** More migrations from one node only slow each other down. */
const atATime = 2;
/** More than can ever wait for their turn in a good time. */
const maxQueued = 200;
const attachTimeoutMs = 60_000;
const askTimeoutMs = 10_000;
/** How long the end of a migration is waited for before it is left to the background. */
const settleWithinMs = 20_000;
const settleAgainMs = 250;

type Running = { state: MigrationState; cancel: AbortController; done: Promise<Settlement> };

export class Migrations {
  readonly #context: MoveContext;
  readonly #note: (uuid: string) => Promise<void>;
  readonly #limit = pLimit(atATime);
  readonly #running = new Map<string, Running>();

  /** @param note records a domain as it is now. */
  constructor(context: MoveContext, note: (uuid: string) => Promise<void>) {
    this.#context = context;
    this.#note = note;
  }

  isRunning(uuid: string): boolean {
    return this.#running.has(uuid);
  }

  async state(uuid: string): Promise<MigrationState | null> {
    const running = this.#running.get(uuid);
    if (running === undefined) return null;
    const { state } = running;
    if (state.step !== 'sending') return { ...state };
    // How far it is matters less than that it goes on.
    const sent = await this.#context.domains.sent(uuid).catch(() => null);
    return { ...state, sent };
  }

  /** Resolves when it is known where the guest is. */
  async cancel(uuid: string): Promise<{ outcome: 'stayed' | 'moved' }> {
    const running = this.#running.get(uuid);
    if (running === undefined) {
      throw new HyperscaleError('not-found', `domain ${uuid} is not being migrated from here`);
    }
    const { name } = running.state;
    running.cancel.abort(
      new HyperscaleError('cancelled', `the migration of ${name} was cancelled`),
    );
    const { end } = await running.done;
    if (end !== 'wait') return { outcome: end };
    throw new HyperscaleError('timeout', `it is not known yet where ${name} runs`, {
      hint: 'It is found out in the background; see hscli vm list --cluster and hscli events.',
    });
  }

  async migrate(uuid: string, to: NodeName, signal: AbortSignal): Promise<Migrated> {
    const { self, environment } = this.#context;
    this.#refuseSecond(uuid);
    const began = environment.monotonic();
    const seen = await movable(this.#context, uuid, to);
    await this.#note(uuid);
    this.#refuseSecond(uuid);
    const cancel = new AbortController();
    const stop = AbortSignal.any([signal, cancel.signal]);
    const { name } = seen;
    const state: MigrationState = { uuid, name, from: self, to, step: 'queued', sent: null };
    const done = Promise.withResolvers<Settlement>();
    this.#running.set(uuid, { state, cancel, done: done.promise });
    let settlement: Settlement = { end: 'stayed', over: true };
    try {
      return await this.#limit(async () => {
        const result = await this.#carryOut(state, seen, stop);
        settlement = result.settlement;
        return this.#outcome(state, result, environment.monotonic() - began);
      });
    } finally {
      this.#running.delete(uuid);
      done.resolve(settlement);
    }
  }

  #refuseSecond(uuid: string): void {
    const state = this.#running.get(uuid)?.state;
    if (state !== undefined) {
      throw new HyperscaleError('conflict', `${state.name} is being migrated to ${state.to}`, {
        hint: `Cancel it with: hscli vm migrate ${state.name} --cancel`,
      });
    }
    if (this.#running.size >= maxQueued) {
      throw new HyperscaleError('not-allowed', `${maxQueued} migrations wait for their turn here`, {
        hint: 'Try again when some are done.',
      });
    }
  }

  async #carryOut(
    state: MigrationState,
    seen: DomainSeen,
    stop: AbortSignal,
  ): Promise<{ settlement: Settlement; failure: unknown }> {
    stop.throwIfAborted();
    await this.#mark(seen, state.to);
    this.#tell('vm.migrating', `${seen.name} is being migrated to ${state.to}.`, seen);
    let failure: unknown = null;
    try {
      state.step = 'attaching';
      const sources = await this.#attachAll(seen.volumes, state.to, stop);
      stop.throwIfAborted();
      state.step = 'sending';
      await sendGuest(this.#context, seen, liveNode(this.#context, state.to), sources, stop);
    } catch (error) {
      failure = error;
    }
    state.step = 'clearing';
    return { settlement: await this.#settle(seen.uuid, failure === null), failure };
  }

  async #mark(seen: DomainSeen, to: NodeName): Promise<void> {
    const { self, volumes, environment } = this.#context;
    const isThere = (id: VolumeId) => {
      const volume = volumes.get(id);
      const attachment = volume && attachmentOn(volume, to);
      return attachment !== undefined && attachment.standInFor === undefined;
    };
    const made = seen.volumes.filter((id) => !isThere(id));
    const since = environment.now();
    const marked = await changeVm(this.#context, seen.uuid, (record) => {
      refuseUnready(record, self, to);
      return migrating(record, { from: self, to, since, made });
    });
    if (marked === undefined) {
      throw new HyperscaleError('conflict', `${seen.name} is not recorded; it may have just ended`);
    }
  }

  async #attachAll(
    ids: readonly VolumeId[],
    to: NodeName,
    stop: AbortSignal,
  ): Promise<Map<VolumeId, DiskSource>> {
    const signal = AbortSignal.any([stop, AbortSignal.timeout(attachTimeoutMs)]);
    const sources = await Promise.all(
      ids.map(async (id): Promise<[VolumeId, DiskSource]> => {
        const { socket, session } = await this.#context.volumes.attach(id, to, signal);
        return [id, { type: 'network', socket, export: session }];
      }),
    );
    return new Map(sources);
  }

  async #settle(uuid: string, hasMoved: boolean): Promise<Settlement> {
    const { environment, log } = this.#context;
    const until = environment.monotonic() + settleWithinMs;
    let last: Settlement = { end: 'wait', over: false };
    for (;;) {
      try {
        last = await settle(this.#context, uuid, hasMoved ? 'moved' : null);
        if (last.over) return last;
      } catch (error) {
        log.warn({ vm: uuid, error: errorText(error) }, 'a migration is not cleared up yet');
      }
      if (environment.monotonic() >= until) return last;
      await new Promise<void>((resolve) => environment.after(settleAgainMs, resolve));
    }
  }

  async #outcome(
    state: MigrationState,
    { settlement, failure }: { settlement: Settlement; failure: unknown },
    tookMs: number,
  ): Promise<Migrated> {
    const { uuid, name, from, to } = state;
    const { end, over } = settlement;
    const seen = { uuid, name };
    if (end === 'moved') {
      this.#tell('vm.migrated', `${name} runs on ${to} now.`, seen);
      const figures = await this.#figures(uuid, to);
      const later = `The attachments of ${name} on ${from} end when ${to} can serve its volumes.`;
      const notes = over ? [] : [later];
      return { uuid, name, from, to, tookMs: Math.round(tookMs), ...figures, notes };
    }
    const why = errorText(failure);
    this.#tell('vm.migration-failed', `${name} was not migrated to ${to}: ${why}.`, seen);
    const code = failure instanceof HyperscaleError ? failure.code : 'libvirt';
    const where =
      end === 'stayed' ? `it runs on ${from} as before` : 'it is not known where it runs';
    const rest =
      end === 'stayed'
        ? `Its attachments on ${to} are removed in the background.`
        : 'It is found out in the background; see hscli vm list --cluster and hscli events.';
    throw new HyperscaleError(code, `${name} was not migrated to ${to}, ${where}: ${why}`, {
      hint: over ? `Look at libvirt's log on ${from} and ${to}, then try again.` : rest,
      values: { vm: uuid, from, to, end, cleared: over },
      cause: failure,
    });
  }

  /** What it cost, by the libvirt of the destination; it may not say. */
  async #figures(uuid: string, to: NodeName): Promise<MigrationFigures> {
    const none = { totalMs: null, downtimeMs: null, sentBytes: null };
    if (!isUp(this.#context, to)) return none;
    const far = this.#context.far(to, { timeoutMs: askTimeoutMs });
    return (await far.presence(uuid).catch(() => null))?.figures ?? none;
  }

  #tell(type: string, text: string, { uuid }: { uuid: string }): void {
    this.#context.events.emit(type, text, { values: { vm: uuid } });
  }
}
