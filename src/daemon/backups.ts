import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Agent } from '../node/agent.ts';
import { BackupDuties } from '../node/backup-duties.ts';
import { Backups } from '../node/backup-service.ts';
import { BackupHost } from './backup-host.ts';
import type { Config } from './config.ts';

/** Backups on this node; `stop` ends what is under way, which goes on later, here or elsewhere. */
export async function createBackups(
  config: Config,
  agent: Agent,
): Promise<{ service: Backups; stop(): void }> {
  const socketDirectory = join(config.runDirectory, 'backup');
  await rm(socketDirectory, { recursive: true, force: true });
  await mkdir(socketDirectory, { mode: 0o700 });
  const targets = new BackupHost(config.backup.targets, config.logDirectory);
  const { bytesPerSecond } = config.backup;
  const duties = new BackupDuties(agent, targets, { bytesPerSecond, socketDirectory });
  duties.start();
  return {
    service: new Backups(agent, targets, duties),
    stop() {
      duties.stop();
      targets.close();
    },
  };
}
