import type { ProxySpec } from './engine.ts';
import {
  attachServer,
  blockdev,
  inetServer,
  nbdExport,
  nbdNode,
  processArguments,
  tcpServer,
} from './graphs.ts';
import { sessionExport } from './head-graph.ts';

type Relayed = { session: string; readOnly?: boolean };

/** On a consumer's host: the session's export of the head's host, at this host's attach socket. */
export function proxyArguments(spec: ProxySpec, eventsFile: string): string[] {
  const server = inetServer(spec.address, spec.port);
  return [
    ...processArguments(eventsFile),
    ...relay(server, spec),
    ...attachServer(),
    ...relayed(spec),
  ];
}

/** On the head's host: the session's export of the head's socket, over TCP. */
export function gatewayArguments(
  spec: { session: string; socket: string; address: string; port: number; readOnly?: boolean },
  eventsFile: string,
): string[] {
  const server = { type: 'unix', path: spec.socket };
  return [
    ...processArguments(eventsFile),
    ...relay(server, spec),
    ...tcpServer(spec.address, spec.port),
    ...relayed(spec),
  ];
}

/** What is shown read-only can be opened in no other way. */
function relay(server: object, { session, readOnly = false }: Relayed): string[] {
  const node = { ...nbdNode(server, session), 'open-timeout': 10, discard: 'unmap' };
  return blockdev({ ...node, 'node-name': 'top', 'read-only': readOnly });
}

/** Nothing is kept back here, so the head's own writethrough is enough. */
function relayed({ session, readOnly }: Relayed): string[] {
  return nbdExport({ ...sessionExport(session, readOnly), writethrough: false });
}
