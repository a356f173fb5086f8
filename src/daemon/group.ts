import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { errorText, HyperscaleError } from '../errors.ts';

const run = promisify(execFile);
/** The id that means no group to chown(2) is one more. */
const maxGroupId = 2 ** 32 - 2;

/**
 * The id of a group, by its name in the host's databases (getent(1)) or as a number.
 * @param setting the name of the setting that it comes from, for the error
 * @throws `bad-input` when there is no such group
 */
export async function groupId(group: string | number, setting: string): Promise<number> {
  if (typeof group === 'number' || /^[0-9]+$/.test(group)) return checkedId(Number(group), setting);
  try {
    const { stdout } = await run('getent', ['group', '--', group], { timeout: 30_000 });
    return checkedId(Number(stdout.split(':')[2]), setting);
  } catch (error) {
    const status = error instanceof Error && 'code' in error ? error.code : undefined;
    const why = status === 2 ? 'this host has no such group' : errorText(error);
    throw new HyperscaleError('bad-input', `${setting} ${JSON.stringify(group)}: ${why}`, {
      hint: 'See the groups with `getent group`; that of libvirt on Debian is libvirt-qemu or kvm.',
      cause: error,
    });
  }
}

function checkedId(id: number, setting: string): number {
  if (Number.isInteger(id) && id <= maxGroupId) return id;
  throw new HyperscaleError('bad-input', `${setting} ${id} is no id of a group`, {
    hint: `A group id is a whole number from 0 to ${maxGroupId}.`,
  });
}
