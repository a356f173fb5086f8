import type { BackupEntry } from '../backup/entry.ts';
import type { VerifyMode, VerifyReport } from '../backup/verify.ts';
import type { BackupAnswer, BackupVerificationAnswer, EpisodeAnswer } from './backup-schemas.ts';
import type { EpisodeState } from './backup-service.ts';

export function backupView(target: string, entry: BackupEntry): BackupAnswer {
  const { at, id, name, sizeBytes, storedBytes, volume, volumeName } = entry;
  const time = new Date(at).toISOString();
  return { id, target, name, at: time, volume, volumeName, sizeBytes, storedBytes };
}

export function verificationView(
  target: string,
  mode: VerifyMode,
  { backups, bytes, damaged, objects }: VerifyReport,
): BackupVerificationAnswer {
  return {
    ...{ target, mode, backups, objects, bytes },
    damaged: damaged.map(({ entry, ranges }) => ({ backup: backupView(target, entry), ranges })),
  };
}

export function episodeView(episode: EpisodeState): EpisodeAnswer {
  const {
    asked,
    at,
    backup,
    doneBytes,
    id,
    name,
    problem,
    shipper,
    sizeBytes,
    target,
    totalBytes,
  } = episode;
  return {
    ...{ id, name, target, at, sizeBytes, asked: asked === true, backup: backup ?? null },
    ...{ shipper, doneBytes, totalBytes, problem },
  };
}
