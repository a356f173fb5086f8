import { type Static, Type } from 'typebox';
import {
  maxSizeBytes,
  minSizeBytes,
  nameMaxLength,
  namePattern,
  sizeGrainBytes,
} from '../volume/names.ts';
import { builtInPolicies } from '../volume/policy.ts';
import { EpisodePlanShape } from './backup-schemas.ts';
import { limitFields } from './qos-schemas.ts';
import { VolumeParams } from './request-schemas.ts';

/** The shapes of snapshots and clones. */

const closed = { additionalProperties: false } as const;

const Name = (description: string) =>
  Type.String({ description, pattern: namePattern, minLength: 1, maxLength: nameMaxLength });

export const SnapshotParams = Type.Object(
  { ...VolumeParams.properties, snapshot: Name('Name or id of a snapshot of the volume.') },
  closed,
);

export const CreateSnapshot = Type.Object(
  {
    name: Type.Optional(
      Name('Unique among the snapshots of the volume; as the name of a volume. Absent: the time.'),
    ),
    id: Type.Optional(
      Type.String({
        description:
          'An id of the caller’s own, a UUID or 32 hex digits; absent: a new one. The same request with the same id and name again is no error.',
        maxLength: nameMaxLength,
      }),
    ),
  },
  { $id: 'CreateSnapshot', ...closed },
);

export const ChangeSnapshot = Type.Object(
  { protected: Type.Boolean({ description: 'true: it cannot be deleted.' }) },
  { $id: 'ChangeSnapshot', ...closed },
);

export const SnapshotShape = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    volume: Type.String({ description: 'Id of the volume that it is of.' }),
    createdAt: Type.String({ description: 'ISO 8601, UTC.' }),
    sizeBytes: Type.Integer({ description: 'What the size of the volume was, bytes.' }),
    protected: Type.Boolean({ description: 'It cannot be deleted.' }),
    group: Type.Union([Type.String(), Type.Null()], {
      description: 'Snapshots of several volumes with the same one show one instant.',
    }),
    bytes: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], {
      description:
        'Bytes that one copy of it takes beyond the snapshot before it; null while that is not known.',
    }),
    attachedOn: Type.Array(Type.String(), { description: 'Nodes where it can be read.' }),
    clones: Type.Array(Type.String(), {
      description: 'What begins with it, by name; by id what has been deleted and is still needed.',
    }),
  },
  { $id: 'Snapshot' },
);

/** Where a new volume comes from. */
const source = Type.Object(
  {
    volume: Name('Name or id of a volume or an image.'),
    snapshot: Type.Optional(
      Name('Name or id of a snapshot of it; absent: what the volume holds now.'),
    ),
  },
  { ...closed, description: 'What the new volume begins with; absent: it is empty.' },
);

export const CreateVolume = Type.Object(
  {
    name: Name(
      'Unique in the cluster; 1 to 63 letters, digits, ".", "_", "-", the first a letter or digit; not a UUID.',
    ),
    sizeBytes: Type.Optional(
      Type.Integer({
        description: `A multiple of ${sizeGrainBytes}, from 1 MiB to 64 TiB. With \`source\` not less than its size, which is taken when this is absent.`,
        minimum: minSizeBytes,
        maximum: maxSizeBytes,
        multipleOf: sizeGrainBytes,
      }),
    ),
    policy: Type.Optional(
      Type.String({
        description: `One of ${builtInPolicies.map((p) => p.name).join(', ')}; case does not matter. With \`source\` the policy of that when this is absent.`,
        minLength: 1,
        maxLength: nameMaxLength,
      }),
    ),
    source: Type.Optional(source),
    episodes: Type.Optional(EpisodePlanShape),
    ...limitFields,
  },
  {
    $id: 'CreateVolume',
    ...closed,
    // What a volume has from its source is asked for where there is none.
    if: { required: ['source'] },
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema.
    then: {},
    else: { required: ['sizeBytes', 'policy'] },
  },
);

export const snapshotShapes = [CreateSnapshot, ChangeSnapshot, SnapshotShape];

export type CreateVolumeRequest = Static<typeof CreateVolume>;
export type SnapshotRequest = Static<typeof CreateSnapshot>;
export type SnapshotAnswer = Static<typeof SnapshotShape>;
