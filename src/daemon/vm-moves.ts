import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../errors.ts';
import { DomainEvents } from '../libvirt/events.ts';
import { Virsh } from '../libvirt/virsh.ts';
import type { Context } from '../node/context.ts';
import type { Service } from '../node/service.ts';
import type { EtcdStore } from '../store/etcd-store.ts';
import { Domains } from '../vm/domains.ts';
import { MoveService } from '../vm/move-service.ts';
import { VmNodeCalls } from '../vm/node-calls.ts';
import type { Config } from './config.ts';

/** What an evacuation left here is looked for so long before this node begins without libvirt. */
const leftoversWithinMs = 10_000;

export type Moves = {
  service: MoveService;
  /** This node's libvirt, and what it tells while moves are followed. */
  virsh: Virsh;
  domainEvents: DomainEvents;
  domains: Domains;
  calls: VmNodeCalls;
  /** Ends old guests that were evacuated from here; to be called before anything serves. */
  removeLeftovers(): Promise<void>;
  /** Begins to follow this node's domains. */
  start(): void;
  stop(): Promise<void>;
};

/** The part of the daemon that moves guests, on this node's libvirt. */
export function createMoves(parts: {
  config: Config;
  store: EtcdStore;
  context: Context;
  service: Service;
  secret: string;
}): Moves {
  const { config, store, context, service, secret } = parts;
  const { uri, migrationUri } = config.libvirt;
  const directory = join(config.runDirectory, 'migrations');
  const calls = new VmNodeCalls((name) => store.node(name), secret);
  const virsh = new Virsh(uri);
  const events = new DomainEvents(virsh, context.log);
  const domains = new Domains(virsh, (id) => store.volume(id) !== undefined);
  const moves = new MoveService({
    self: config.node,
    domains,
    records: store.vms,
    volumes: {
      get: (id) => store.volume(id)?.value,
      attach: (id, host, signal) => service.attach(id, host, signal),
      detach: (id, host, signal) => service.detach(id, host, signal),
      forceDetach: (id, host, signal) => service.operator.forceDetach(id, host, signal),
    },
    node: (name) => store.node(name),
    nodes: () => store.nodes(),
    leasesKnown: context.leasesKnown,
    far: calls.of,
    migrationUri: ({ name, address }) =>
      migrationUri
        .replaceAll('{host}', name)
        .replaceAll('{address}', address.includes(':') ? `[${address}]` : address),
    directory,
    events: context.events,
    environment: context.environment,
    log: context.log,
  });
  const { keeper } = moves;
  // A look reports its failures itself.
  const look = () => {
    keeper.look().catch(() => undefined);
  };
  const unsubscribe: (() => void)[] = [];
  return {
    service: moves,
    virsh,
    domainEvents: events,
    domains,
    calls,
    async removeLeftovers() {
      // Definitions that an earlier daemon was giving to libvirt when it died.
      await rm(directory, { recursive: true, force: true });
      const late = new Promise<void>((resolve) => {
        context.environment.after(leftoversWithinMs, resolve);
      });
      const removed = keeper.removeLeftovers().catch((error: unknown) => {
        context.log.info({ error: errorText(error) }, 'old guests are looked for later');
      });
      await Promise.race([removed, late]);
    },
    start() {
      unsubscribe.push(
        store.onConnection((connected) => connected && look()),
        events.on((event) => {
          if (event.type === 'following') look();
          else if (event.type !== 'io-error') keeper.changed(event.domain);
        }),
      );
      events.start();
    },
    async stop() {
      for (const off of unsubscribe) off();
      events.stop();
      keeper.stop();
      await calls.close();
    },
  };
}
