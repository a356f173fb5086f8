import { ImportRecords } from '../image/records.ts';
import { Images } from '../image/service.ts';
import { Uploads } from '../image/upload.ts';
import type { Agent } from '../node/agent.ts';
import type { Service } from '../node/service.ts';
import type { Config } from './config.ts';

/** Images on this node; takes away what an earlier run of the daemon was importing. */
export async function createImages(
  config: Config,
  { agent, service }: { agent: Agent; service: Service },
): Promise<Images> {
  const records = new ImportRecords(agent);
  await records.abandonLeftovers();
  const uploads = await Uploads.open(config.pool, () => agent.context.engine.layers.space());
  const deleteVolume = (id: string) => service.deleteVolume(id);
  return new Images({ agent, uploads, records, deleteVolume });
}
