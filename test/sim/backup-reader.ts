import type { BlockNode } from '../../src/engine/graphs.ts';
import { HyperscaleError } from '../../src/errors.ts';
import type { Machine } from './core.ts';
import type { Processes } from './processes.ts';

/** What the chain shows in a block, 0 when none of the layers holds it; throws when one cannot be read. */
export type ReadBlock = (block: number) => number;

type Place = { processes: Processes; machine: Machine; machines: readonly Machine[] };

/** A chain of layers as QEMU would read it: files of this machine stay open, others are asked. */
export function readerOf(chain: BlockNode | null, depth: number, place: Place): ReadBlock {
  const layers: ReadBlock[] = [];
  for (let node = chain; node !== null; node = (node.backing ?? null) as BlockNode | null) {
    if (layers.length < depth) layers.push(layerReader(node.file as BlockNode, place));
  }
  return (block) => {
    for (const read of layers) {
      const value = read(block);
      if (value !== 0) return value;
    }
    return 0;
  };
}

function layerReader(file: BlockNode, { processes, machine, machines }: Place): ReadBlock {
  if (file.driver === 'file') {
    const id = /-([0-9a-f]+)\.qcow2$/.exec(String(file.filename))?.[1] ?? '';
    const copy = processes.disk(machine).copies.get(id);
    if (copy === undefined) throw unreadable(`${String(file.filename)} is not there`);
    return (block) => copy.cached[block] ?? 0;
  }
  const { host } = file.server as { host: string };
  const layer = String(file.export);
  const peer = machines.find((m) => m.address === host);
  if (peer === undefined) throw unreadable(`${host} is nobody`);
  return (block) => {
    const copy = processes.disk(peer).copies.get(layer);
    const exported = processes
      .host(peer)
      .replica?.exports()
      .some((e) => e.key.layer === layer);
    if (!processes.replicaAnswers(machine, peer) || exported !== true || copy === undefined) {
      throw unreadable(`${peer.name} does not answer`);
    }
    return copy.cached[block] ?? 0;
  };
}

function unreadable(why: string): HyperscaleError {
  return new HyperscaleError('engine', `the layers cannot be read: ${why}`);
}
