/** What an operator is told before data is given up, sentence by sentence. */

import type { Believed, Dropped, LossPlan } from './accept-loss-plan.ts';
import { consumersOf } from './attachments.ts';
import { listed } from './health-text.ts';
import { snapshotsOf } from './marks.ts';
import type { Volume } from './types.ts';

export type LossText = {
  /** What would be lost or may be. */
  lost: string[];
  /** What could be done instead, and what has to be seen to. */
  before: string[];
};

export function describeLoss(volume: Volume, plan: LossPlan): LossText {
  const { believed, dropped, missing, cutOffWriter } = plan;
  const lost = [
    ...droppedText(dropped),
    ...snapshotsText(volume, dropped),
    ...believed.map(believedText),
  ];
  const before = [];
  if (missing.length > 0) {
    const verb = missing.length === 1 ? 'it' : 'one of them';
    before.push(
      `Better: bring ${listed(missing)} back; ${verb} may hold what would be lost. Once this is done it is too late: their copies are put aside or made equal to what is believed, and never used.`,
    );
  }
  if (cutOffWriter !== null) {
    before.push(
      `If ${cutOffWriter} is not dead but only cut off, its guest may go on, with writes acknowledged that nobody else will ever see, until ${cutOffWriter} sees the metadata store again; then that guest is ended and its writes are lost too. See that ${cutOffWriter} is switched off.`,
    );
  }
  if (volume.attachments.length > 0) {
    const hosts = listed(consumersOf(volume).map((a) => a.host));
    before.push(
      `The attachments on ${hosts} end: a guest that has seen newer data must not go on. Stop it, attach again, check its file systems, start it.`,
    );
  }
  return { lost, before };
}

function droppedText(dropped: readonly Dropped[]): string[] {
  const [first] = dropped;
  if (first === undefined) return [];
  const since = first.since === null ? '' : ` (it began at ${first.since})`;
  const epochs = dropped.map((d) => String(d.epoch));
  const where = listed([...new Set(dropped.flatMap((d) => d.holders))]);
  const [layers, are] =
    dropped.length === 1 ? ['layer of epoch', 'is'] : ['layers of epochs', 'are'];
  return [
    `LOST: all writes acknowledged since epoch ${first.epoch} began${since}. The ${layers} ${listed(epochs)}, on ${where}, ${are} taken out of the volume.`,
    `The volume goes back to what it held when epoch ${first.epoch} began. Whoever has read it since then saw newer data than it will see.`,
  ];
}

function snapshotsText(volume: Volume, dropped: readonly Dropped[]): string[] {
  const gone = snapshotsOf(volume).filter((s) => dropped.some((d) => d.layer === s.layer));
  return gone.length === 0
    ? []
    : [`LOST with them: ${listed(gone.map((s) => `snapshot ${s.name}`))}.`];
}

function believedText({ epoch, node, writtenAt, why }: Believed): string {
  const copy = `Epoch ${epoch}: the copy on ${node} is believed, last written at ${writtenAt}.`;
  if (why === 'damaged') {
    return `${copy} It is KNOWN TO BE DAMAGED: parts of it differ from what was written, and would be taken for right.`;
  }
  return why === 'rebooted'
    ? `${copy} ${node} was restarted since the epoch began: it holds every write that was acknowledged unless its disks lost what they had called stable, and may lack the last one, which was never acknowledged but may have been read.`
    : `${copy} It was never compared with the copy that decided: it holds every acknowledged write, but may lack the last one, which was never acknowledged but may have been read, so that a reader may see older data than before.`;
}
