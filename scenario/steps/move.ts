import { LabLibvirt } from '../../lab/libvirt.ts';
import { LabGuest } from '../../lab/libvirt-guest.ts';
import type { EndpointAnswer } from '../../src/api/schemas.ts';
import type { MigratedAnswer } from '../../src/api/vm-move-schemas.ts';
import { diskXml } from '../../src/libvirt/disk-xml.ts';
import { during } from '../display.ts';
import { seconds } from '../report-text.ts';
import { type Scene, step, volumeBecomes, volumeName, workDirectory } from '../scene.ts';
import { cloneGuest } from './clone.ts';
import { secondHost } from './lose-host.ts';

/** Where the guest goes, and comes back from. */
const otherHost = 'n2';
const name = 'guest';
const undisturbedRecords = 20;
const followTimeoutMs = 30_000;

/** The guest under libvirt, and what has to be ended with it. */
type Guests = { guest: LabGuest; home: LabLibvirt };

/**
 * Starts the guest under libvirt where its volume is, and live-migrates it there and back. In between a
 * clone of it is booted where it came from.
 */
export async function moveGuest(scene: Scene): Promise<void> {
  const guests = await startUnderLibvirt(scene);
  const { guest, home } = guests;
  try {
    await migrate(scene, guests, secondHost, otherHost);
    await cloneGuest(scene, guest, { node: secondHost, libvirt: home });
    await migrate(scene, guests, otherHost, secondHost);
    const { bootIds, troubles, records } = guest;
    const once = bootIds.length === 1;
    scene.report.check('the guest that moved was never restarted', once, `${bootIds.length} boot`);
    const first = records[0]?.n ?? 0;
    const inOrder = records.every(({ n }, at) => n === first + at);
    const range = `${first} to ${records.at(-1)?.n}`;
    scene.report.check('moving: it reported every number once, in order', inOrder, range);
    const said = troubles.join('; ') || `${records.length} records`;
    scene.report.check('moving: no I/O error in the guest', troubles.length === 0, said);
    await guest.destroy(home);
  } finally {
    guest.close();
  }
}

async function startUnderLibvirt(scene: Scene): Promise<Guests> {
  const { cluster } = scene;
  const nodes = [secondHost, otherHost];
  const home = await step(scene, `Start libvirt on ${nodes.join(' and ')}`, nodes, async () => {
    const [first] = await Promise.all(nodes.map((node) => LabLibvirt.start(cluster.node(node))));
    return first as LabLibvirt;
  });
  const title = `Boot the virtual machine under libvirt on ${secondHost}`;
  return step(scene, title, [secondHost], async (line) => {
    const path = `/v1/volumes/${volumeName}`;
    const { api } = cluster.node(secondHost);
    const { id } = await api.call<{ id: string }>('GET', path);
    const at = await api.call<EndpointAnswer>('POST', `${path}/attachments`, {});
    const source = { type: 'network', socket: at.socket, export: at.session } as const;
    const guest = await LabGuest.create({
      name,
      directory: workDirectory(cluster, 'guest-3'),
      mode: 'record',
      disks: [diskXml({ source, serial: id, target: 'vda', bus: 'virtio' })],
    });
    await guest.start(home);
    const now = () => `booting: ${guest.console.lines.at(-1)?.text ?? ''}`;
    await during(line, now, guest.recorded(undisturbedRecords));
    line.outcome(`it goes on after record ${(guest.records[0]?.n ?? 1) - 1}`);
    return { guest, home };
  });
}

async function migrate(scene: Scene, { guest }: Guests, from: string, to: string): Promise<void> {
  const title = `Live-migrate it from ${from} to ${to}`;
  await step(scene, title, [from, to], async (line) => {
    const began = performance.now();
    const command = ['vm', 'migrate', name, '--live', '--to', to];
    const now = () => `${guest.records.length} records so far`;
    const done = await during(
      line,
      now,
      scene.cluster.node(from).hscli<MigratedAnswer>(...command),
    );
    await volumeBecomes(scene, line, to, (volume) => volume.head === to, followTimeoutMs);
    await guest.recorded(undisturbedRecords);
    const stall = guest.longestGap(began);
    scene.report.figures.stalls.push({
      fault: `live migration from ${from} to ${to}`,
      seconds: stall,
      targetSeconds: null,
      afterDetectionSeconds: null,
    });
    scene.report.check(title, true, `in ${seconds(done.tookMs / 1_000)}, its volume followed`);
    line.outcome(
      `in ${seconds(done.tookMs / 1_000)}; longest pause of its writes ${seconds(stall)}`,
    );
  });
}
