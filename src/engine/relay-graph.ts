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

/** On a consumer's host: the session's export of the head's host, at this host's attach socket. */
export function proxyArguments(spec: ProxySpec, eventsFile: string): string[] {
  const server = inetServer(spec.address, spec.port);
  return [
    ...processArguments(eventsFile),
    ...relay(server, spec.session),
    ...attachServer(),
    ...relayed(spec),
  ];
}

/** On the head's host: the session's export of the head's socket, over TCP. */
export function gatewayArguments(
  spec: { session: string; socket: string; address: string; port: number },
  eventsFile: string,
): string[] {
  const server = { type: 'unix', path: spec.socket };
  return [
    ...processArguments(eventsFile),
    ...relay(server, spec.session),
    ...tcpServer(spec.address, spec.port),
    ...relayed(spec),
  ];
}

function relay(server: object, session: string): string[] {
  const node = { ...nbdNode(server, session), 'open-timeout': 10, discard: 'unmap' };
  return blockdev({ ...node, 'node-name': 'top' });
}

/** Nothing is kept back here, so the head's own writethrough is enough. */
function relayed(spec: { session: string }): string[] {
  return nbdExport({ ...sessionExport(spec.session), writethrough: false });
}
