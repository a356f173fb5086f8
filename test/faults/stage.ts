/** The cluster of the fault tests: real daemons, QEMU and etcd, on disks that can lose their cache. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LabCluster } from '../../lab/cluster.ts';
import { LabDisk } from '../../lab/disk.ts';
import type { LabNetwork } from '../../lab/net.ts';
import type { LabNode } from '../../lab/node.ts';

export const nodeNames = ['n1', 'n2', 'n3', 'n4'] as const;

/** The host of etcd. */
export const storeHost = 'meta';

/** A daemon that does not start so often has a reason of its own. */
const startsAtMost = 3;

/** Large enough for a few chains of small layers, small enough to be filled in a moment. */
const poolBytes = 1 << 30;

// Most of a daemon's start is the compilation of its modules; a schedule starts a dozen of daemons.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(
  new URL('../../node_modules/.cache/hyperscale-compile', import.meta.url),
);

export class Stage {
  readonly lab: LabCluster;
  readonly #disks: ReadonlyMap<string, LabDisk>;
  /** Blocks of 4 KiB that power cuts took out of disks' caches. */
  lostBlocks = 0;

  private constructor(lab: LabCluster, disks: ReadonlyMap<string, LabDisk>) {
    this.lab = lab;
    this.#disks = disks;
  }

  static async create(): Promise<Stage> {
    const [first] = nodeNames;
    const lab = await LabCluster.create({
      nodes: [...nodeNames],
      etcdHost: storeHost,
      start: false,
    });
    const disks = new Map<string, LabDisk>();
    const stage = new Stage(lab, disks);
    try {
      for (const node of lab.nodes) {
        const directory = join(lab.directory, `${node.name}-disk`);
        const mountPoint = node.poolDirectory;
        disks.set(node.name, await LabDisk.create({ directory, mountPoint, sizeBytes: poolBytes }));
      }
      await lab.start(first);
      return stage;
    } catch (error) {
      await stage.destroy();
      throw error;
    }
  }

  get network(): LabNetwork {
    return this.lab.network;
  }

  node(name: string): LabNode {
    return this.lab.node(name);
  }

  disk(name: string): LabDisk {
    const disk = this.#disks.get(name);
    if (disk === undefined) throw new Error(`no host ${name} with a disk`);
    return disk;
  }

  /** All processes of a host end at once; its disk's cache is lost, in whole or block by block. */
  async powerCut(name: string, seed: number): Promise<void> {
    await this.node(name).powerCut({ silent: true });
    this.lostBlocks += await this.disk(name).powerCut(seed, seed % 2 === 0 ? 0 : 0.5);
  }

  async boot(name: string): Promise<void> {
    await this.disk(name).mount();
    await this.untilStarted(name, () => this.node(name).boot());
  }

  /** Another fault may kill what a daemon just starts; it ends then, and systemd starts it again. */
  async untilStarted(name: string, start = () => this.node(name).start()): Promise<void> {
    for (let left = startsAtMost; ; left -= 1) {
      try {
        return await start();
      } catch (error) {
        if (left <= 1 || this.node(name).running) throw error;
      }
    }
  }

  /** Ends everything; `keepFiles` leaves the lab's directory with its logs. */
  async destroy(options: { keepFiles?: boolean } = {}): Promise<void> {
    await this.lab.destroy(options);
    for (const disk of this.#disks.values()) await disk.destroy();
  }
}
