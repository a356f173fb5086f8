import type { Attachment, NodeName, Replica, SealedLayer, UnsealedLayer, Volume } from './types.ts';

/** The layer that a head may be writing, whatever became of its writer. */
export function unsealedLayer(volume: Volume): UnsealedLayer | null {
  switch (volume.tail.phase) {
    case 'open':
      return volume.tail.layer;
    case 'opening':
      return volume.tail.closing;
    case 'fencing':
      return volume.tail.unsealed;
    default:
      return null;
  }
}

/** The node that may write now or is about to. */
export function writerOf(volume: Volume): NodeName | null {
  const { tail } = volume;
  if (tail.phase === 'open') return tail.layer.writer;
  if (tail.phase === 'opening') return tail.next.writer;
  return null;
}

export function attachmentOn(volume: Volume, host: NodeName): Attachment | undefined {
  return volume.attachments.find((a) => a.host === host);
}

export function replicaOn(layer: { replicas: Replica[] }, node: NodeName): Replica | undefined {
  return layer.replicas.find((r) => r.node === node);
}

export function cleanReplicas(layer: { replicas: Replica[] }): Replica[] {
  return layer.replicas.filter((r) => r.state === 'clean');
}

export function sealedLayer(volume: Volume, id: string): SealedLayer | undefined {
  return volume.chain.find((l) => l.id === id);
}

/** Every layer id that the record knows, with those that wait for deletion. */
export function knownLayers(volume: Volume): { id: string; epoch: number }[] {
  const known: { id: string; epoch: number }[] = [...volume.chain];
  const { tail, merge } = volume;
  if (tail.phase === 'open') known.push(tail.layer);
  if (tail.phase === 'opening') known.push(tail.next, ...(tail.closing ? [tail.closing] : []));
  if (tail.phase === 'fencing') known.push(tail.unsealed);
  if (merge) known.push({ id: merge.into, epoch: mergedEpoch(volume) });
  if (volume.importing) known.push({ id: volume.importing.layer, epoch: 1 });
  for (const g of volume.garbage) known.push({ id: g.layer, epoch: g.epoch });
  return known;
}

/** The epoch that names the file of a merge's result: that of the newest layer in it. */
export function mergedEpoch(volume: Volume): number {
  // Of a flatten, the one that clones keep free for it.
  if (volume.merge?.below === true) return 1;
  const top = volume.merge?.layers.at(-1);
  return volume.chain.find((l) => l.id === top)?.epoch ?? 0;
}

/** True when files of this garbage entry are out of every head's sight. */
export function isDeletable(volume: Volume, afterEpoch: number): boolean {
  const { tail } = volume;
  if (tail.phase === 'idle' || tail.phase === 'deleting') return true;
  return tail.phase === 'open' && tail.layer.epoch > afterEpoch;
}

/** True when no epoch is being begun or ended. */
export function isAtRest(volume: Volume | undefined): boolean {
  const phase = volume?.tail.phase;
  return phase !== 'opening' && phase !== 'fencing';
}

/** The size that the volume had when what is sealed now was sealed. */
export function sealedSize({ tail, chain, sizeBytes }: Volume): number {
  return tail.phase === 'idle' ? sizeBytes : (chain.at(-1)?.sizeBytes ?? sizeBytes);
}
