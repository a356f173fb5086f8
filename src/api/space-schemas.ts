import { type Static, type TSchema, Type } from 'typebox';
import { named } from './schemas.ts';

/** The shapes of what takes space. */

const Bytes = (description: string) => Type.Integer({ minimum: 0, description });
const OrNull = <T extends TSchema>(type: T) => Type.Union([type, Type.Null()]);

const SnapshotBytes = Type.Object(
  { atLeast: Type.Integer({ minimum: 0 }), atMost: Type.Integer({ minimum: 0 }) },
  {
    description:
      'What deleting all snapshots would give back once all is merged: at least, if everything was written again, what does not fit into one layer; at most, all that is below what is written now.',
  },
);

const volumeFields = {
  id: Type.String(),
  name: Type.String(),
  virtualBytes: Bytes('Its size: what it may come to hold, once.'),
  heldBytes: Bytes('What its own layers take on disks, all copies, also what waits to be deleted.'),
  copies: Type.Array(Type.Object({ node: Type.String(), bytes: Type.Integer() }), {
    description: '`heldBytes` by node.',
  }),
  sharedBytes: Bytes('Of `heldBytes`, layers that clones show too.'),
  garbageBytes: Bytes('Of `heldBytes`, files that wait to be deleted.'),
  belowBytes: Bytes('What layers of others take that it shows; counted there, not here.'),
  snapshotBytes: SnapshotBytes,
  unmeasured: Type.Array(Type.String(), {
    description:
      'Nodes that did not answer: there sealed layers count as they were when they were sealed, and others not at all.',
  }),
};

export const VolumeSpaceShape = Type.Object(volumeFields, { $id: 'VolumeSpace' });

export const NodeSpaceShape = Type.Object(
  {
    node: Type.String(),
    up: Type.Boolean(),
    measured: Type.Boolean({ description: 'false: only what records know is counted.' }),
    totalBytes: OrNull(Type.Integer({ description: 'Of the file system that the pool lies in.' })),
    freeBytes: OrNull(Type.Integer()),
    layerBytes: Bytes('Layers that belong to a record.'),
    sharedBytes: Bytes('Of `layerBytes`, layers that clones show too.'),
    snapshotBytes: SnapshotBytes,
    garbageBytes: Bytes('Layers that wait to be deleted.'),
    unknownBytes: OrNull(Bytes('Layers that no record knows.')),
    ownBytes: OrNull(Bytes('Other files of the pool: checksums, records, spares, put aside.')),
    reserveBytes: OrNull(Bytes('Kept back for those.')),
    othersBytes: OrNull(Bytes('Files that are not ours, and what the file system takes.')),
    promisedBytes: Bytes('Sizes of the volumes that are written here: what they may grow to.'),
  },
  { $id: 'NodeSpace' },
);

export const ClusterSpaceShape = Type.Object(
  {
    virtualBytes: Bytes('Sizes of all volumes, each once.'),
    totalBytes: Bytes('Of all pools.'),
    freeBytes: Bytes('Of all pools.'),
    layerBytes: Bytes('Layers of all records, all copies.'),
    garbageBytes: Bytes('Layers that wait to be deleted.'),
    sharedBytes: Bytes('Of `layerBytes`, layers that several records show.'),
    snapshotBytes: SnapshotBytes,
    promisedBytes: Bytes('Of all nodes.'),
    room: Type.Array(
      Type.Object({
        copies: Type.Integer({ minimum: 1 }),
        bytes: Bytes('How much more can be written, once, with so many copies of it.'),
      }),
      { description: 'Until pools are too full for new layers, on different nodes.' },
    ),
    nodes: Type.Array(named(NodeSpaceShape)),
    volumes: Type.Optional(
      Type.Array(named(VolumeSpaceShape), { description: 'When they are asked for.' }),
    ),
  },
  { $id: 'ClusterSpace' },
);

export const SpaceQuery = Type.Object(
  {
    volumes: Type.Optional(
      Type.Enum(['true', 'false'], { description: 'true: also each volume, image and base.' }),
    ),
  },
  { additionalProperties: false },
);

export const spaceShapes = [VolumeSpaceShape, NodeSpaceShape, ClusterSpaceShape];

export type VolumeSpaceAnswer = Static<typeof VolumeSpaceShape>;
export type NodeSpaceAnswer = Static<typeof NodeSpaceShape>;
export type ClusterSpaceAnswer = Static<typeof ClusterSpaceShape>;
