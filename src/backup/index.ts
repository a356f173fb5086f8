/** Backups of volumes outside the cluster. */
export { openDirectoryTarget } from './directory-target.ts';
export type { BackupEntry } from './entry.ts';
export type { BackupReader, ChunksOptions, DamagedRange, Piece } from './reader.ts';
export type { Labels, Manifest } from './records.ts';
export { createRepository, openRepository, Repository, type Unfinished } from './repository.ts';
export { checkPolicy, type Retained, type RetentionPolicy, retain } from './retention.ts';
export { openS3Target, type S3Options } from './s3-target.ts';
export type { SweepOptions, SweepReport } from './sweep.ts';
export type { Target } from './target.ts';
export type { VerifyMode, VerifyOptions, VerifyProgress, VerifyReport } from './verify.ts';
export type { DamagedBackup } from './verify-damage.ts';
export type { BackupSource, WriteOptions, WriteProgress, Written } from './write.ts';
