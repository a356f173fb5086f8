import type { BackupEntry } from '../../src/backup/entry.ts';
import type { SimRepository } from './backups.ts';
import type { Core, Machine } from './core.ts';
import { blocksOf } from './disk.ts';
import type { BlockRequest, BlockServer, Connection, ReplyTo } from './engine-connection.ts';
import { SimProcess } from './engine-process.ts';

const readMs = [1, 60] as const;
/** A target that does not answer is asked again, for ever. */
const againMs = 300;
const lookMs = 500;

/** The program that serves a backup to heads, in place of a layer; it outlives its daemon. */
export class StreamProcess extends SimProcess implements BlockServer {
  readonly layer: string;
  readonly port: number;
  readonly entry: BackupEntry;
  readonly blocks: number;
  readonly #content: readonly number[];
  readonly #target: SimRepository;
  readonly #clients = new Set<Connection>();
  #retired = false;

  constructor(
    core: Core,
    machine: Machine,
    what: { layer: string; port: number; entry: BackupEntry },
    from: { content: readonly number[]; target: SimRepository },
  ) {
    super(core, machine, 'stream');
    this.layer = what.layer;
    this.port = what.port;
    this.entry = what.entry;
    this.blocks = blocksOf(what.entry.sizeBytes);
    this.#content = from.content;
    this.#target = from.target;
  }

  /** Its target does not answer. */
  get waits(): boolean {
    return this.#target.down;
  }

  opened(connection: Connection): boolean {
    const open = !this.#retired && connection.exportName === this.layer;
    if (open) this.#clients.add(connection);
    return open;
  }

  serve(connection: Connection, request: BlockRequest, reply: ReplyTo): void {
    const { down } = this.#target;
    this.after(down ? againMs : this.core.random.int(...readMs), () => {
      if (down) this.serve(connection, request, reply);
      else reply({ ok: true, value: this.#content[request.block] ?? 0 });
    });
  }

  /** Nobody is to connect any more; it ends when those who are have left. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    const look = () => {
      if ([...this.#clients].some((c) => c.served)) this.after(lookMs, look);
      else this.kill();
    };
    look();
  }
}
