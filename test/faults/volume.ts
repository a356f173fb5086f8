/** A volume of the fault tests: its record, its health, and its files on every node. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { LabCluster } from '../../lab/cluster.ts';
import type { VolumeDetailAnswer } from '../../src/api/schemas.ts';
import { HyperscaleError } from '../../src/errors.ts';

const run = promisify(execFile);

export type VolumeState = VolumeDetailAnswer;

/** The nodes that hold what is written now, the writer first; none while nothing is open. */
export function membersOf(state: VolumeState): string[] {
  const open = state.report.layers.find((layer) => layer.state === 'open');
  return open?.copies.map((copy) => copy.node) ?? [];
}

/** Healthy, nothing left to be done, every copy of every layer proven. */
function isWhole({ report }: VolumeState): boolean {
  const proven = report.layers.every(
    (layer) => layer.state !== 'sealed' || layer.copies.every((copy) => copy.state === 'clean'),
  );
  return report.state === 'healthy' && report.work.length === 0 && proven;
}

/** The same layers with the same copies. */
function sameLayers(a: VolumeState, b: VolumeState): boolean {
  return a.epoch === b.epoch && JSON.stringify(layersOf(a)) === JSON.stringify(layersOf(b));
}

/** How much is allocated is what each node has found out by itself. */
function layersOf({ report }: VolumeState): object[] {
  return report.layers.map(({ id, state, copies }) => ({ id, state, copies }));
}

/** After a power cut of all hosts no daemon answers until one has booted; on a busy machine it takes long. */
const noDaemonMs = 60_000;

export class FaultVolume {
  readonly name: string;
  readonly #lab: LabCluster;
  readonly #id: string;

  private constructor(lab: LabCluster, name: string, id: string) {
    this.#lab = lab;
    this.name = name;
    this.#id = id;
  }

  static async create(
    lab: LabCluster,
    name: string,
    policy: 'Gold' | 'Silver',
    sizeBytes: number,
  ): Promise<FaultVolume> {
    const body = { name, policy, sizeBytes };
    const made = await lab.nodes[0]?.api.call<{ id: string }>('POST', '/v1/volumes', body);
    return new FaultVolume(lab, name, made?.id ?? '');
  }

  /** Its state, asked of the first daemon that answers. */
  async show(): Promise<VolumeState> {
    return this.#lab.waitForVolume<VolumeState>(this.name, () => true, noDaemonMs);
  }

  /**
   * Resolves once it is whole as every daemon sees it: one that was cut off knows old things.
   *
   * @throws HyperscaleError `timeout` quoting what is not as it should be
   */
  async whole(timeoutMs: number): Promise<VolumeState> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const left = Math.max(1, deadline - performance.now());
      const [first, ...others] = await Promise.all(
        this.#lab.nodes.map(({ name }) =>
          this.#lab.waitForVolume<VolumeState>(this.name, isWhole, left, name),
        ),
      );
      if (first === undefined) throw new HyperscaleError('internal', 'a lab without nodes');
      if (others.every((other) => sameLayers(first, other))) return first;
      await sleep(100);
    }
  }

  /** Compares all copies of all sealed layers byte for byte; returns those that differ. */
  async differingCopies(timeoutMs: number): Promise<string[]> {
    for (;;) {
      const before = await this.whole(timeoutMs);
      const differing = await this.#compare(before);
      const after = await this.whole(timeoutMs);
      // A merge in between takes layers away while they are compared.
      if (sameLayers(before, after)) return differing;
    }
  }

  async #compare({ report }: VolumeState): Promise<string[]> {
    const differing: string[] = [];
    for (const { state, epoch, id, copies } of report.layers) {
      if (state !== 'sealed') continue;
      const [first = '', ...others] = copies.map(({ node }) =>
        join(this.#lab.node(node).poolDirectory, 'volumes', this.#id, `${epoch}-${id}.qcow2`),
      );
      for (const other of others) {
        await run('cmp', [first, other]).catch((error: { stdout?: string; stderr?: string }) =>
          differing.push(`${error.stdout ?? ''}${error.stderr ?? ''}`.trim()),
        );
      }
    }
    return differing;
  }
}
