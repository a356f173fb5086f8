import type { LayerKey } from '../../src/engine/engine.ts';
import type { Core, Machine } from './core.ts';
import { blockCount, type Copy, type Disk } from './disk.ts';
import type {
  BlockReply,
  BlockRequest,
  BlockServer,
  Connection,
  ReplyTo,
} from './engine-connection.ts';
import { SimProcess } from './engine-process.ts';

/** `atDisk`: the file has it. */
type Pending = { request: BlockRequest; atDisk: boolean };
type Export = {
  key: LayerKey;
  writable: boolean;
  copy: Copy;
  removing: boolean;
  connections: Set<Connection>;
  /** Requests that were received and are not finished. */
  pending: Set<Pending>;
  whenSettled: (() => void)[];
};

/** The process of a machine that exports layer files to other machines. */
export class ReplicaProcess extends SimProcess implements BlockServer {
  readonly blocks = blockCount;
  readonly #disk: Disk;
  readonly #exports = new Map<string, Export>();

  constructor(core: Core, machine: Machine, disk: Disk) {
    super(core, machine, 'replica');
    this.#disk = disk;
  }

  /** @throws when the file is not there */
  add(key: LayerKey, writable: boolean): void {
    const copy = this.#disk.copies.get(key.layer);
    if (copy === undefined) throw new Error(`Could not open layer ${key.layer}: No such file`);
    this.#exports.set(key.layer, {
      key,
      writable,
      copy,
      removing: false,
      connections: new Set(),
      pending: new Set(),
      whenSettled: [],
    });
    this.note(`exports epoch ${key.epoch}${writable ? ' for writing' : ''}`);
  }

  exports(): { key: LayerKey; writable: boolean }[] {
    return [...this.#exports.values()]
      .filter((e) => !e.removing)
      .map(({ key, writable }) => ({ key, writable }));
  }

  /** Exports the layer for writing. */
  hasWritable(layer: string): boolean {
    const exported = this.#exports.get(layer);
    return exported?.removing === false && exported.writable;
  }

  /** Hangs up on its clients; calls back when what was received is finished. */
  remove(layer: string, settled: () => void): void {
    const exported = this.#exports.get(layer);
    if (exported === undefined) {
      settled();
      return;
    }
    exported.removing = true;
    for (const connection of exported.connections) connection.hangUp();
    exported.connections.clear();
    exported.whenSettled.push(settled);
    this.#settle(layer, exported);
  }

  opened(connection: Connection): boolean {
    const exported = this.#exports.get(connection.exportName);
    if (exported === undefined || exported.removing) return false;
    // QEMU's client does not take an export that it may only read for a layer that it writes.
    if (connection.writes && !exported.writable) return false;
    exported.connections.add(connection);
    return true;
  }

  serve(connection: Connection, request: BlockRequest, reply: ReplyTo): void {
    const exported = this.#exports.get(connection.exportName);
    if (exported === undefined || exported.removing) return;
    if (request.kind !== 'read' && !exported.writable) {
      reply({ ok: false, error: 'EPERM' });
      return;
    }
    const entry = { request, atDisk: false };
    exported.pending.add(entry);
    const finish = (outcome: BlockReply) => {
      exported.pending.delete(entry);
      reply(outcome);
      this.#settle(exported.key.layer, exported);
    };
    this.after(this.#disk.accessMs(), () => {
      if (request.kind === 'read') {
        finish({ ok: true, value: exported.copy.cached[request.block] ?? 0 });
      } else {
        this.#store(exported.copy, entry, finish);
      }
    });
  }

  /** A write or a flush; both end on stable storage. */
  #store(copy: Copy, entry: Pending, finish: ReplyTo): void {
    const { kind, block, value } = entry.request;
    if (kind === 'write') {
      if (this.#disk.fails() || (this.#disk.full && copy.cached[block] === 0)) {
        finish({ ok: false, error: 'EIO' });
        return;
      }
      entry.atDisk = true;
      this.#disk.put(copy, block, value);
    }
    this.after(this.#disk.accessMs(), () => {
      if (kind === 'write') this.#disk.flushWrite(copy, block);
      else this.#disk.flush(copy);
      finish({ ok: true, value: 0 });
    });
  }

  protected override ended(): void {
    if (!this.machine.powered) return;
    // What it had handed to the kernel may be done or not.
    for (const { copy, pending } of this.#exports.values()) {
      for (const { request, atDisk } of pending) {
        if (request.kind !== 'write' || atDisk) continue;
        if (this.core.random.chance(0.5)) this.#disk.put(copy, request.block, request.value);
      }
    }
  }

  #settle(layer: string, exported: Export): void {
    if (!exported.removing || exported.pending.size > 0) return;
    if (this.#exports.get(layer) === exported) this.#exports.delete(layer);
    for (const settled of exported.whenSettled.splice(0)) settled();
  }
}
