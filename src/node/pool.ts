import { randomUUID } from 'node:crypto';
import { access, constants, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorText, HyperscaleError } from '../errors.ts';

export const poolIdentityFile = 'hyperscale-pool.json';

/** Who a pool is: written once, when the pool is made, and never again (protocol review, rule 10). */
export type PoolIdentity = { pool: string; node: string; createdAt: string };

/**
 * Makes a pool in an existing, empty directory.
 * @throws `exists` when it is a pool already, `not-allowed` when it holds anything else.
 */
export async function initPool(
  directory: string,
  node: string,
  now: string,
): Promise<PoolIdentity> {
  await usable(directory);
  const entries = (await readdir(directory)).filter((e) => e !== 'lost+found');
  if (entries.includes(poolIdentityFile)) {
    throw new HyperscaleError('exists', `${directory} is a pool already`, {
      hint: 'Start hyperscaled; to begin anew, empty the directory yourself.',
    });
  }
  if (entries.length > 0) {
    throw new HyperscaleError('not-allowed', `${directory} is not empty (${entries[0]}, …)`, {
      hint: 'A pool is made in an empty directory of its own.',
    });
  }
  const identity = { pool: randomUUID(), node, createdAt: now };
  const file = await open(join(directory, poolIdentityFile), 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(identity, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncDirectory(directory);
  return identity;
}

/**
 * Recognises this node's pool. Never makes one: an unmounted pool directory must not fill the root
 * disk with layers.
 * @throws `foreign-pool` when the directory is no pool, or another node's.
 */
export async function recognisePool(directory: string, node: string): Promise<PoolIdentity> {
  await usable(directory);
  let identity: PoolIdentity;
  try {
    const found = JSON.parse(await readFile(join(directory, poolIdentityFile), 'utf8')) as unknown;
    if (!isIdentity(found)) throw new Error('it holds no identity');
    identity = found;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new HyperscaleError(
      'foreign-pool',
      missing
        ? `${directory} is not a pool: ${poolIdentityFile} is missing`
        : `${join(directory, poolIdentityFile)} cannot be read: ${errorText(error)}`,
      {
        hint: 'Is its disk mounted? A new pool is made once, with: hyperscaled init-pool --config FILE',
        cause: error,
      },
    );
  }
  if (identity.node !== node) {
    throw new HyperscaleError(
      'foreign-pool',
      `${directory} is the pool of node ${identity.node}, not of ${node}`,
      { hint: 'Mount the right disk, or correct the node name in the configuration.' },
    );
  }
  return identity;
}

function isIdentity(found: unknown): found is PoolIdentity {
  if (typeof found !== 'object' || found === null) return false;
  const { pool, node } = found as Partial<PoolIdentity>;
  return typeof pool === 'string' && typeof node === 'string';
}

async function usable(directory: string): Promise<void> {
  const fail = (why: string, cause?: unknown): never => {
    throw new HyperscaleError('foreign-pool', `pool directory ${directory} ${why}`, {
      hint: 'Create or mount it, and see that the daemon may write to it.',
      cause,
    });
  };
  try {
    if (!(await stat(directory)).isDirectory()) fail('is not a directory');
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    // Access rights do not show a read-only file system to root; a file does.
    const probe = join(directory, '.hyperscale-probe');
    const file = await open(probe, 'w');
    await file.close();
    await rm(probe);
  } catch (error) {
    if (error instanceof HyperscaleError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    fail(code === 'ENOENT' ? 'does not exist' : `is not writable: ${errorText(error)}`, error);
  }
}

/** fsync of a directory, so that a name in it survives a power cut. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory.length > 0 ? directory : dirname('.'), 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
