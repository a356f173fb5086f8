import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { ImportRecords } from '../image/records.ts';
import { Images } from '../image/service.ts';
import { Uploads } from '../image/upload.ts';
import type { Agent } from '../node/agent.ts';
import type { Service } from '../node/service.ts';
import { Restores } from '../restore/service.ts';
import { openStreamSources } from '../restore/stream-source.ts';
import { Streams } from '../restore/streams.ts';
import type { Config } from './config.ts';

/**
 * Images on this node, and volumes from backups; takes away what an earlier run of the daemon was
 * importing or restoring.
 * @param pool the directory of this node's pool.
 */
export async function createImages(
  config: Config,
  pool: string,
  { agent, service }: { agent: Agent; service: Service },
): Promise<Streams> {
  const records = new ImportRecords(agent);
  await records.abandonLeftovers();
  const uploads = await Uploads.open(pool, () => agent.context.engine.layers.space());
  const deleteVolume = (id: string) => service.deleteVolume(id);
  const { backup, logDirectory, runDirectory } = config;
  const sources = await openStreamSources({
    targets: backup.targets,
    directory: join(runDirectory, 'streams'),
    logDirectory,
    address: config.address,
    ports: config.ports.gateways,
  });
  const streams = new Streams({
    agent,
    targets: Object.keys(backup.targets),
    sources,
    bytesPerSecond: backup.restoreBytesPerSecond,
    newVolumeId: randomUUID,
  });
  streams.start();
  const parts = { agent, records, targets: backup.targets, logDirectory, streams };
  service.images = new Images({ agent, uploads, records, deleteVolume });
  service.restores = await Restores.open(parts, runDirectory);
  return streams;
}
