/** What may be left when nothing is attached any more: nothing. */
import { computeHosts, hosts, hscli, on, os, until } from './stack.ts';

type VolumeAnswer = { name: string; attachments: { host: string }[] };

/** Processes of the data plane on a host, by the notes that the daemon keeps about them. */
async function processes(host: string): Promise<string[]> {
  const look =
    'cd /run/hyperscale && find heads proxies gateways devices attach disks -type f -o -type s';
  return (await on(host, 'sh', '-c', `${look} 2>/dev/null || :`)).split('\n').filter(Boolean);
}

/** Everything that is left, as sentences. `names`: volumes that may still exist, unattached. */
async function leftovers(): Promise<string[]> {
  const left: string[] = [];
  const attachments = await os<{ ID: string }[]>('volume', 'attachment', 'list', '--all-projects');
  left.push(...attachments.map(({ ID }) => `Cinder has the attachment ${ID}`));
  const volumes = await os<{ Name: string; ID: string }[]>('volume', 'list', '--all-projects');
  const { volumes: ours } = await hscli<{ volumes: VolumeAnswer[] }>('ctl', 'volume', 'list');
  for (const { name, attachments: uses } of ours) {
    left.push(...uses.map(({ host }) => `${name} is attached on ${host}`));
    const known = volumes.some(({ ID }) => name === `volume-${ID}`);
    if (name.startsWith('volume-') && !known) left.push(`${name} is unknown to Cinder`);
  }
  for (const host of hosts) {
    left.push(...(await processes(host)).map((note) => `${host}: /run/hyperscale/${note}`));
  }
  for (const host of computeHosts) {
    const domains = (await on(host, 'virsh', 'list', '--all', '--name')).trim();
    if (domains !== '') left.push(`${host} has the domains ${domains}`);
    const secrets = (await on(host, 'virsh', '-q', 'secret-list')).trim();
    if (secrets !== '') left.push(`${host} has the secrets ${secrets}`);
  }
  const loops = await on('ctl', 'losetup', '-n', '-O', 'NAME,BACK-FILE');
  const ofOurs = loops.split('\n').filter((line) => line.includes('/run/hyperscale/disks/'));
  left.push(...ofOurs.map((line) => `the loop device ${line.trim()}`));
  return left;
}

/** Resolves when no server is left and nothing of any volume's use; says what is left otherwise. */
export async function nothingLeft(seconds = 180): Promise<void> {
  let left: string[] = [];
  try {
    await until(
      'something is left',
      async () => {
        left = await leftovers();
        return left.length === 0 ? true : undefined;
      },
      seconds,
    );
  } catch (error) {
    throw new Error(`left: ${left.join('; ') || String(error)}`);
  }
}
