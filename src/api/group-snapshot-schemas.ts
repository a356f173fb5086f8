import { type Static, Type } from 'typebox';
import { maxGroup } from '../volume/bounds.ts';
import { nameMaxLength, namePattern } from '../volume/names.ts';
import { named } from './schemas.ts';
import { SnapshotShape } from './snapshot-schemas.ts';

/** The shapes of snapshots of several volumes at one instant. */

const Name = (description: string) =>
  Type.String({ description, pattern: namePattern, minLength: 1, maxLength: nameMaxLength });

export const CreateGroupSnapshot = Type.Object(
  {
    name: Type.Optional(Name('A name for the snapshot of each volume. Absent: the time.')),
    volumes: Type.Array(Name('Name or id of a volume.'), {
      description: 'Volumes whose snapshots are to show one instant.',
      minItems: 1,
      maxItems: maxGroup,
    }),
  },
  { $id: 'CreateGroupSnapshot', additionalProperties: false },
);

export const GroupSnapshotShape = Type.Object(
  {
    group: Type.String({ description: 'An id that all snapshots of the group carry.' }),
    heldMs: Type.Integer({ description: 'How long writes were held at most, milliseconds.' }),
    snapshots: Type.Array(named(SnapshotShape), { description: 'In the order of the volumes.' }),
  },
  { $id: 'GroupSnapshot' },
);

export const groupSnapshotShapes = [CreateGroupSnapshot, GroupSnapshotShape];

export type GroupSnapshotRequest = Static<typeof CreateGroupSnapshot>;
export type GroupSnapshotAnswer = Static<typeof GroupSnapshotShape>;
