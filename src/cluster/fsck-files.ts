/** The files in the pools against the records. Pure. */
import { soundReplicas } from '../volume/damage.ts';
import { counted, listed } from '../volume/health-text.ts';
import { unsealedLayer } from '../volume/queries.ts';
import type { SealedLayer, UnsealedLayer, Volume } from '../volume/types.ts';
import { finding, holdingOf, inspectionOf, layerPathOf } from './fsck-look.ts';
import type { FsckFinding, Inspection, Scene } from './fsck-types.ts';

export function fileFindings(scene: Scene): FsckFinding[] {
  return [
    ...scene.volumes.flatMap((volume) => [
      ...volume.chain.flatMap((layer) => copyFindings(scene, volume, layer)),
      ...memberFindings(scene, volume, unsealedLayer(volume)),
    ]),
    ...scene.inspections.flatMap((inspection) => [
      ...unknownFiles(scene, inspection),
      ...strays(inspection),
      ...quarantined(inspection),
    ]),
  ];
}

/** Copies that the record counts on, without a file or with one that cannot be the copy. */
function copyFindings(scene: Scene, volume: Volume, layer: SealedLayer): FsckFinding[] {
  const expected = scene.lengthOf(layer.sizeBytes);
  return layer.replicas.flatMap((replica) => {
    const inspection = inspectionOf(scene, replica);
    if (inspection === undefined || replica.state === 'copying') return [];
    const { node, pool, state } = replica;
    const file = inspection.layers.find((l) => l.volume === volume.id && l.layer === layer.id);
    if (file !== undefined && file.lengthBytes === expected) return [];
    // An unverified copy is compared and filled where it lacks anything, a missing file too.
    const sound = soundReplicas(layer).filter(
      (r) => r !== replica && isThere(scene, volume, layer, r),
    );
    if (file === undefined && state === 'unverified' && sound.length > 0) return [];
    const path = file === undefined ? null : layerPathOf(volume.id, file);
    const wrong =
      file === undefined
        ? 'has no file'
        : `has a file of ${file.lengthBytes} bytes instead of ${expected}`;
    const others = sound.length > 0;
    return finding(
      'error',
      file === undefined ? 'copy-missing' : 'copy-length',
      { volume: volume.id, node, subject: layer.id },
      {
        what: `The ${state} copy of layer ${layer.epoch} of ${volume.name} on ${node} ${wrong}.`,
        why: 'Something other than HyperScale changed the pool, or its file system lost the file.',
        action: others
          ? `The copy counts no more, and another is made from ${listed(sound.map((r) => r.node))}.`
          : 'It is the only one that could be checked: look for the file on that disk, and bring nodes back that are down.',
      },
      others ? { do: 'lose-copy', volume: volume.id, layer: layer.id, node, pool, path } : null,
    );
  });
}

/** A clean copy whose file was seen. */
function isThere(
  scene: Scene,
  volume: Volume,
  layer: SealedLayer,
  place: { node: string; pool: string },
): boolean {
  const file = inspectionOf(scene, place)?.layers.find(
    (l) => l.volume === volume.id && l.layer === layer.id,
  );
  return file?.lengthBytes === scene.lengthOf(layer.sizeBytes);
}

function memberFindings(scene: Scene, volume: Volume, layer: UnsealedLayer | null): FsckFinding[] {
  return (layer?.members ?? []).flatMap((member) => {
    const inspection = inspectionOf(scene, member);
    if (layer === null || inspection === undefined) return [];
    if (inspection.layers.some((l) => l.volume === volume.id && l.layer === layer.id)) return [];
    const writes = member.node === layer.writer;
    return finding(
      'error',
      'member-missing',
      { volume: volume.id, node: member.node, subject: layer.id },
      {
        what: `The layer that ${volume.name} is written to (epoch ${layer.epoch}) has no file on ${member.node}.`,
        why: 'Something other than HyperScale removed it. While a process has it open its content is still there.',
        action: writes
          ? `Restart nothing on ${member.node}: save the data from within the guest first.`
          : `hscli volume seal ${volume.name}, then check again with --repair.`,
      },
    );
  });
}

/** Files of layers that the record does not place in this pool. */
function unknownFiles(scene: Scene, { node, pool, layers }: Inspection): FsckFinding[] {
  return layers.flatMap((file) => {
    const volume = scene.volumes.find((v) => v.id === file.volume);
    if (volume !== undefined && holdingOf(volume, file.layer, pool) !== null) return [];
    const path = layerPathOf(file.volume, file);
    return finding(
      'warning',
      volume === undefined ? 'file-unknown' : 'file-left-over',
      { volume: file.volume, node, subject: path },
      {
        what: `The pool of ${node} has a file that no record places there: ${path}.`,
        why:
          volume === undefined
            ? 'There is no record of its volume. It may be of a deleted one, or the metadata store may be the wrong one.'
            : `Volume ${volume.name} has no copy of this layer there; it may be left of a merge, a deletion or an epoch that was given up.`,
        action: 'It is moved to quarantine/ in its pool, never deleted.',
      },
      { do: 'quarantine', node, path },
    );
  });
}

function strays({ node, strays }: Inspection): FsckFinding[] {
  return strays.map((path) =>
    finding(
      'warning',
      'stray',
      { node, subject: path },
      {
        what: `The pool of ${node} has something that is no layer: ${path}.`,
        why: 'Nothing of HyperScale makes such a name.',
        action: 'It is moved to quarantine/ in its pool, never deleted.',
      },
      { do: 'quarantine', node, path },
    ),
  );
}

function quarantined({ node, quarantined }: Inspection): FsckFinding[] {
  if (quarantined.length === 0) return [];
  return [
    finding(
      'note',
      'quarantined',
      { node },
      {
        what: `${counted(quarantined.length, 'file', 'files')} in quarantine/ in the pool of ${node}.`,
        why: 'They were put aside by an earlier check, or hold data that was given up.',
        action: 'Remove them by hand when nobody needs them.',
      },
    ),
  ];
}
