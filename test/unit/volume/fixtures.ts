/** Records to begin a test with, and what every test of a transition asserts. */
import { expect } from 'vitest';
import { type ErrorCode, HyperscaleError } from '../../../src/errors.ts';
import { createVolume } from '../../../src/volume/create.ts';
import { builtInPolicies } from '../../../src/volume/policy.ts';
import type {
  Attachment,
  Labels,
  Member,
  NodeView,
  Replica,
  ReplicaState,
  SealedLayer,
  Tail,
  UnsealedLayer,
  Volume,
} from '../../../src/volume/types.ts';

export const mebibyte = 2 ** 20;

/** Freezes a value and all that it holds, so that a transition that writes to its input throws. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}

/** The pool and the first boot of a node, by its name. */
export const poolOf = (node: string) => `pool-${node}`;
export const bootOf = (node: string) => `boot-${node}`;

export function member(node: string, boot = bootOf(node)): Member {
  return { node, pool: poolOf(node), boot };
}

/** Replicas written as `n1`, `n2?` (unverified) or `n3+` (being filled). */
export function replicas(...written: string[]): Replica[] {
  return written.map((text) => {
    const node = text.replace(/[?+]$/, '');
    const state: ReplicaState = text.endsWith('?')
      ? 'unverified'
      : text.endsWith('+')
        ? 'copying'
        : 'clean';
    return { node, pool: poolOf(node), state };
  });
}

export function sealed(
  epoch: number,
  copies: string[],
  changes: Partial<SealedLayer> = {},
): SealedLayer {
  const held = replicas(...copies);
  return {
    id: `layer-${epoch}`,
    epoch,
    sizeBytes: 64 * mebibyte,
    manifest: `root-${epoch}`,
    bytes: 1000 * epoch,
    authority: held.find((r) => r.state === 'clean')?.node ?? '',
    replicas: held,
    ...changes,
  };
}

export function unsealed(epoch: number, nodes: string[]): UnsealedLayer {
  return {
    id: `layer-${epoch}`,
    epoch,
    sizeBytes: 64 * mebibyte,
    writer: nodes[0] ?? '',
    members: nodes.map((n) => member(n)),
  };
}

export function open(epoch: number, nodes: string[]): Tail {
  return { phase: 'open', reason: 'attach', layer: unsealed(epoch, nodes) };
}

export function opening(next: UnsealedLayer, closing: UnsealedLayer | null): Tail {
  return { phase: 'opening', reason: closing === null ? 'attach' : 'evict', next, closing };
}

export function fencing(taker: string, epoch: number, layer: UnsealedLayer): Tail {
  return { phase: 'fencing', taker, epoch, unsealed: layer };
}

export function attachment(host: string, boot = bootOf(host)): Attachment {
  return { host, session: `session-${host}`, boot, since: '2026-01-01T00:00:00Z' };
}

/** A deep-frozen record; its epoch is the highest in it unless given. */
export function record(changes: Partial<Volume> = {}): Volume {
  const silver = builtInPolicies.find((p) => p.name === 'Silver');
  if (silver === undefined) throw new Error('there is no Silver');
  const empty = createVolume({
    id: 'v',
    name: 'disk',
    sizeBytes: 64 * mebibyte,
    policy: silver,
    createdAt: '2026-01-01T00:00:00Z',
  });
  const volume = { ...empty, ...changes };
  const { tail } = volume;
  const epochs = volume.chain.map((l) => l.epoch);
  if (tail.phase === 'open') epochs.push(tail.layer.epoch);
  if (tail.phase === 'opening') epochs.push(tail.next.epoch);
  if (tail.phase === 'fencing') epochs.push(tail.epoch);
  return deepFreeze(structuredClone({ ...volume, epoch: changes.epoch ?? Math.max(0, ...epochs) }));
}

/** A node with half of its pool free; null lease when it is down. */
export function node(
  name: string,
  options: {
    up?: boolean;
    boot?: string;
    free?: number;
    total?: number;
    pool?: string;
    labels?: Labels;
    draining?: boolean;
    withoutPool?: boolean;
  } = {},
): NodeView {
  const { up = true, boot = bootOf(name), free = 500, total = 1000, pool = poolOf(name) } = options;
  const { labels, draining = false, withoutPool = false } = options;
  return {
    name,
    pool,
    address: '10.0.0.1',
    apiPort: 7480,
    replicaPort: 7481,
    registeredAt: '2026-01-01T00:00:00Z',
    lease: up ? { name, pool, boot, version: '0.1.0', totalBytes: total, freeBytes: free } : null,
    ...(labels === undefined ? {} : { labels }),
    ...(withoutPool ? { withoutPool } : {}),
    ...(draining ? { drain: { node: name, pool, at: '2026-01-01T00:00:00Z', by: 'root' } } : {}),
  };
}

/** The transition must throw this code, with words of this pattern, and leave its input alone. */
export function refuses(
  volume: Volume,
  step: (volume: Volume) => unknown,
  text: RegExp,
  code: ErrorCode = 'conflict',
): void {
  const before = JSON.stringify(volume);
  let thrown: unknown;
  try {
    step(volume);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(HyperscaleError);
  if (!(thrown instanceof HyperscaleError)) return;
  expect(thrown.code).toBe(code);
  expect(thrown.message).toMatch(text);
  expect(JSON.stringify(volume)).toBe(before);
}
