/** Carries out what is asked of a repository. */
import { ChainReader, mapChain } from '../engine/chain-reader.ts';
import type { CallProgress, Calls, RepositoryInfo, WriteRequest, WriteResult } from './calls.ts';
import type { Range } from './changed.ts';
import type { BackupEntry } from './entry.ts';
import { timeOfId } from './layout.ts';
import type { Repository } from './repository.ts';
import { retain } from './retention.ts';

type Progress = (progress: CallProgress) => void;

export function describe(repository: Repository): RepositoryInfo {
  const { chunkBytes, encrypted, id, removableAfterMs } = repository;
  return { id, chunkBytes, encrypted, removableAfterMs };
}

export async function prune(
  repository: Repository,
  { volume, prefix, keep, held }: Calls['prune']['args'],
  now: number,
): Promise<BackupEntry[]> {
  const planned = (await repository.list({ volume })).filter(({ name }) => name.startsWith(prefix));
  const { remove } = retain(keep, planned, now, new Set(held));
  const { removableAfterMs } = repository;
  const isOld = (id: string) => removableAfterMs === 0 || now - timeOfId(id) >= removableAfterMs;
  const old = remove.filter(({ id }) => isOld(id));
  if (old.length > 0) {
    await repository.remove(
      volume,
      old.map(({ id }) => id),
    );
  }
  return old;
}

export async function discard(
  repository: Repository,
  { volume, name, at }: Calls['discard']['args'],
): Promise<number> {
  const begun = (await repository.unfinished(volume)).filter((u) => u.name === name && u.at === at);
  for (const { session } of begun) await repository.discard(volume, session);
  return begun.length;
}

/**
 * Writes a backup of what a chain of layers shows, or continues one. When the backup of the base is
 * there, only what the layers above it hold is read.
 */
export async function write(
  repository: Repository,
  request: WriteRequest,
  signal: AbortSignal,
  progress: Progress,
): Promise<WriteResult> {
  const { at, base, chain, name, sizeBytes, volume, volumeName } = request;
  const entries = await repository.list({ volume, signal });
  const parent = await parentOf(repository, request, entries);
  const isBase = base !== null && parent?.id === base.backup;
  const whole = !isBase;
  const changed = await changedParts(request, parent, isBase, signal);
  if (request.unlessSame && isBase && changed?.length === 0 && base.sizeBytes === sizeBytes) {
    const done = entries.find((e) => e.name === name && e.at === at);
    const entry = done ?? parent;
    return { entry, isNew: false, readBytes: 0, sentBytes: 0, parent: parent.id, whole };
  }
  const reader = chain === null ? null : await ChainReader.start(chain, request.socket, signal);
  try {
    const { bytesPerSecond } = request;
    const written = await repository.write(
      {
        ...{ volume, volumeName, name, at, sizeBytes, parent: parent?.id ?? null, changed },
        read: async (offset, length) =>
          (await reader?.read(offset, length)) ?? Buffer.alloc(length),
        labels: request.labels,
      },
      {
        signal,
        ...(bytesPerSecond === 0 ? {} : { bytesPerSecond }),
        progress: ({ doneBytes, totalBytes }) => progress({ doneBytes, totalBytes }),
      },
    );
    const { entry, readBytes, sentBytes } = written;
    return { entry, isNew: true, readBytes, sentBytes, parent: parent?.id ?? null, whole };
  } finally {
    await reader?.close();
  }
}

/** That of the interrupted write of the same backup; else the base's; else the newest there is. */
async function parentOf(
  repository: Repository,
  { at, base, name, sizeBytes, volume }: WriteRequest,
  entries: readonly BackupEntry[],
): Promise<BackupEntry | null> {
  const byId = (id: string | null) => entries.find((e) => e.id === id) ?? null;
  const others = entries.filter((e) => e.name !== name || e.at !== at);
  const newest = others.filter((e) => e.at <= at).at(-1) ?? null;
  const wanted = (base === null ? null : byId(base.backup)) ?? newest;
  const done = entries.find((e) => e.name === name && e.at === at && e.sizeBytes === sizeBytes);
  if (done !== undefined) return byId((await repository.show(volume, done.id)).parent);
  const begun = (await repository.unfinished(volume)).find(
    (u) => u.name === name && u.at === at && u.sizeBytes === sizeBytes,
  );
  if (begun === undefined || begun.parent === wanted?.id) return wanted;
  return begun.parent === null ? null : (byId(begun.parent) ?? wanted);
}

/** Null: not known, so all of it. */
async function changedParts(
  { base, chain, sizeBytes }: WriteRequest,
  parent: BackupEntry | null,
  isBase: boolean,
  signal: AbortSignal,
): Promise<Range[] | null> {
  if (chain === null) return parent === null || isBase ? [] : null;
  if (parent !== null && !isBase) return null;
  const layers = isBase ? (base?.layers ?? 0) : Number.POSITIVE_INFINITY;
  if (layers === 0) return [];
  const map = await mapChain(chain, signal);
  // Zeros that a layer has hide what the base had; without a base they need not be looked at.
  return map
    .filter(({ depth, present, zero }) => present && depth < layers && (isBase || !zero))
    .filter(({ offset }) => offset < sizeBytes)
    .map(({ offset, length }) => ({ offset, length: Math.min(length, sizeBytes - offset) }));
}
