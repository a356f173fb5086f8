import { bytes, seconds } from '../report-text.ts';
import { type Scene, step, volumeBecomes, volumeName } from '../scene.ts';
import { isWhole, type VolumeView } from '../volume-view.ts';
import { secondHost } from './lose-host.ts';

const healTimeoutMs = 60_000;

/** Starts the dead nodes again and waits until the volume is whole. */
export async function recover(scene: Scene): Promise<void> {
  const { cluster, report } = scene;
  const began = performance.now();
  await step(scene, 'Start n1 and n2 again', ['n1', 'n2'], async () => {
    await Promise.all(['n1', 'n2'].map((name) => cluster.node(name).boot()));
  });
  const nodes = ['n1', 'n2', 'n3', 'n4'];
  await step(scene, 'Wait until the volume is healthy, all copies clean', nodes, async (line) => {
    await volumeBecomes(scene, line, secondHost, isWhole, healTimeoutMs);
    const took = (performance.now() - began) / 1000;
    const mends = scene.events.all.filter((event) => event.type === 'layer.mended');
    const sum = mends.reduce((total, event) => total + Number(event.values?.bytes ?? 0), 0);
    report.figures.mended = { bytes: sum, copies: mends.length, secondsUntilHealthy: took };
    report.check('the volume is healthy again', true, `within ${seconds(took)}`);
    line.outcome(`${bytes(sum)} were copied to mend ${mends.length} copies`);
  });
}

/** Ends the last attachment; resolves once the last layer is sealed and whole too. */
export async function detach(scene: Scene): Promise<void> {
  const { api } = scene.cluster.node(secondHost);
  const title = `Detach the volume from ${secondHost}`;
  await step(scene, title, [secondHost], async (line) => {
    await api.call('DELETE', `/v1/volumes/${volumeName}/attachments/${secondHost}`);
    const sealed = (volume: VolumeView): boolean =>
      isWhole(volume) && volume.report.layers.every((layer) => layer.state === 'sealed');
    await volumeBecomes(scene, line, secondHost, sealed, healTimeoutMs);
  });
}
