import type {
  BackupAnswer,
  BackupDetailAnswer,
  BackupVerificationAnswer,
  BackupWishes,
  EpisodeAnswer,
  SweptAnswer,
  TargetAnswer,
  VerifyBackupsWishes,
  VolumeBackupsAnswer,
} from '../api/backup-schemas.ts';
import type { Transport } from './transport.ts';

/** The part of the API that is about backups. */
export class BackupCalls {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  targets(): Promise<{ targets: TargetAnswer[] }> {
    return this.#transport.ask({ method: 'GET', path: '/v1/backup-targets' });
  }

  createRepository(target: string, body: { chunkBytes?: number }): Promise<TargetAnswer> {
    return this.#transport.ask({ method: 'POST', path: pathOf(target), body });
  }

  list(
    target: string,
    query: Record<string, string>,
  ): Promise<{ backups: BackupAnswer[]; next?: string }> {
    const path = `${pathOf(target)}/backups?${new URLSearchParams(query).toString()}`;
    return this.#transport.ask({ method: 'GET', path });
  }

  show(target: string, backup: string): Promise<BackupDetailAnswer> {
    return this.#transport.ask({ method: 'GET', path: backupPath(target, backup) });
  }

  remove(target: string, backup: string): Promise<BackupAnswer> {
    return this.#transport.ask({ method: 'DELETE', path: backupPath(target, backup) });
  }

  verify(target: string, body: VerifyBackupsWishes): Promise<BackupVerificationAnswer> {
    return this.#transport.ask({ method: 'POST', path: `${pathOf(target)}/verify`, body });
  }

  sweep(target: string, body: { volume?: string }): Promise<SweptAnswer> {
    return this.#transport.ask({ method: 'POST', path: `${pathOf(target)}/sweep`, body });
  }

  ofVolume(volume: string): Promise<VolumeBackupsAnswer> {
    return this.#transport.ask({ method: 'GET', path: volumePath(volume) });
  }

  create(volume: string, body: BackupWishes): Promise<EpisodeAnswer> {
    return this.#transport.ask({ method: 'POST', path: volumePath(volume), body });
  }

  cancel(volume: string, episode: string): Promise<void> {
    const path = `${volumePath(volume)}/${encodeURIComponent(episode)}`;
    return this.#transport.ask({ method: 'DELETE', path });
  }
}

function pathOf(target: string): string {
  return `/v1/backup-targets/${encodeURIComponent(target)}`;
}

function backupPath(target: string, backup: string): string {
  return `${pathOf(target)}/backups/${encodeURIComponent(backup)}`;
}

function volumePath(volume: string): string {
  return `/v1/volumes/${encodeURIComponent(volume)}/backups`;
}
