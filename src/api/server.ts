import { chmod, lstat, rename, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import type { FastifyBaseLogger } from 'fastify';
import { errorText, HyperscaleError } from '../errors.ts';
import { type Access, type App, buildApp } from './app.ts';
import { checkSecret } from './secret.ts';
import type { NodeService } from './service.ts';

export type Api = {
  /**
   * Builds what will serve on TCP and on that socket, which takes this thread for most of a second: a
   * daemon does it before it has a lease to keep.
   */
  prepare(socket: string): Promise<void>;
  /**
   * Serves on a Unix socket that only its owner may use; replaces one that a dead daemon left.
   * @throws `already-running` when another process answers there.
   */
  listenUnix(path: string): Promise<void>;
  /**
   * Serves on TCP, to those who know the secret.
   * @returns the port, which the system chooses when `port` is 0.
   */
  listenTcp(address: string, port: number): Promise<number>;
  /** Ends all connections and listeners. */
  close(): Promise<void>;
};

/** Connections to one listener at a time; more are closed at once. */
const maxConnections = 1_000;

/** The daemon's HTTP API; nothing listens before `listenUnix` or `listenTcp` is called. */
export function createApi(
  service: NodeService,
  options: { secret: string; log: FastifyBaseLogger },
): Api {
  const { secret, log } = options;
  const apps: App[] = [];
  const sockets: string[] = [];
  const prepared = new Map<string, App>();
  const keyOf = (access: Access) => (access.via === 'unix' ? (access.socket ?? '') : access.via);
  const open = async (access: Access): Promise<App> => {
    const ready = prepared.get(keyOf(access));
    prepared.delete(keyOf(access));
    if (ready !== undefined) return ready;
    const app = await buildApp(service, access, log);
    app.server.maxConnections = maxConnections;
    apps.push(app);
    return app;
  };
  return {
    async prepare(socket) {
      checkSecret(secret);
      for (const access of [
        { via: 'tcp', secret },
        { via: 'unix', socket },
      ] satisfies Access[]) {
        const app = await open(access);
        await app.ready();
        prepared.set(keyOf(access), app);
      }
    },
    async listenUnix(path) {
      await refuseLiveSocket(path);
      const app = await open({ via: 'unix', socket: path });
      // Renamed into place only when its mode is right, so that nobody else can slip in before.
      const fresh = `${path}~`;
      await rm(fresh, { force: true });
      await app.listen({ path: fresh, listenTextResolver: () => `API listens on ${path}` });
      await chmod(fresh, 0o600);
      await rename(fresh, path);
      sockets.push(path);
    },
    async listenTcp(address, port) {
      checkSecret(secret);
      const app = await open({ via: 'tcp', secret });
      try {
        await app.listen({
          host: address,
          port,
          listenTextResolver: (at) => `API listens on ${at}`,
        });
      } catch (error) {
        throw new HyperscaleError(
          'unavailable',
          `cannot listen on ${address} port ${port}: ${errorText(error)}`,
          { hint: 'Check `address` and `ports.api` in the configuration.', cause: error },
        );
      }
      const bound = app.server.address();
      return typeof bound === 'object' && bound !== null ? bound.port : port;
    },
    async close() {
      await Promise.all(apps.map((app) => app.close()));
      await Promise.all(sockets.map((path) => rm(path, { force: true })));
    },
  };
}

async function refuseLiveSocket(path: string): Promise<void> {
  const there = await lstat(path).catch(() => null);
  if (there === null) {
    return;
  }
  if (!there.isSocket()) {
    throw new HyperscaleError('unavailable', `${path} exists and is not a socket`, {
      hint: 'Move it away, or choose another run directory.',
    });
  }
  const answered = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
  if (answered) {
    throw new HyperscaleError('already-running', `another daemon answers on ${path}`, {
      hint: 'Stop it first, or choose another run directory.',
    });
  }
}
