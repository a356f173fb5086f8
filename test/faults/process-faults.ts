/** Faults of single processes, and what an operator does at the wrong moment. */
import { type Role, signal } from '../../lab/processes.ts';
import type { FaultKind, Strike } from './fault.ts';

const nothing = async (): Promise<void> => undefined;

/** SIGKILL for all processes of a role on the host; whoever is in charge starts new ones. */
function kill(role: Role): Strike {
  return async ({ stage, hosts: [host = ''] }) => {
    const pids = stage.node(host).pids(role);
    for (const pid of pids) signal(pid, 'SIGKILL');
    return pids.length === 0 ? undefined : nothing;
  };
}

/** SIGSTOP for all processes of a role on the host; then SIGCONT. */
function freeze(role: Role): Strike {
  return async ({ stage, hosts: [host = ''] }) => {
    const pids = stage.node(host).pids(role);
    for (const pid of pids) signal(pid, 'SIGSTOP');
    if (pids.length === 0) return undefined;
    return async () => {
      for (const pid of pids) signal(pid, 'SIGCONT');
    };
  };
}

/** A whole host stands still, and goes on. */
const freezeNode: Strike = async ({ stage, hosts: [host = ''] }) => {
  const node = stage.node(host);
  node.freeze();
  return () => node.thaw();
};

function ofProcess(
  kind: string,
  scope: FaultKind['scope'],
  strike: Strike,
  longestMs = 0,
): FaultKind {
  return { kind, weight: 2, scope, longestMs, exclusive: false, strike };
}

export const processFaults: readonly FaultKind[] = [
  ofProcess('kill-head', 'writer', kill('head')),
  ofProcess('kill-replica-server', 'node', kill('replica-server')),
  ofProcess('kill-proxy', 'proxy', kill('proxy')),
  ofProcess('kill-gateway', 'writer', kill('gateway')),
  ofProcess('kill-watchdog', 'node', kill('watchdog')),
  ofProcess('freeze-head', 'writer', freeze('head'), 6_000),
  ofProcess('freeze-replica-server', 'node', freeze('replica-server'), 8_000),
  ofProcess('freeze-proxy', 'proxy', freeze('proxy'), 4_000),
  ofProcess('freeze-gateway', 'writer', freeze('gateway'), 4_000),
  ofProcess('freeze-daemon', 'node', freeze('daemon'), 9_000),
  ofProcess('freeze-watchdog', 'node', freeze('watchdog'), 9_000),
  {
    kind: 'freeze-node',
    weight: 4,
    scope: 'node',
    longestMs: 9_000,
    exclusive: true,
    strike: freezeNode,
  },
  {
    kind: 'kill-daemon',
    weight: 4,
    scope: 'node',
    longestMs: 6_000,
    exclusive: true,
    strike: async ({ stage, hosts: [host = ''] }) => {
      await stage.node(host).killDaemon();
      return () => stage.untilStarted(host);
    },
  },
  {
    kind: 'seal',
    weight: 2,
    scope: 'writer',
    longestMs: 0,
    exclusive: false,
    strike: async ({ scene, hosts: [host = ''] }) =>
      (await scene.seal(host)) ? nothing : undefined,
  },
  {
    kind: 'hand-over',
    weight: 3,
    scope: 'writer',
    longestMs: 4_000,
    exclusive: false,
    strike: ({ scene, hosts: [host = ''] }) => scene.shutDown(host),
  },
];
