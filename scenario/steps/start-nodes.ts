import { join } from 'node:path';
import { LabCluster } from '../../lab/cluster.ts';
import type { Display } from '../display.ts';
import { buildGuestImage, type GuestImage } from '../guest/image.ts';
import { type Scene, step } from '../scene.ts';

/** n3 runs etcd, so it is the one that no fault of the demo takes away. */
export const etcdNode = 'n3';
/** Where the demo's backups go: a directory of the lab, which goes with it. */
export const backupTarget = {
  name: 'nas',
  directory: (lab: string) => join(lab, 'backups'),
};
const nodes = ['n1', 'n2', 'n3', 'n4'];
/** Longer than the demo: sealed copies of a node that is away are waited for, not made anew. */
const repairDelaySeconds = 600;

/** Everything that is made before the first daemon starts. */
export async function prepare(
  display: Display,
): Promise<{ cluster: LabCluster; image: GuestImage }> {
  const image = await display.step('Prepare the virtual machine', async (line) => {
    line.now('Debian cloud kernel (downloaded once), busybox, e2fsprogs');
    const made = await buildGuestImage(process.env.HYPERSCALE_CACHE ?? '/var/cache/hyperscale');
    line.outcome('Debian cloud kernel with a busybox initramfs');
    return made;
  });
  const cluster = await display.step('Make four network namespaces', async (line) => {
    const config = (directory: string) => ({
      repairDelaySeconds,
      backup: {
        targets: { [backupTarget.name]: { directory: backupTarget.directory(directory) } },
      },
    });
    const made = await LabCluster.create({ nodes, etcdNode, config, start: false });
    line.outcome(made.nodes.map((node) => `${node.name} ${node.address}`).join(', '));
    return made;
  });
  return { cluster, image };
}

/** Starts three nodes; the fourth stays off as the spare of a later step. */
export async function startNodes(scene: Scene): Promise<void> {
  const { cluster } = scene;
  await step(scene, `Start ${etcdNode} with etcd`, [etcdNode], () =>
    cluster.node(etcdNode).start(),
  );
  await step(scene, 'Start n1 and n2', ['n1', 'n2'], async () => {
    await Promise.all(['n1', 'n2'].map((name) => cluster.node(name).start()));
  });
}
