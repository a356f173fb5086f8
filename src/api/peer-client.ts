import { Pool } from 'undici';
import type { Inspection } from '../cluster/fsck-types.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import type { NodeFacts } from '../recovery/facts.ts';
import type { StoreSeen } from '../store/identity.ts';
import { errorFromProblem } from './problems.ts';
import type { CopyCheck, Endpoint, FenceAnswer, Manifest, PeerService, Work } from './service.ts';

/** `PeerService` of another node; every call can be cancelled and is bounded in time. */
export type PeerClient = {
  [K in keyof PeerService]: (
    ...parameters: [...Parameters<PeerService[K]>, options?: CallOptions]
  ) => Promise<Awaited<ReturnType<PeerService[K]>>>;
} & RecoveryCalls & {
    /** A method of `VmMovesHere`. */
    vm<T>(method: string, body: object, options?: CallOptions): Promise<T>;
    close(): Promise<void>;
  };

/** What a node that recovers the records asks of another one. */
type RecoveryCalls = {
  recoveryFacts(options?: CallOptions): Promise<NodeFacts>;
  recoveryFence(request: { volume: string; epoch: number }, options?: CallOptions): Promise<void>;
  acceptStore(seen: StoreSeen, options?: CallOptions): Promise<void>;
};

export type CallOptions = { signal?: AbortSignal; timeoutMs?: number };

const connectTimeoutMs = 2_000;
const defaultTimeoutMs = 30_000;
const connections = 8;

/**
 * Calls to the daemon of another node. Errors of that daemon come back as they were thrown there;
 * one that does not answer is `node-down`, one that answers too late `timeout`.
 */
export function connectPeer(peer: {
  node: string;
  address: string;
  port: number;
  secret: string;
}): PeerClient {
  const host = peer.address.includes(':') ? `[${peer.address}]` : peer.address;
  const pool = new Pool(`http://${host}:${peer.port}`, {
    connections,
    connect: { timeout: connectTimeoutMs },
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const authorization = `Bearer ${peer.secret}`;

  const call = async (method: string, body: unknown, options: CallOptions = {}) => {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? defaultTimeoutMs);
    const signal =
      options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
    try {
      const answer = await pool.request({
        method: 'POST',
        path: `/peer/v1/${method}`,
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal,
      });
      const bytes = Buffer.from(await answer.body.arrayBuffer());
      if (answer.statusCode >= 400) {
        throw errorFromProblem(parsed(bytes), answer.statusCode);
      }
      return bytes;
    } catch (error) {
      if (error instanceof HyperscaleError) {
        throw error;
      }
      const values = { node: peer.node, method };
      if (options.signal?.aborted === true) {
        throw new HyperscaleError('cancelled', `${method} on ${peer.node} was cancelled`, {
          values,
          cause: error,
        });
      }
      if (timeout.aborted) {
        throw new HyperscaleError('timeout', `${peer.node} did not answer ${method} in time`, {
          values,
          cause: error,
        });
      }
      throw new HyperscaleError('node-down', `cannot reach ${peer.node}: ${errorText(error)}`, {
        hint: `Check that hyperscaled runs on ${peer.node} (${peer.address} port ${peer.port}).`,
        values,
        cause: error,
      });
    }
  };
  const ask = async <T>(method: string, body: unknown, options?: CallOptions): Promise<T> =>
    JSON.parse((await call(method, body, options)).toString());
  const tell = async (method: string, body: unknown, options?: CallOptions): Promise<void> => {
    await call(method, body, options);
  };

  return {
    prepareLayer: (request, options) => ask('prepareLayer', request, options),
    fence: (request, options) => ask<FenceAnswer>('fence', request, options),
    serveLayer: (request, options) => tell('serveLayer', request, options),
    openGateway: (request, options) => ask('openGateway', request, options),
    manifest: (request, options) => ask<Manifest>('manifest', request, options),
    verifyLayer: (request, signal, options) =>
      ask<CopyCheck>('verifyLayer', request, { ...options, signal: both(signal, options?.signal) }),
    readLayer: (request, options) => call('readLayer', request, options),
    work: (options) => ask<Work[]>('work', {}, options),
    attach: (volume, options) => ask<Endpoint>('attach', { volume }, options),
    detach: (volume, options) => tell('detach', { volume }, options),
    makeDevice: (request, options) => ask('makeDevice', request, options),
    removeDevice: (request, options) => tell('removeDevice', request, options),
    seal: (volume, options) => tell('seal', { volume }, options),
    groupSeal: (request, options) => ask('groupSeal', request, options),
    extend: (request, options) => tell('extend', request, options),
    connections: (request, options) => ask('connections', request, options),
    resizeConsumers: (request, options) => ask('resizeConsumers', request, options),
    inspect: (request, options) => ask<Inspection>('inspect', request, options),
    measurePool: (request, options) => ask('measurePool', request, options),
    quarantine: (request, options) => ask('quarantine', request, options),
    revoked: (request, options) => tell('revoked', request, options),
    recoveryFacts: (options) => ask<NodeFacts>('recoveryFacts', {}, options),
    recoveryFence: (request, options) => tell('recoveryFence', request, options),
    acceptStore: (seen, options) => tell('acceptStore', seen, options),
    vm: (method, body, options) => ask(`vm/${method}`, body, options),
    close: () => pool.destroy(),
  };
}

function both(one: AbortSignal, other: AbortSignal | undefined): AbortSignal {
  return other === undefined ? one : AbortSignal.any([one, other]);
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return null;
  }
}
