import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import pLimit from 'p-limit';
import type { LayerAnswer } from '../../src/api/schemas.ts';
import { layerPath } from '../../src/engine/layer-files.ts';
import { during, type Line } from '../display.ts';
import { type Scene, step, volumeBecomes } from '../scene.ts';
import { isWhole } from '../volume-view.ts';
import { secondHost } from './lose-host.ts';

const run = promisify(execFile);
const atOnce = 2;
/** Of the policy Gold. */
const copiesWanted = 3;
const settleTimeoutMs = 30_000;

/**
 * Empty when two files are equal byte for byte, else what differs. As raw files, so that QEMU does
 * not look into them; unlike cmp(1) it does not read the holes, which are most of a layer's file.
 */
async function difference(one: string, other: string): Promise<string> {
  const [size, otherSize] = await Promise.all(
    [one, other].map(async (path) => (await stat(path)).size),
  );
  if (size !== otherSize) return `${one} has ${size} bytes, ${other} ${otherSize}`;
  try {
    await run('qemu-img', ['compare', '-U', '-f', 'raw', '-F', 'raw', one, other]);
    return '';
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    return `${one} and ${other}: ${`${stdout ?? ''}${stderr ?? ''}`.trim() || String(error)}`;
  }
}

type Comparison = { layers: LayerAnswer[]; files: number; differences: string[] };

/** Compares the clean copies of each of these layers with its first one. */
async function compareLayers(
  scene: Scene,
  line: Line,
  id: string,
  layers: LayerAnswer[],
): Promise<Comparison> {
  const files = layers.map(({ id: layer, epoch, copies }) =>
    copies
      .filter((copy) => copy.state === 'clean')
      .map(({ node }) => scene.cluster.node(node).poolDirectory)
      .map((pool) => layerPath(pool, { volume: id, layer, epoch })),
  );
  const pairs = files.flatMap(([first = '', ...others]) => others.map((other) => [first, other]));
  let done = 0;
  const limit = pLimit(atOnce);
  const compared = pairs.map(([one = '', other = '']) =>
    limit(async () => {
      const found = await difference(one, other);
      done += 1;
      return found;
    }),
  );
  const now = () => `${done} of ${pairs.length} pairs of files`;
  const found = await during(line, now, Promise.all(compared));
  return { layers, files: files.flat().length, differences: found.filter((text) => text !== '') };
}

/** Compares again when layers were merged meanwhile: their files are gone then. */
async function compareAll(scene: Scene, line: Line): Promise<Comparison> {
  const look = () => volumeBecomes(scene, line, secondHost, isWhole, settleTimeoutMs);
  const idsOf = (layers: LayerAnswer[]): string => layers.map((layer) => layer.id).join();
  for (;;) {
    const { id, report } = await look();
    const comparison = await compareLayers(scene, line, id, report.layers);
    if (idsOf((await look()).report.layers) === idsOf(comparison.layers)) return comparison;
  }
}

/** Compares all clean copies of all sealed layers on the disks of the nodes. */
export async function compareCopies(scene: Scene): Promise<void> {
  const { report } = scene;
  const title = 'Compare all copies of all sealed layers byte for byte';
  await step(scene, title, ['n1', 'n2', 'n3', 'n4'], async (line) => {
    const { layers, files, differences } = await compareAll(scene, line);
    const equal = differences.length === 0;
    const allocatedBytes = layers.reduce((sum, layer) => sum + (layer.bytes ?? 0), 0);
    report.figures.copies = { layers: layers.length, files, allocatedBytes };
    const outcome = equal ? `${files} files of ${layers.length} layers` : differences.join('; ');
    report.check(
      'all copies of all sealed layers are equal, byte for byte',
      equal && layers.length > 0,
      outcome,
    );
    const counts = layers.map(
      (layer) => layer.copies.filter((copy) => copy.state === 'clean').length,
    );
    report.check(
      `every layer has ${copiesWanted} clean copies`,
      counts.every((count) => count >= copiesWanted),
      counts.join(', '),
    );
    line.outcome(equal ? `${outcome}, all equal` : outcome);
  });
}
