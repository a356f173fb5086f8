import type { Inspection } from '../cluster/fsck-types.ts';
import { errorText } from '../errors.ts';
import type { Agent } from './agent.ts';

/** A pool with very many files takes this long to list. */
const inspectTimeoutMs = 10_000;

/** What lies in this node's pool and runs here, of one volume or of all. */
export async function inspectHere(agent: Agent, volume?: string): Promise<Inspection> {
  const { self, engine } = agent.context;
  const wanted = (id: string) => volume === undefined || id === volume;
  const workers = agent.workers().filter((worker) => wanted(worker.id));
  const inventory = await engine.layers.inventory(volume);
  return {
    ...self,
    ...inventory,
    heads: workers.flatMap(({ head }) => {
      if (head === null) return [];
      const { pid: _, ...state } = head.state;
      return [state];
    }),
    proxies: workers.flatMap(({ id, proxy }) =>
      proxy === null ? [] : [{ volume: id, session: proxy.session, headNode: proxy.headNode }],
    ),
    gateways: workers.flatMap(({ id, gateways }) =>
      [...gateways.keys()].map((session) => ({ volume: id, session })),
    ),
    devices: agent.devices.list().filter((device) => wanted(device.volume)),
    exports: engine.replicas
      .exports()
      .filter(({ key }) => wanted(key.volume))
      .map(({ key, writable }) => ({ ...key, writable })),
  };
}

/** Asks nodes at the same time; those that do not answer are named with the reason. */
export async function inspectAll(
  agent: Agent,
  nodes: readonly string[],
  options: { volume?: string | undefined; timeoutMs?: number } = {},
): Promise<{ inspections: Inspection[]; silent: { node: string; why: string }[] }> {
  const { self, peers } = agent.context;
  const { volume, timeoutMs = inspectTimeoutMs } = options;
  const inspections: Inspection[] = [];
  const silent: { node: string; why: string }[] = [];
  const ask = async (node: string) => {
    try {
      const request = volume === undefined ? {} : { volume };
      inspections.push(
        node === self.node
          ? await inspectHere(agent, volume)
          : await peers.of(node, { timeoutMs }).inspect(request),
      );
    } catch (error) {
      silent.push({ node, why: errorText(error) });
    }
  };
  await Promise.all(nodes.map(ask));
  return { inspections, silent };
}
