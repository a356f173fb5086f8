import { type Static, Type } from 'typebox';
import { nameMaxLength, namePattern } from '../volume/names.ts';

/** Shapes of what operators ask for and are answered; see `schemas.ts`. */

const closed = { additionalProperties: false } as const;

const Name = (description: string) =>
  Type.String({ description, pattern: namePattern, minLength: 1, maxLength: nameMaxLength });
export const By = Type.Optional(
  Type.String({
    description: 'Who decides, at most 63 characters; kept in the record.',
    minLength: 1,
    maxLength: 63,
    pattern: '^[^\\u0000-\\u001f\\u007f]*$',
  }),
);
const LayerId = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$', maxLength: 100 });
const maxLayers = 1_000;

export const FsckRequest = Type.Object(
  {
    volume: Type.Optional(Name('Check this volume alone; name or id.')),
    repair: Type.Optional(Type.Boolean({ description: 'Repair what is safe to repair.' })),
  },
  { $id: 'FsckRequest', ...closed },
);

export const FsckShape = Type.Object(
  {
    nodes: Type.Array(Type.String(), { description: 'Nodes that were checked.' }),
    volumes: Type.Integer({ description: 'Records that were checked.' }),
    files: Type.Integer({ description: 'Files of layers that were checked.' }),
    findings: Type.Array(
      Type.Object({
        kind: Type.String({ description: 'Stable.' }),
        severity: Type.Enum(['error', 'warning', 'note']),
        volume: Type.Union([Type.String({ description: 'Id.' }), Type.Null()]),
        volumeName: Type.Union([Type.String(), Type.Null()]),
        node: Type.Union([Type.String(), Type.Null()]),
        what: Type.String(),
        why: Type.String(),
        action: Type.String({ description: 'What is done about it, or what to do.' }),
        repair: Type.Enum(['safe', 'none'], { description: 'safe: a repair does it.' }),
      }),
    ),
    repaired: Type.Array(Type.String(), { description: 'What was done, one sentence each.' }),
  },
  { $id: 'Fsck' },
);

export const LossShape = Type.Object(
  {
    volume: Type.String({ description: 'Id.' }),
    name: Type.String(),
    lost: Type.Array(Type.String(), { description: 'What would be lost, in plain words.' }),
    before: Type.Array(Type.String(), { description: 'What to do instead, and what to see to.' }),
    believed: Type.Array(
      Type.Object({
        layer: Type.String(),
        epoch: Type.Integer(),
        node: Type.String({ description: 'Whose copy would decide.' }),
        writtenAt: Type.String({ description: 'When the copy was last written to; ISO 8601.' }),
        why: Type.Enum(['rebooted', 'unverified', 'damaged']),
      }),
    ),
    dropped: Type.Array(
      Type.Object({
        layer: Type.String(),
        epoch: Type.Integer(),
        since: Type.Union([
          Type.String({ description: 'When the epoch began, ISO 8601.' }),
          Type.Null(),
        ]),
        holders: Type.Array(Type.String()),
      }),
    ),
    missing: Type.Array(Type.String(), { description: 'Nodes that could bring it back.' }),
    cutOffWriter: Type.Union([
      Type.String({ description: 'The writer, whose guest may go on if it is only cut off.' }),
      Type.Null(),
    ]),
  },
  { $id: 'Loss' },
);

export const ForceRequest = Type.Object(
  {
    believed: Type.Array(
      Type.Object({ layer: LayerId, node: Name('Whose copy is believed.') }, closed),
      { description: 'As in the Loss that was shown.', maxItems: maxLayers },
    ),
    dropped: Type.Array(LayerId, {
      description: 'Layers that are given up, as in the Loss that was shown.',
      maxItems: maxLayers,
    }),
    by: By,
  },
  { $id: 'ForceRequest', ...closed },
);

export const RemovalShape = Type.Object(
  {
    node: Type.String(),
    pool: Type.String(),
    volumes: Type.Array(Type.String(), { description: 'Volumes with anything there.' }),
    losses: Type.Array(Type.Object({ volume: Type.String(), why: Type.String() })),
  },
  { $id: 'Removal' },
);

export const RemovedShape = Type.Object(
  {
    node: Type.String(),
    pool: Type.String(),
    volumes: Type.Array(Type.String()),
    lost: Type.Array(Type.String(), { description: 'Volumes of which nothing is left.' }),
  },
  { $id: 'Removed' },
);

export const RemoveNodeQuery = Type.Object(
  {
    acceptDataLoss: Type.Optional(
      Type.Enum(['true', 'false'], { description: 'true: also when data is lost with it.' }),
    ),
    by: By,
  },
  closed,
);

export const DetachQuery = Type.Object(
  {
    force: Type.Optional(
      Type.Enum(['true', 'false'], { description: 'true: do not ask the host.' }),
    ),
  },
  closed,
);

export const operatorShapes = [
  FsckRequest,
  FsckShape,
  LossShape,
  ForceRequest,
  RemovalShape,
  RemovedShape,
];

export type FsckAnswer = Static<typeof FsckShape>;
export type LossAnswer = Static<typeof LossShape>;
export type RemovalAnswer = Static<typeof RemovalShape>;
export type RemovedAnswer = Static<typeof RemovedShape>;
