import type { LabLibvirt } from '../../lab/libvirt.ts';
import { LabGuest } from '../../lab/libvirt-guest.ts';
import type { EndpointAnswer } from '../../src/api/schemas.ts';
import { diskXml } from '../../src/libvirt/disk-xml.ts';
import { during } from '../display.ts';
import { type Scene, step, volumeName, workDirectory } from '../scene.ts';

const snapshotName = 'yesterday';
const cloneName = 'guest-clone';
/** Records that both guests report while they run beside each other. */
const recordsBeside = 20;

/** A snapshot under the writing guest, and a guest on a clone of it beside the original. */
export async function cloneGuest(
  scene: Scene,
  original: LabGuest,
  place: { node: string; libvirt: LabLibvirt },
): Promise<void> {
  const { cluster, report } = scene;
  const { node, libvirt } = place;
  const host = cluster.node(node);
  const last = () => original.records.at(-1)?.n ?? 0;
  const between = await step(scene, 'Take a snapshot while it writes', [node], async (line) => {
    const from = last();
    await host.hscli('snapshot', 'create', volumeName, snapshotName);
    await original.recorded(1);
    const to = last();
    line.outcome(`after record ${from}`);
    return { from, to };
  });
  const title = `Clone the snapshot, and boot the clone on ${node} beside the original`;
  await step(scene, title, [node], async (line) => {
    const began = performance.now();
    await host.hscli('volume', 'clone', `${volumeName}@${snapshotName}`, cloneName);
    const cloneMs = Math.round(performance.now() - began);
    const { id } = await host.hscli<{ id: string }>('volume', 'show', cloneName);
    const at = await host.hscli<EndpointAnswer>('volume', 'attach', cloneName);
    const source = { type: 'network', socket: at.socket, export: at.session } as const;
    const guest = await LabGuest.create({
      name: cloneName,
      directory: workDirectory(cluster, cloneName),
      mode: 'record',
      disks: [diskXml({ source, serial: id, target: 'vda', bus: 'virtio' })],
    });
    try {
      await guest.start(libvirt);
      const now = () => `booting: ${guest.console.lines.at(-1)?.text ?? ''}`;
      await during(line, now, guest.recorded(recordsBeside));
      await original.recorded(recordsBeside);
      const holds = (guest.records[0]?.n ?? 0) - 1;
      report.check(
        'the clone holds every record that was reported before the snapshot, and none from after it',
        holds >= between.from && holds <= between.to,
        `up to ${holds}; ${between.from} were reported before`,
      );
      const troubles = [...guest.troubles, ...original.troubles];
      report.check('beside its clone: no I/O error', troubles.length === 0, troubles.join('; '));
      line.outcome(`cloned in ${cloneMs} ms with hscli; it goes on after record ${holds}`);
      await guest.destroy(libvirt);
    } finally {
      guest.close();
    }
  });
  await step(scene, 'Delete the clone and the snapshot', [node], async () => {
    await host.hscli('volume', 'detach', cloneName);
    await host.hscli('volume', 'delete', cloneName, '--yes');
    await host.hscli('snapshot', 'delete', volumeName, snapshotName);
  });
}
