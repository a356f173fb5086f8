import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { BackupService } from '../../src/api/backup-service.ts';
import type { DeviceService } from '../../src/api/device-service.ts';
import type { ImageService } from '../../src/api/image-service.ts';
import type { RestoreService } from '../../src/api/restore-service.ts';
import { createApi } from '../../src/api/server.ts';
import type { Endpoint, NodeEvent, NodeService, PeerService, Work } from '../../src/api/service.ts';
import type { Verification } from '../../src/cluster/verify.ts';
import { HyperscaleError } from '../../src/errors.ts';
import type { VmDisks } from '../../src/vm/vms.ts';
import { mustGrow } from '../../src/volume/extend.ts';
import { changedLimits, limitsOf, policyLimits, withLimits } from '../../src/volume/limits.ts';
import { policyNamed } from '../../src/volume/policy.ts';
import type { NodeView, Replica, SealedLayer, Volume } from '../../src/volume/types.ts';
import { FakeChanges } from './api-fake-changes.ts';
import { FakeOperator } from './api-fake-operator.ts';
import { FakeSnapshots } from './api-fake-snapshots.ts';
import { FakeSpace } from './api-fake-space.ts';
import { FakeViews } from './api-fake-views.ts';

/** Records for tests, and a node service without a cluster under it. */

export function nodeUp(name: string): NodeView {
  return {
    ...nodeDown(name),
    lease: {
      name,
      pool: `pool-${name}`,
      boot: `boot-${name}`,
      version: '0.1.0',
      totalBytes: 1000 * 2 ** 30,
      freeBytes: 600 * 2 ** 30,
    },
  };
}

export function nodeDown(name: string): NodeView {
  return {
    name,
    pool: `pool-${name}`,
    address: '10.88.0.1',
    apiPort: 7480,
    replicaPort: 7481,
    registeredAt: '2026-01-01T00:00:00.000Z',
    lease: null,
  };
}

export function replica(node: string, state: Replica['state']): Replica {
  return { node, pool: `pool-${node}`, state };
}

export function sealed(epoch: number, replicas: Replica[]): SealedLayer {
  return {
    id: `layer-${epoch}`,
    epoch,
    sizeBytes: 2 ** 30,
    manifest: null,
    bytes: 5 * 2 ** 20,
    authority: replicas[0]?.node ?? 'n1',
    replicas,
  };
}

export function member(node: string) {
  return { node, pool: `pool-${node}`, boot: `boot-${node}` };
}

export function unsealed(epoch: number, members: string[]) {
  return {
    id: `layer-${epoch}`,
    epoch,
    sizeBytes: 2 ** 30,
    writer: members[0] ?? 'n1',
    members: members.map(member),
  };
}

export function attachment(host: string) {
  return {
    host,
    session: `session-${host}`,
    boot: `boot-${host}`,
    since: '2026-01-02T03:04:05.000Z',
  };
}

export function volumeRecord(changes: Partial<Volume> = {}): Volume {
  return {
    schema: 1,
    id: '11111111-2222-4333-8444-555555555555',
    name: 'db1',
    sizeBytes: 2 ** 30,
    policy: policyNamed('Gold'),
    createdAt: '2026-01-01T00:00:00.000Z',
    epoch: 0,
    attachments: [],
    chain: [],
    tail: { phase: 'idle' },
    merge: null,
    garbage: [],
    operation: 'op',
    ...changes,
  };
}

export class FakeService implements NodeService {
  readonly nodeName = 'n1';
  readonly version = '0.1.0';
  connected = true;
  nodeList = ['n1', 'n2', 'n3'].map(nodeUp);
  records = new Map<string, Volume>();
  workList: Work[] = [];
  events: NodeEvent[] = [];
  listeners = new Set<(event: NodeEvent) => void>();
  calls: unknown[][] = [];
  verification: Verification = {
    id: '',
    name: '',
    result: 'equal',
    summary: 'Every copy of every sealed layer is what was sealed.',
    layers: [],
    findings: [],
  };
  /** Called instead of answering an attach. */
  attachHook: ((signal: AbortSignal) => Promise<Endpoint>) | null = null;

  storeConnected() {
    return this.connected;
  }

  quarantined: string | null = null;
  readonly recovery = null;
  readonly moves = null;
  vms: VmDisks | null = null;
  images: ImageService | null = null;
  restores: RestoreService | null = null;
  backups: BackupService | null = null;

  clusterId() {
    return 'cluster-1';
  }

  quarantine() {
    return this.quarantined;
  }

  nodes() {
    return this.nodeList;
  }

  volumes() {
    return [...this.records.values()].map((value) => ({ value, revision: '1' }));
  }

  volume(idOrName: string) {
    const value = [...this.records.values()].find((v) => v.id === idOrName || v.name === idOrName);
    if (value === undefined) {
      throw new HyperscaleError('not-found', `there is no volume ${JSON.stringify(idOrName)}`, {
        hint: 'hscli volume list shows all.',
      });
    }
    return { value, revision: '1' };
  }

  async createVolume(request: Parameters<NodeService['createVolume']>[0]) {
    if ([...this.records.values()].some((v) => v.name === request.name)) {
      throw new HyperscaleError('exists', `there is a volume ${request.name} already`);
    }
    const id = `aaaaaaaa-0000-4000-8000-${String(this.records.size).padStart(12, '0')}`;
    const { limits, ...rest } = request;
    const plain = volumeRecord({ ...rest, id });
    const volume = withLimits(plain, changedLimits(limitsOf(plain), limits));
    this.records.set(volume.id, volume);
    this.emit('volume.changed', `Volume ${volume.name} was created.`, volume.id);
    return volume;
  }

  async setLimits(idOrName: string, change: Parameters<NodeService['setLimits']>[1]) {
    this.calls.push(['setLimits', idOrName, change]);
    const { value } = this.volume(idOrName);
    const from = change.policy === null ? limitsOf(value) : policyLimits(change.policy);
    const changed = withLimits(value, changedLimits(from, change.limits));
    this.records.set(changed.id, changed);
    return changed;
  }

  async attach(idOrName: string, host: string, signal: AbortSignal) {
    this.calls.push(['attach', idOrName, host]);
    const { value } = this.volume(idOrName);
    if (this.attachHook !== null) {
      return this.attachHook(signal);
    }
    if (!this.nodeList.some((node) => node.name === host)) {
      throw new HyperscaleError('not-found', `there is no node ${JSON.stringify(host)}`);
    }
    value.attachments = [attachment(host)];
    value.tail = { phase: 'open', reason: 'attach', layer: unsealed(1, [host, 'n2', 'n3']) };
    return this.#endpoint(value, host);
  }

  async detach(idOrName: string, host: string) {
    this.calls.push(['detach', idOrName, host]);
    const { value } = this.volume(idOrName);
    value.attachments = value.attachments.filter((a) => a.host !== host);
  }

  async seal(idOrName: string) {
    const { value } = this.volume(idOrName);
    if (value.tail.phase !== 'open') {
      throw new HyperscaleError('not-allowed', `nothing of ${value.name} is open`);
    }
    value.epoch += 1;
    return value;
  }

  async extendVolume(idOrName: string, sizeBytes: number) {
    this.calls.push(['extend', idOrName, sizeBytes]);
    const { value } = this.volume(idOrName);
    mustGrow(value, sizeBytes);
    value.sizeBytes = sizeBytes;
    const problem = 'the guest does not answer';
    const consumers = [
      { node: 'n1', kind: 'domain' as const, name: 'web1 vda', problem: null },
      { node: 'n2', kind: 'domain' as const, name: 'web2 vda', problem },
    ];
    return { volume: value, consumers };
  }

  async verify(
    idOrName: string,
    wishes: { seal: boolean; repair: boolean },
    _signal: AbortSignal,
  ): Promise<Verification> {
    this.calls.push(['verify', idOrName, wishes]);
    const { id, name } = this.volume(idOrName).value;
    return { ...this.verification, id, name };
  }

  async deleteVolume(idOrName: string, options?: { snapshots: boolean }) {
    this.calls.push(['delete', idOrName, options]);
    const { value } = this.volume(idOrName);
    const [first] = value.attachments;
    if (first !== undefined) {
      throw new HyperscaleError('in-use', `${value.name} is attached on ${first.host}`, {
        hint: `hscli volume detach ${value.name} --node ${first.host}`,
      });
    }
    this.records.delete(value.id);
  }

  async work() {
    return this.workList;
  }

  eventsAfter(after: number) {
    return this.events.filter((event) => event.id > after);
  }

  onEvent(listener: (event: NodeEvent) => void) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  emit(type: string, text: string, volume?: string) {
    const id = (this.events.at(-1)?.id ?? 0) + 1;
    const at = '2026-01-02T03:04:05.000Z';
    const event = { id, at, type, node: 'n1', text, ...(volume === undefined ? {} : { volume }) };
    this.events.push(event);
    for (const listener of this.listeners) {
      listener(event);
    }
  }

  readonly operator = new FakeOperator(this.calls, (id) => this.volume(id).value);

  readonly devices: DeviceService = {
    make: async (idOrName, host, { name, attach }) => {
      this.calls.push([
        'make-device',
        idOrName,
        host,
        name,
        ...(attach === true ? ['attach'] : []),
      ]);
      return { host, device: '/dev/loop7', link: name === undefined ? null : `/dev/${name}` };
    },
    remove: async (idOrName, host, force) => {
      this.calls.push(['remove-device', idOrName, host, force]);
    },
  };

  readonly snapshots = new FakeSnapshots(this.calls, this.records);
  readonly views = new FakeViews(this.calls, this.records);
  readonly changes = new FakeChanges(this.records);
  readonly space = new FakeSpace(this);

  readonly peer: PeerService = {
    prepareLayer: async (request) => {
      this.calls.push(['prepareLayer', request]);
      return { pool: 'pool-n1', boot: 'boot-n1' };
    },
    fence: async ({ epoch }) => {
      if (epoch === 13) {
        throw new HyperscaleError('conflict', 'the epoch is over', { values: { epoch } });
      }
      return { pool: 'pool-n1', boot: 'boot-n1', layers: ['layer-1'] };
    },
    serveLayer: async (request) => {
      this.calls.push(['serveLayer', request]);
    },
    openGateway: async () => ({ port: 7500, sizeBytes: 2 ** 30, boot: 'b-1' }),
    manifest: async ({ layer }) => ({
      layer,
      chunkBytes: 65536,
      lengthBytes: 2 ** 40,
      allocatedBytes: 0,
      root: 'r',
      chunks: Array.from({ length: 50_000 }, () => 'f'.repeat(64)),
    }),
    verifyLayer: async () => ({ state: 'missing' }),
    readLayer: async ({ length }) => Buffer.alloc(length, 7),
    work: () => this.workList,
    attach: async (id) => this.#endpoint(this.volume(id).value, 'n1'),
    detach: async (id) => {
      this.calls.push(['peer-detach', id]);
    },
    extend: async (request) => {
      this.calls.push(['peer-extend', request]);
    },
    connections: async () => ({ connections: 0 }),
    resizeConsumers: async ({ volume }) => {
      this.calls.push(['peer-resize', volume]);
      return [{ kind: 'domain', name: 'web1 vda', problem: null }];
    },
    makeDevice: async (request) => {
      this.calls.push(['peer-make-device', request]);
      return { device: '/dev/loop7', link: null };
    },
    removeDevice: async (request) => {
      this.calls.push(['peer-remove-device', request]);
    },
    groupSeal: async ({ step }) => ({ kept: step === 'keep' }),
    seal: async (id) => {
      this.calls.push(['peer-seal', id]);
    },
    inspect: async () => ({
      ...{ node: 'n1', pool: 'pool-n1', boot: 'boot-n1', layers: [], strays: [], fences: [] },
      ...{ burnt: [], heads: [], proxies: [], gateways: [], exports: [] },
      ...{ spares: 0, quarantined: [] },
    }),
    measurePool: async () => ({
      ...{ totalBytes: 0, freeBytes: 0, ownBytes: 0, reserveBytes: 0, files: [] },
    }),
    quarantine: async ({ path }) => ({ path: `quarantine/${path}` }),
    revoked: async (request) => {
      this.calls.push(['revoked', request]);
    },
  };

  #endpoint(volume: Volume, host: string): Endpoint {
    const socket = `/run/hyperscale/attach/${volume.id}.sock`;
    return { ...attachment(host), socket, uri: `nbd+unix:///session-${host}?socket=${socket}` };
  }
}

export const secret = 'a secret that is long enough';
export const quiet = pino({ level: 'silent' });

/** A real API over a fake service, on a Unix socket and on TCP. */
export async function startApi(service: NodeService) {
  const directory = await mkdtemp(join(tmpdir(), 'hs-api-'));
  const socket = join(directory, 'api.sock');
  const api = createApi(service, { secret, log: quiet });
  await api.listenUnix(socket);
  const port = await api.listenTcp('127.0.0.1', 0);
  return {
    socket,
    port,
    async stop() {
      await api.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
