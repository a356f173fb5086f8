/** The part of a daemon that moves virtual machines, and calls to that of other nodes. */
import { Serial } from '../engine/serial.ts';
import { HyperscaleError } from '../errors.ts';
import type { NodeName } from '../volume/types.ts';
import { evacuate } from './evacuate.ts';
import { DomainKeeper } from './keeper.ts';
import { Migrations } from './migrate.ts';
import type { MoveContext } from './move-context.ts';
import type { Evacuated, Migrated, MigrationState, VmMoves, VmMovesHere } from './moves.ts';
import type { VmRecord } from './record.ts';
import { takeIn } from './take-in.ts';

/** A migration takes as long as the guest's memory needs. */
const migrateTimeoutMs = 86_400_000;
const askTimeoutMs = 10_000;
/** A cancellation waits until it is known where the guest is. */
const cancelTimeoutMs = 60_000;

export class MoveService implements VmMoves {
  readonly here: VmMovesHere;
  readonly keeper: DomainKeeper;
  readonly #context: MoveContext;

  constructor(context: MoveContext) {
    this.#context = context;
    const migrations: Migrations = new Migrations(context, (uuid) => this.keeper.note(uuid));
    this.keeper = new DomainKeeper(context, (uuid) => migrations.isRunning(uuid));
    this.here = this.#createHere(migrations);
  }

  async migrate(vm: string, to: NodeName, signal: AbortSignal): Promise<Migrated> {
    const { uuid, on } = await this.#find(vm, { timeoutMs: migrateTimeoutMs, signal });
    return on.migrate(uuid, to, signal);
  }

  async cancelMigration(vm: string): Promise<{ outcome: 'stayed' | 'moved' }> {
    const { uuid, on } = await this.#find(vm, { timeoutMs: cancelTimeoutMs });
    return on.cancelMigration(uuid);
  }

  async migration(vm: string): Promise<MigrationState | null> {
    const { uuid, on } = await this.#find(vm, { timeoutMs: askTimeoutMs });
    return on.migration(uuid);
  }

  evacuate(
    node: NodeName,
    wishes: { to: NodeName | null; vm: string | null },
    signal: AbortSignal,
  ): Promise<Evacuated> {
    const near = this.#context;
    // Calls to this node itself need no network.
    const far: MoveContext['far'] = (name, options) =>
      name === near.self ? this.here : near.far(name, options);
    return evacuate({ ...near, far }, node, wishes, signal);
  }

  #createHere(migrations: Migrations): VmMovesHere {
    const { domains } = this.#context;
    /** One at a time for each guest: a second call finds what the first one did. */
    const takingIn = new Map<string, Serial>();
    return {
      presence: async (uuid) => {
        const presence = await domains.presence(uuid);
        if (presence !== 'active') return { presence, figures: null };
        await this.keeper.note(uuid);
        return { presence, figures: await domains.figures(uuid) };
      },
      canRun: async () => {
        await domains.uuids();
      },
      takeIn: async (uuid, signal) => {
        const serial = takingIn.get(uuid) ?? new Serial();
        takingIn.set(uuid, serial);
        try {
          return await serial.run(async () => {
            const result = await takeIn(this.#context, uuid, signal);
            await this.keeper.note(uuid);
            return result;
          });
        } finally {
          if (takingIn.get(uuid) === serial) takingIn.delete(uuid);
        }
      },
      migrate: async (uuid, to, signal) => {
        try {
          return await migrations.migrate(uuid, to, signal);
        } finally {
          // Goes on with what could not be cleared up; it reports its failures itself.
          this.keeper.look().catch(() => undefined);
        }
      },
      cancelMigration: (uuid) => migrations.cancel(uuid),
      migration: (uuid) => migrations.state(uuid),
    };
  }

  /** The guest, and the node that it runs on. */
  async #find(
    vm: string,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<{ uuid: string; on: VmMovesHere }> {
    const { self } = this.#context;
    let found = await this.#named(vm);
    if (found.length === 0) {
      // It may have been defined a moment ago.
      await this.keeper.look();
      found = await this.#named(vm);
    }
    const [record, second] = found;
    if (record === undefined) {
      throw new HyperscaleError('not-found', `there is no guest ${JSON.stringify(vm)}`, {
        hint: 'Only guests with volumes of this cluster are known; list them with: hscli vm list --cluster',
      });
    }
    if (second !== undefined) {
      const all = found.map((r) => `${r.uuid} on ${r.node}`).join(', ');
      throw new HyperscaleError('conflict', `several guests are called ${vm}: ${all}`, {
        hint: 'Say the UUID instead of the name.',
      });
    }
    const { uuid, node } = record;
    // What is on its way is in the hands of where it came from.
    const at = record.migration?.from ?? node;
    return { uuid, on: at === self ? this.here : this.#context.far(at, options) };
  }

  async #named(vm: string): Promise<VmRecord[]> {
    const all = (await this.#context.records.list()).map(({ value }) => value);
    const byUuid = all.filter((r) => r.uuid === vm.toLowerCase());
    return byUuid.length > 0 ? byUuid : all.filter((r) => r.name === vm);
  }
}
