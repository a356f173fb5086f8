import { type Static, Type } from 'typebox';
import { maxChunkBytes, minChunkBytes } from '../backup/shape.ts';
import { maxEpisodeMinutes } from '../volume/episodes.ts';
import { nameMaxLength, namePattern } from '../volume/names.ts';
import { maxPage } from './list-page.ts';

/** The shapes of backups and their plans. */

const closed = { additionalProperties: false } as const;
const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Union([schema, Type.Null()]);
const Name = (description: string) =>
  Type.String({ description, pattern: namePattern, minLength: 1, maxLength: nameMaxLength });
const Bytes = Type.Integer({ minimum: 0, description: 'Bytes.' });
const Count = (description: string) =>
  Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000, description }));

const TargetName = Name('Name of a backup target.');
export const TargetParams = Type.Object({ target: TargetName }, closed);
export const BackupParams = Type.Object(
  {
    target: TargetName,
    backup: Type.String({
      description: 'Id of a backup, or its first eight digits or more.',
      pattern: '^[0-9a-f]{8,32}$',
    }),
  },
  closed,
);
export const EpisodeParams = Type.Object(
  {
    volume: Name('Name or id of a volume.'),
    episode: Type.String({ description: 'Id of an episode.', pattern: '^[0-9a-f]{32}$' }),
  },
  closed,
);

export const BackupsQuery = Type.Object(
  {
    volume: Type.Optional(Name('Only of this volume, by id or name, also of one that is deleted.')),
    limit: Type.Optional(
      Type.String({
        description: `At most so many, 1 to ${maxPage}; absent: all.`,
        maxLength: 1024,
      }),
    ),
    after: Type.Optional(
      Type.String({ description: '`next` of the part before.', pattern: '^[0-9a-f]{32}$' }),
    ),
  },
  closed,
);

/** How often a volume is backed up by itself, where to, and what is kept. */
export const EpisodePlanShape = Type.Object(
  {
    target: TargetName,
    everyMinutes: Type.Integer({ minimum: 1, maximum: maxEpisodeMinutes }),
    keep: Type.Object(
      {
        last: Count('The newest ones.'),
        hourly: Count('The newest of each of so many hours.'),
        daily: Count('Of so many days.'),
        weekly: Count('Of so many weeks, which begin on Monday.'),
        monthly: Count('Of so many months.'),
        yearly: Count('Of so many years.'),
      },
      closed,
    ),
  },
  { ...closed, description: 'How often it is backed up by itself, where to, and what is kept.' },
);

export const CreateRepository = Type.Object(
  {
    chunkBytes: Type.Optional(
      Type.Integer({
        description: 'A power of two; 1 MiB when absent.',
        minimum: minChunkBytes,
        maximum: maxChunkBytes,
      }),
    ),
  },
  { $id: 'CreateRepository', ...closed },
);

export const CreateBackup = Type.Object(
  {
    target: Type.Optional(
      Name("Where to; absent: that of the volume's plan, else the only one of the cluster."),
    ),
    name: Type.Optional(Name('Of the backup; absent: the time.')),
    snapshot: Type.Optional(
      Name('Name or id of a snapshot of the volume; absent: the volume as it is now.'),
    ),
  },
  { $id: 'CreateBackup', ...closed },
);

export const VerifyBackups = Type.Object(
  {
    backup: Type.Optional(BackupParams.properties.backup),
    volume: Type.Optional(Name('Id or name of a volume, also of one that is deleted.')),
    full: Type.Optional(
      Type.Boolean({ description: 'Read and check all content, and not only what leads to it.' }),
    ),
  },
  { $id: 'VerifyBackups', ...closed },
);

export const SweepBackups = Type.Object(
  { volume: Type.Optional(Name('Id or name of a volume, also of one that is deleted.')) },
  { $id: 'SweepBackups', ...closed },
);

export const TargetShape = Type.Object(
  {
    name: Type.String(),
    nodes: Type.Array(Type.String({ description: 'A node that has it configured.' })),
    repository: nullable(
      Type.Object({ id: Type.String(), chunkBytes: Bytes, encrypted: Type.Boolean() }),
    ),
    problem: nullable(Type.String({ description: 'Why this node cannot use it.' })),
  },
  { $id: 'BackupTarget' },
);

export const BackupShape = Type.Object(
  {
    id: Type.String({ description: '32 hexadecimal digits.' }),
    target: Type.String(),
    name: Type.String(),
    at: Type.String({ description: 'What it holds is of this time; ISO 8601, UTC.' }),
    volume: Type.String({ description: 'Id of the volume, which may be deleted by now.' }),
    volumeName: Type.String({ description: 'Its name then.' }),
    sizeBytes: Bytes,
    storedBytes: Type.Integer({ description: 'Bytes that this backup added to the target.' }),
  },
  { $id: 'Backup' },
);

export const BackupDetailShape = Type.Object(
  {
    ...BackupShape.properties,
    parent: nullable(Type.String({ description: 'The backup that it was built on; not needed.' })),
    labels: Type.Record(Type.String(), Type.String()),
  },
  { $id: 'BackupDetail' },
);

export const BackupVerificationShape = Type.Object(
  {
    target: Type.String(),
    mode: Type.Enum(['quick', 'full']),
    backups: Type.Integer({ description: 'Looked at.' }),
    objects: Type.Integer(),
    bytes: Bytes,
    damaged: Type.Array(
      Type.Object({
        backup: Type.Object(BackupShape.properties),
        ranges: Type.Array(Type.Object({ offset: Bytes, length: Bytes, reason: Type.String() })),
      }),
      { description: 'Empty when all is well; all other backups are whole.' },
    ),
  },
  { $id: 'BackupVerification' },
);

export const SweptShape = Type.Object(
  {
    target: Type.String(),
    deletedObjects: Type.Integer(),
    deletedBytes: Bytes,
    keptObjects: Type.Integer(),
    droppedPins: Type.Integer({ description: 'Writes and reads that stood still and are over.' }),
  },
  { $id: 'SweptBackups' },
);

export const EpisodeShape = Type.Object(
  {
    id: Type.String(),
    name: Type.String({ description: 'Of the backup.' }),
    target: Type.String(),
    at: Type.String({ description: 'ISO 8601.' }),
    sizeBytes: Bytes,
    asked: Type.Boolean({ description: 'Somebody asked for it; else the plan did.' }),
    backup: nullable(
      Type.String({ description: 'It is shipped, and is the base of the next one; null: waits.' }),
    ),
    shipper: nullable(Type.String({ description: 'The node that writes it.' })),
    doneBytes: Bytes,
    totalBytes: nullable(Bytes),
    problem: nullable(Type.String({ description: 'Why this node failed to write it last.' })),
  },
  { $id: 'Episode' },
);

export const VolumeBackupsShape = Type.Object(
  {
    volume: Type.String({ description: 'Id.' }),
    plan: nullable(EpisodePlanShape),
    episodes: Type.Array(EpisodeShape),
  },
  { $id: 'VolumeBackups' },
);

export const backupShapes = [
  CreateRepository,
  CreateBackup,
  VerifyBackups,
  SweepBackups,
  TargetShape,
  BackupShape,
  BackupDetailShape,
  BackupVerificationShape,
  SweptShape,
  EpisodeShape,
  VolumeBackupsShape,
];

export type TargetAnswer = Static<typeof TargetShape>;
export type BackupAnswer = Static<typeof BackupShape>;
export type BackupDetailAnswer = Static<typeof BackupDetailShape>;
export type BackupVerificationAnswer = Static<typeof BackupVerificationShape>;
export type SweptAnswer = Static<typeof SweptShape>;
export type EpisodeAnswer = Static<typeof EpisodeShape>;
export type VolumeBackupsAnswer = Static<typeof VolumeBackupsShape>;
export type EpisodePlanWishes = Static<typeof EpisodePlanShape>;
export type BackupWishes = Static<typeof CreateBackup>;
export type VerifyBackupsWishes = Static<typeof VerifyBackups>;
