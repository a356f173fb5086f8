import { HyperscaleError } from '../errors.ts';

/** Older ones delay NBD replies over TCP by up to 40 ms, and abort when a client leaves. */
const oldest = { major: 8, minor: 2 } as const;

/**
 * The version in the output of a QEMU program's `--version`.
 * @throws `old-software` when it is older than 8.2 or cannot be read.
 */
export function checkQemuVersion(output: string): string {
  const match = /version (\d+)\.(\d+)(\.\d+)?/.exec(output);
  const hint =
    'Install QEMU 8.2 or newer: it is in Debian 13 and Ubuntu 24.04, and for Debian 12 in ' +
    'bookworm-backports (apt-get install -t bookworm-backports qemu-utils qemu-system-x86).';
  if (match === null) {
    throw new HyperscaleError(
      'old-software',
      `cannot read QEMU's version from ${JSON.stringify(output.slice(0, 200))}`,
      { hint },
    );
  }
  const [major, minor] = [Number(match[1]), Number(match[2])];
  if (major < oldest.major || (major === oldest.major && minor < oldest.minor)) {
    throw new HyperscaleError(
      'old-software',
      `QEMU ${major}.${minor} is too old: ${oldest.major}.${oldest.minor} is needed`,
      { hint, values: { found: `${major}.${minor}`, needed: `${oldest.major}.${oldest.minor}` } },
    );
  }
  return match[0].slice('version '.length);
}
