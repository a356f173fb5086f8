import { Readable } from 'node:stream';
import type { RestoreService } from '../../src/api/restore-service.ts';
import { HyperscaleError } from '../../src/errors.ts';
import { makeRecord } from '../../src/image/import.ts';
import { assertPossible } from '../../src/image/possible.ts';
import { ImportRecords } from '../../src/image/records.ts';
import { Images } from '../../src/image/service.ts';
import { workingOn } from '../../src/image/working.ts';
import type { Agent } from '../../src/node/agent.ts';
import type { Environment } from '../../src/node/context.ts';
import type { Service } from '../../src/node/service.ts';
import { chooseBackup } from '../../src/restore/choose.ts';
import { Streams } from '../../src/restore/streams.ts';
import type { SimRepository } from './backups.ts';
import type { Checker } from './checker.ts';
import { blockBytes, type Disk } from './disk.ts';
import type { Host } from './engine-host.ts';
import { SimStreamSources } from './stream-sources.ts';
import { simVolumeIds } from './volume-ids.ts';

/** How long a file takes to come in. */
const receiveMs = [50, 1_500] as const;
/** What is said of a file instead of its content, which the checker knows by its checksum. */
export const noBody = Readable.from([]);

type Parts = {
  host: Host;
  checker: Checker;
  targets: ReadonlyMap<string, SimRepository>;
  /** Targets that are in the configuration of this node. */
  known: readonly string[];
};

/**
 * Images, and volumes from backups, as one life of a daemon makes them: as `src/daemon/images.ts`, but
 * that files are numbers, and their checksum says which.
 */
export async function createSimImages(
  agent: Agent,
  service: Service,
  { host, checker, targets, known }: Parts,
): Promise<{ images: Images; restores: RestoreService }> {
  const { environment } = agent.context;
  const { disk } = host;
  const records = new ImportRecords(agent, simVolumeIds(environment));
  await records.abandonLeftovers();
  disk.files.clear();
  const images = new Images({
    agent,
    records,
    uploads: uploadsTo(disk, checker, environment),
    probe: async (path) => {
      const sizeBytes = (disk.files.get(path)?.length ?? 0) * blockBytes;
      return { path, format: 'raw', sizeBytes, virtualBytes: sizeBytes, snapshots: [] };
    },
    deleteVolume: (id) => service.deleteVolume(id),
  });
  const newVolumeId = simVolumeIds(environment);
  const sources = new SimStreamSources({ environment, host, checker, targets, known });
  const streams = new Streams({ agent, targets: known, sources, bytesPerSecond: 0, newVolumeId });
  streams.start();
  const restores: RestoreService = {
    async restore(request, signal) {
      const { name, policy, target, wish } = request;
      assertPossible(agent.context, { name, policy });
      if (!known.includes(target)) throw new HyperscaleError('not-found', `no target ${target}`);
      if (request.stream) return await streams.begin(request, signal);
      const entries = targets.get(target)?.backups.map((b) => b.entry) ?? [];
      const entry = chooseBackup(entries, wish, target);
      const content = checker.backups.get(entry.id) ?? [];
      const { id: backup, sizeBytes, volume, volumeName } = entry;
      const at = new Date(entry.at).toISOString();
      const restoredFrom = { target, backup, volume, volumeName, at };
      const { content: kept, engine } = agent.context;
      const working = workingOn(agent, 'restore');
      const place = { layers: engine.layers, content: kept, environment, records, working };
      const path = `/run/restore/${disk.core.random.hex(16)}.sock`;
      disk.files.set(path, content);
      const wanted = { name, policy, sizeBytes, restoredFrom, as: 'volume' } as const;
      return await makeRecord(place, wanted, { path, format: 'nbd', bytesPerSecond: 0 }, signal);
    },
  };
  return { images, restores };
}

type Uploads = ConstructorParameters<typeof Images>[0]['uploads'];

function uploadsTo(disk: Disk, checker: Checker, environment: Environment): Uploads {
  const { random } = disk.core;
  return {
    async receive(_, wanted, signal) {
      const sha256 = wanted.sha256 ?? '';
      const content = checker.files.get(sha256) ?? [];
      await new Promise<void>((resolve) => environment.after(random.int(...receiveMs), resolve));
      signal.throwIfAborted();
      const path = `/pool/imports/${random.hex(16)}.upload`;
      disk.files.set(path, content);
      return { path, bytes: content.length, sha256 };
    },
    async remove({ path }) {
      disk.files.delete(path);
    },
  };
}
