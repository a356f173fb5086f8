import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/**
 * The directory `cache/name`, filled by `fill` when it is not there yet. It appears by a rename, so
 * it is complete whenever it can be seen; of two callers at once, one's work is thrown away.
 */
export async function cachedDirectory(
  cache: string,
  name: string,
  fill: (directory: string) => Promise<void>,
): Promise<string> {
  const target = join(cache, name);
  if (await exists(target)) return target;
  await mkdir(cache, { recursive: true });
  const temporary = await mkdtemp(join(cache, 'building-'));
  try {
    await fill(temporary);
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if ((code === 'ENOTEMPTY' || code === 'EEXIST') && (await exists(target))) return target;
    throw error;
  }
  return target;
}
