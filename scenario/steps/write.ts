import type { EndpointAnswer, VolumeAnswer } from '../../src/api/schemas.ts';
import { during } from '../display.ts';
import { Guest } from '../guest/guest.ts';
import { type Scene, step, volumeBecomes, volumeName, workDirectory } from '../scene.ts';
import { writesTo } from '../volume-view.ts';

const volumeBytes = 1024 ** 3;
/** Records without any fault first: they show what is normal on this machine. */
const undisturbedRecords = 60;
const bootTimeoutMs = 90_000;

/** What the later steps need of the guest that writes. */
export type Writing = {
  guest: Guest;
  volumeId: string;
  /** Of the guest's ordinary work, before any fault. */
  perSecond: number;
  longestPause: number;
};

/** Creates the volume, attaches it on n1 and boots a guest there that writes records. */
export async function startWriting(scene: Scene): Promise<Writing> {
  const { cluster, image } = scene;
  const n1 = cluster.node('n1');
  const made = await step(scene, 'Create a Gold volume of 1 GiB', ['n1'], async (line) => {
    const body = { name: volumeName, sizeBytes: volumeBytes, policy: 'Gold' };
    const volume = await n1.api.call<VolumeAnswer>('POST', '/v1/volumes', body);
    line.outcome(`${volume.policy.copies} copies of everything`);
    return volume;
  });
  const endpoint = await step(scene, 'Attach it on n1', ['n1', 'n2', 'n3'], async (line) => {
    const path = `/v1/volumes/${volumeName}/attachments`;
    const attached = await n1.api.call<EndpointAnswer>('POST', path, {});
    const members = ['n1', 'n2', 'n3'];
    await volumeBecomes(scene, line, 'n1', (volume) => writesTo(volume, members), 30_000);
    line.outcome(`written to ${members.join(', ')}`);
    return attached;
  });
  return step(scene, 'Boot a virtual machine on n1', ['n1'], async (line) => {
    line.now('starting QEMU');
    const guest = await Guest.start({
      image,
      uri: { socket: endpoint.socket, export: endpoint.session },
      mode: 'record',
      serial: made.id,
      directory: workDirectory(cluster, 'guest-1'),
      netns: n1.namespace,
    });
    const boot = () => `booting: ${guest.lines.at(-1) ?? guest.kernelLines.at(-1) ?? ''}`;
    const first = await during(line, boot, guest.waitForRecord(1, bootTimeoutMs));
    const last = await during(
      line,
      () => progressOf(guest),
      guest.waitForRecord(undisturbedRecords, bootTimeoutMs),
    );
    const perSecond = (1000 * (last.n - first.n)) / (last.hostTimeMs - first.hostTimeMs);
    const longestPause = guest.longestGap(first.hostTimeMs, last.hostTimeMs);
    line.outcome(`it writes ${perSecond.toFixed(0)} records a second, each with fsync`);
    return { guest, volumeId: made.id, perSecond, longestPause };
  });
}

/** What the guest has done so far. */
export function progressOf(guest: Guest): string {
  const last = guest.records.at(-1);
  const now = last === undefined ? 0 : (performance.now() - last.hostTimeMs) / 1000;
  return `${guest.records.length} records, the last ${now.toFixed(1)} s ago. `;
}
