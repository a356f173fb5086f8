import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from '../engine/durable.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import { type PoolIdentity, poolIdentityFile } from './pool.ts';

const identityFile = 'hyperscale-node.json';
/** The second is what a power cut left of the first start. */
const mayBeThere = ['lost+found', `${identityFile}~`];

/**
 * Opens the directory in which a node without a pool keeps what it must remember; makes it, unlike a
 * pool, when it is missing or empty: nothing of any volume is lost with it. Its identity keeps two hosts
 * from being one node.
 * @throws `foreign-pool` when it is a pool, belongs to another node or holds something else
 */
export async function openStateDirectory(
  directory: string,
  node: string,
  now: string,
): Promise<PoolIdentity> {
  const refuse = (why: string, hint: string, cause?: unknown): never => {
    throw new HyperscaleError('foreign-pool', `the state directory ${directory} ${why}`, {
      hint,
      values: { directory, node },
      cause,
    });
  };
  const path = join(directory, identityFile);
  const entries = await mkdir(directory, { recursive: true, mode: 0o700 })
    .then(() => readdir(directory))
    .catch((error: unknown) =>
      refuse(`cannot be used: ${errorText(error)}`, 'Set stateDirectory to one that can.', error),
    );
  if (entries.includes(poolIdentityFile)) {
    refuse(
      'is a pool, and the configuration says pool: none',
      'Set pool to it, or stateDirectory to another directory.',
    );
  }
  if (!entries.includes(identityFile)) {
    const [other] = entries.filter((name) => !mayBeThere.includes(name));
    if (other !== undefined) {
      refuse(
        `is not empty (${other}, …) and not the state of a node`,
        'Set stateDirectory to a directory of its own.',
      );
    }
    const identity = { pool: randomUUID(), node, createdAt: now };
    await writeDurably(path, `${JSON.stringify(identity, null, 2)}\n`);
    return identity;
  }
  const text = await readFile(path, 'utf8').catch((error: unknown) =>
    refuse(`cannot be read: ${errorText(error)}`, 'Look at its disk and its mode.', error),
  );
  const found = identityIn(text);
  if (found === null) {
    return refuse(
      `has an identity that cannot be read (${identityFile})`,
      `Empty it, and take the node out on another one first: hscli node remove ${node}`,
    );
  }
  if (found.node !== node) {
    refuse(
      `is that of node ${found.node}, not of ${node}`,
      'Correct the node name or stateDirectory in the configuration.',
    );
  }
  return found;
}

function identityIn(text: string): PoolIdentity | null {
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found !== 'object' || found === null) return null;
    const { pool, node, createdAt } = found as Partial<PoolIdentity>;
    if (typeof pool !== 'string' || typeof node !== 'string') return null;
    return { pool, node, createdAt: createdAt ?? '' };
  } catch {
    return null;
  }
}
