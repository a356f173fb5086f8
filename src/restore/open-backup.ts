import type { BackupEntry } from '../backup/entry.ts';
import { openBackupTarget } from '../daemon/backup-targets.ts';
import { BackupBlocks } from './backup-source.ts';
import type { BlockSource } from './block-source.ts';
import { chooseBackup, restoredSize } from './choose.ts';
import type { WantedBackup } from './lines.ts';

/** A pin of a backup that is read. */
export type ReadPin = { volume: string; session: string };

export type OpenBackup = {
  entry: BackupEntry;
  blocks: BlockSource;
  pin: ReadPin | null;
  /** Gives up the pin of one that was killed. */
  giveUp(pin: ReadPin): Promise<void>;
  close(): Promise<void>;
};

/** Opens a backup and pins it until `close`. @throws as `ServedBackup.start` */
export async function openBackup({ settings, target, wish }: WantedBackup): Promise<OpenBackup> {
  const repository = await openBackupTarget(settings);
  try {
    const entry = chooseBackup(await repository.list(), wish, target);
    const sizeBytes = restoredSize(entry.sizeBytes);
    const reader = await repository.open(entry.volume, entry.id, { hold: true });
    const close = async () => {
      await reader.close();
      repository.close();
    };
    const { session } = reader;
    return {
      entry,
      blocks: new BackupBlocks(reader, sizeBytes),
      pin: session === null ? null : { volume: entry.volume, session },
      giveUp: async (pin) => repository.discard(pin.volume, pin.session),
      close,
    };
  } catch (error) {
    repository.close();
    throw error;
  }
}
