import { type Static, type TObject, Type } from 'typebox';
import { EpisodePlanShape } from './backup-schemas.ts';
import { ChangeLimits, LimitsShape } from './qos-schemas.ts';
import { RecoverCluster, RecoveryShape } from './recover-schemas.ts';
import { AttachVolume } from './request-schemas.ts';
import { RestoredFromShape } from './restore-schemas.ts';
import { CreateVolume, SnapshotShape, snapshotShapes } from './snapshot-schemas.ts';
import { VerificationShape, VerifyVolume } from './verify-schemas.ts';

/** The shapes of the API's answers: types, and what `/openapi.json` says about them. */

/** Refers to a shape by its name, so that the OpenAPI document has it once. */
export function named<T extends TObject>(schema: T): ReturnType<typeof Type.Unsafe<Static<T>>> {
  return Type.Unsafe<Static<T>>({ $ref: `${(schema as { $id?: string }).$id}#` });
}

const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Union([schema, Type.Null()]);

const Count = (description: string) => Type.Integer({ minimum: 0, description });
const Bytes = Count('Bytes.');
const Time = (description = 'ISO 8601, UTC.') => Type.String({ description });
const Progress = nullable(
  Type.Number({ minimum: 0, maximum: 1, description: '0 to 1; null when it is not known.' }),
);

export const PolicyShape = Type.Object(
  {
    name: Type.String(),
    reflections: Type.Integer({ description: 'Copies beyond the first.' }),
    copies: Type.Integer({ description: 'Copies of everything that is written.' }),
    maxIops: Type.Integer(),
    maxLayers: Type.Integer({ description: 'Layers are merged when there are more.' }),
  },
  { $id: 'Policy' },
);

const HealthName = Type.Enum(['healthy', 'degraded', 'at-risk', 'unavailable', 'deleting']);

export const LayerShape = Type.Object(
  {
    number: Type.Integer({ description: 'Position in the chain, oldest is 1.' }),
    id: Type.String(),
    epoch: Type.Integer(),
    volume: Type.String({
      description: 'Id of what it belongs to: the volume, or one that it was cloned from.',
    }),
    state: Type.Enum(['sealed', 'open', 'closing', 'opening']),
    sizeBytes: Bytes,
    bytes: nullable(Count('Bytes allocated; null while it is not known.')),
    copies: Type.Array(
      Type.Object({
        node: Type.String(),
        state: Type.Enum(['clean', 'unverified', 'copying', 'open', 'closing', 'opening']),
        up: Type.Boolean({ description: 'The node is alive, with this copy.' }),
      }),
    ),
  },
  { $id: 'Layer' },
);

export const ReportShape = Type.Object(
  {
    state: HealthName,
    summary: Type.String({ description: 'One plain sentence.' }),
    head: nullable(Type.String({ description: 'The node that serves the volume.' })),
    copiesWanted: Type.Integer(),
    layers: Type.Array(named(LayerShape)),
    findings: Type.Array(
      Type.Object({
        severity: Type.Enum(['degraded', 'at-risk', 'unavailable']),
        what: Type.String(),
        why: Type.String(),
        action: Type.String({ description: 'What is done about it, or what to do.' }),
        progress: Progress,
      }),
    ),
    work: Type.Array(Type.Object({ what: Type.String(), progress: Progress })),
  },
  { $id: 'VolumeReport' },
);

const volumeFields = {
  id: Type.String(),
  name: Type.String(),
  sizeBytes: Bytes,
  policy: named(PolicyShape),
  limits: named(LimitsShape),
  createdAt: Time(),
  epoch: Type.Integer({ description: 'Counts every change of who holds what is written.' }),
  state: HealthName,
  summary: Type.String({ description: 'One plain sentence.' }),
  head: nullable(Type.String({ description: 'The node that serves the volume.' })),
  servesFor: nullable(
    Type.String({
      description:
        'The host in whose place `head` serves, because its disk failed or it has no pool.',
    }),
  ),
  layers: Type.Integer({ description: 'Length of the chain, with what others share.' }),
  sharedLayers: Count('Layers of the chain that belong to what the volume was cloned from.'),
  role: Type.Enum(['volume', 'image', 'base'], {
    description:
      '`base`: a deleted volume or image that clones still need; the name is what it was.',
  }),
  parent: nullable(
    Type.String({
      description: 'What it was cloned from, by name; by id what has been deleted since.',
    }),
  ),
  snapshots: Count('Number of snapshots.'),
  flattening: nullable(
    Type.String({ description: 'The node where all it shares is being copied into it.' }),
  ),
  compacting: nullable(
    Count('Runs of layers that a compact has still to write anew; null: none is under way.'),
  ),
  metadata: Type.Record(Type.String(), Type.String(), { description: 'What people noted.' }),
  episodes: nullable(EpisodePlanShape),
  attachments: Type.Array(
    Type.Object({ host: Type.String(), session: Type.String(), since: Time() }),
  ),
};
export const VolumeShape = Type.Object(volumeFields, { $id: 'Volume' });
export const VolumeDetailShape = Type.Object(
  {
    ...volumeFields,
    report: named(ReportShape),
    snapshotList: Type.Array(named(SnapshotShape), { description: 'Oldest first.' }),
    clones: Type.Array(Type.String(), {
      description: 'What was cloned from it, by name; by id what has been deleted and is needed.',
    }),
    restoredFrom: nullable(RestoredFromShape),
    losses: Type.Array(
      Type.Object({
        at: Time(),
        by: Type.String(),
        node: Type.String({ description: 'The node that was told.' }),
        text: Type.Array(Type.String()),
      }),
      { description: 'Decisions of operators to go on without data, oldest first.' },
    ),
  },
  { $id: 'VolumeDetail' },
);

export const EndpointShape = Type.Object(
  {
    host: Type.String(),
    session: Type.String(),
    since: Time(),
    uri: Type.String({ description: 'NBD URI for a consumer on that host.' }),
    socket: Type.String({ description: 'Path of the Unix socket on that host.' }),
  },
  { $id: 'Endpoint' },
);

export const NodeShape = Type.Object(
  {
    name: Type.String(),
    up: Type.Boolean(),
    pool: nullable(
      Type.String({ description: 'Id of its pool; null: it has none, and only uses volumes.' }),
    ),
    address: Type.String(),
    apiPort: Type.Integer(),
    replicaPort: Type.Integer(),
    registeredAt: Time(),
    labels: Type.Object(
      { site: nullable(Type.String()), rack: nullable(Type.String()) },
      { description: 'What may fail at once; from its configuration.' },
    ),
    drain: nullable(
      Type.Object(
        { since: Time(), by: Type.String() },
        { description: 'There while everything is to leave the node.' },
      ),
    ),
    boot: nullable(Type.String()),
    version: nullable(Type.String()),
    totalBytes: nullable(Bytes),
    freeBytes: nullable(Bytes),
    heads: Type.Array(Type.String(), { description: 'Names of the volumes that it serves.' }),
    attached: Type.Array(Type.String(), { description: 'Names of the volumes attached there.' }),
    copies: Type.Object({
      open: Count('Layers being written.'),
      clean: Count('Sealed layers.'),
      unverified: Count('Sealed layers to be compared.'),
      copying: Count('Sealed layers being filled.'),
    }),
  },
  { $id: 'Node' },
);

export const ClusterShape = Type.Object(
  {
    id: Type.String({
      description: 'Identity of the metadata; another one after they were rebuilt.',
    }),
    state: Type.Enum(['healthy', 'degraded', 'at-risk', 'unavailable']),
    summary: Type.String(),
    node: Type.String({ description: 'The node that answers.' }),
    version: Type.String(),
    storeConnected: Type.Boolean(),
    quarantine: nullable(
      Type.String({ description: 'Why this node does not believe the metadata in etcd.' }),
    ),
    nodes: Type.Object({ total: Count('Known.'), up: Count('Alive.') }),
    volumes: Type.Object({
      total: Count('All.'),
      healthy: Count(''),
      degraded: Count(''),
      'at-risk': Count(''),
      unavailable: Count(''),
      deleting: Count(''),
    }),
    totalBytes: Bytes,
    freeBytes: Bytes,
    provisionedBytes: Count(
      'Bytes that all copies of all volumes and images would take if they were full.',
    ),
    findings: Type.Array(Type.Object({ what: Type.String(), action: Type.String() })),
  },
  { $id: 'Cluster' },
);

export const HealthShape = Type.Object(
  {
    status: Type.Enum(['ok', 'store-unavailable', 'quarantined']),
    node: Type.String(),
    version: Type.String(),
  },
  { $id: 'Health' },
);

export const WorkShape = Type.Object(
  {
    volume: Type.String({ description: 'Id.' }),
    volumeName: nullable(Type.String()),
    kind: Type.Enum([
      'mend',
      'manifest',
      'merge',
      'delete',
      'verify',
      'import',
      'restore',
      'backup',
    ]),
    node: Type.String({ description: 'Where it is done.' }),
    layer: Type.String(),
    from: nullable(Type.String()),
    doneBytes: Bytes,
    totalBytes: nullable(Bytes),
    startedAt: Time(),
  },
  { $id: 'Work' },
);

export const EventShape = Type.Object(
  {
    id: Type.Integer({ description: 'Consecutive while the daemon runs.' }),
    at: Time(),
    type: Type.String(),
    node: Type.String(),
    volume: Type.Optional(Type.String()),
    text: Type.String({ description: 'One plain sentence.' }),
    values: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  },
  { $id: 'Event' },
);

export const ProblemShape = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What went wrong, with the value that was wrong.' }),
    code: Type.String({ description: 'Stable.' }),
    hint: Type.Optional(Type.String({ description: 'What to do about it.' })),
    values: Type.Record(Type.String(), Type.Unknown()),
  },
  { $id: 'Problem' },
);

export const namedShapes = [
  CreateVolume,
  ...snapshotShapes,
  AttachVolume,
  PolicyShape,
  LayerShape,
  ReportShape,
  VolumeShape,
  VolumeDetailShape,
  ChangeLimits,
  LimitsShape,
  VerifyVolume,
  VerificationShape,
  EndpointShape,
  NodeShape,
  ClusterShape,
  RecoverCluster,
  RecoveryShape,
  HealthShape,
  WorkShape,
  EventShape,
  ProblemShape,
];

export type VolumeAnswer = Static<typeof VolumeShape>;
export type VolumeDetailAnswer = Static<typeof VolumeDetailShape>;
export type ReportAnswer = Static<typeof ReportShape>;
export type LayerAnswer = Static<typeof LayerShape>;
export type VerificationAnswer = Static<typeof VerificationShape>;
export type EndpointAnswer = Static<typeof EndpointShape>;
export type NodeAnswer = Static<typeof NodeShape>;
export type ClusterAnswer = Static<typeof ClusterShape>;
export type HealthAnswer = Static<typeof HealthShape>;
export type PolicyAnswer = Static<typeof PolicyShape>;
export type WorkAnswer = Static<typeof WorkShape>;
export type EventAnswer = Static<typeof EventShape>;
export type ProblemAnswer = Static<typeof ProblemShape>;
