/** A volume of an end-to-end test: what is done to it, and what its record and files say. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import type { Answer } from '../../lab/api.ts';
import type { LabCluster } from '../../lab/cluster.ts';
import type { EndpointAnswer, VolumeDetailAnswer } from '../../src/api/schemas.ts';

const run = promisify(execFile);

export type Endpoint = EndpointAnswer;
export type VolumeState = VolumeDetailAnswer;
export type Problem = { code: string; detail: string; hint?: string; status: number };

/** The nodes that hold what is written now, the writer first; none while nothing is open. */
export function members(state: VolumeState): string[] {
  const open = state.report.layers.find((layer) => layer.state === 'open');
  return open?.copies.map((copy) => copy.node) ?? [];
}

/** The members beside the writer. */
export function reflections(state: VolumeState): string[] {
  return members(state).slice(1);
}

export class TestVolume {
  readonly name: string;
  readonly id: string;
  readonly #lab: LabCluster;

  constructor(lab: LabCluster, name: string, id: string) {
    this.#lab = lab;
    this.name = name;
    this.id = id;
  }

  get #path(): string {
    return `/v1/volumes/${this.name}`;
  }

  /** Attaches to a host, asking that host's own daemon; resolves when the endpoint serves. */
  async attach(host: string): Promise<Endpoint> {
    // A volume that another node made may not be known there yet.
    await this.waitFor(() => true, 60_000, host);
    return this.#lab.node(host).api.call('POST', `${this.#path}/attachments`, { host });
  }

  /** Like `attach`, but whatever is answered within the time is an answer. */
  async tryAttach(host: string, timeoutMs = 180_000): Promise<Answer<Endpoint & Problem>> {
    const { api } = this.#lab.node(host);
    return api.request('POST', `${this.#path}/attachments`, { host }, timeoutMs);
  }

  async detach(host: string, via = host): Promise<void> {
    await this.#lab.node(via).api.call('DELETE', `${this.#path}/attachments/${host}`);
  }

  async seal(via: string): Promise<void> {
    await this.#lab.node(via).api.call('POST', `${this.#path}/seal`);
  }

  async show(via: string): Promise<VolumeState> {
    return this.#lab.node(via).api.call('GET', this.#path);
  }

  /** Resolves once the volume is as wanted; rejects quoting what it was last. */
  async waitFor(
    wanted: (state: VolumeState) => boolean,
    timeoutMs = 60_000,
    via?: string,
  ): Promise<VolumeState> {
    return this.#lab.waitForVolume<VolumeState>(this.name, wanted, timeoutMs, via);
  }

  /** Resolves once so many nodes hold what is written; one that was slow to prepare joins later. */
  async withMembers(count: number, via: string): Promise<VolumeState> {
    return this.waitFor((state) => members(state).length === count, 60_000, via);
  }

  /** Resolves once nothing of it is open, also as this node sees it: news of others take a moment. */
  async closed(via: string): Promise<VolumeState> {
    return this.waitFor(
      ({ head, attachments }) => head === null && attachments.length === 0,
      60_000,
      via,
    );
  }

  /** Resolves once every copy of every layer is proven and nothing is left to be done. */
  async mended(via?: string): Promise<VolumeState> {
    return this.waitFor(
      ({ report }) =>
        report.state === 'healthy' &&
        report.work.length === 0 &&
        report.layers.every(
          (layer) => layer.state !== 'sealed' || layer.copies.every((c) => c.state === 'clean'),
        ),
      60_000,
      via,
    );
  }

  /** Names of this volume's layers in a node's pool. */
  files(node: string): string[] {
    const directory = join(this.#lab.node(node).poolDirectory, 'volumes', this.id);
    const names = existsSync(directory) ? readdirSync(directory) : [];
    return names.filter((name) => name.endsWith('.qcow2')).sort();
  }

  /**
   * Waits until all copies are proven, then compares those of every sealed layer byte for byte.
   * At least one layer must have more than one copy.
   */
  async expectIdenticalCopies(): Promise<void> {
    // A node that has not heard of the last seal yet may be the one that is asked.
    await this.waitFor(({ report }) =>
      report.layers.some(({ state, copies }) => state === 'sealed' && copies.length > 1),
    );
    for (;;) {
      const before = await this.mended();
      const differing = await this.#compare(before);
      const after = await this.mended();
      // A merge in between takes layers away while they are compared.
      if (JSON.stringify(before.report.layers) !== JSON.stringify(after.report.layers)) continue;
      expect(differing).toEqual([]);
      return;
    }
  }

  async #compare({ report }: VolumeState): Promise<string[]> {
    const differing: string[] = [];
    let compared = 0;
    for (const { state, epoch, id, copies } of report.layers) {
      if (state !== 'sealed') continue;
      const paths = copies.map(({ node }) =>
        join(this.#lab.node(node).poolDirectory, 'volumes', this.id, `${epoch}-${id}.qcow2`),
      );
      const [first = '', ...others] = paths;
      for (const other of others) {
        compared += 1;
        await run('cmp', [first, other]).catch((error: Error) => differing.push(error.message));
      }
    }
    expect(compared).toBeGreaterThan(0);
    return differing;
  }
}
