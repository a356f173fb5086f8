import { join } from 'node:path';
import { ImportRecords } from '../image/records.ts';
import { Images } from '../image/service.ts';
import { Uploads } from '../image/upload.ts';
import type { Agent } from '../node/agent.ts';
import type { Service } from '../node/service.ts';
import { Restores } from '../restore/service.ts';
import { Streams } from '../restore/streams.ts';
import type { Config } from './config.ts';

/**
 * Images on this node, and volumes from backups; takes away what an earlier run of the daemon was
 * importing or restoring.
 */
export async function createImages(
  config: Config,
  { agent, service }: { agent: Agent; service: Service },
): Promise<{ images: Images; restores: Restores; streams: Streams }> {
  const records = new ImportRecords(agent);
  await records.abandonLeftovers();
  const uploads = await Uploads.open(config.pool, () => agent.context.engine.layers.space());
  const deleteVolume = (id: string) => service.deleteVolume(id);
  const { backup, logDirectory, runDirectory } = config;
  const streams = await Streams.open({
    agent,
    targets: backup.targets,
    directory: join(runDirectory, 'streams'),
    logDirectory,
    address: config.address,
    ports: config.ports.gateways,
    bytesPerSecond: backup.restoreBytesPerSecond,
  });
  streams.start();
  const parts = { agent, records, targets: backup.targets, logDirectory, streams };
  return {
    streams,
    images: new Images({ agent, uploads, records, deleteVolume }),
    restores: await Restores.open(parts, runDirectory),
  };
}
