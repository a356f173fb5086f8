/** What a failing disk does to a copy: its file changes behind everybody's back. */
import { open, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestCluster } from './fixture.ts';
import type { TestVolume, VolumeState } from './fixture-volume.ts';

export const chunkBytes = 1 << 20;

export type Layer = VolumeState['report']['layers'][number];

/** The oldest sealed layer. */
export function oldest(state: VolumeState): Layer {
  const [layer] = state.report.layers.filter((l) => l.state === 'sealed');
  if (layer === undefined) throw new Error('nothing is sealed');
  return layer;
}

/** The file of a node's copy of a layer. */
export function fileOf(
  cluster: TestCluster,
  volume: TestVolume,
  layer: { epoch: number; id: string },
  node: string,
): string {
  const name = `${layer.epoch}-${layer.id}.qcow2`;
  return join(cluster.node(node).poolDirectory, 'volumes', volume.id, name);
}

/** Where a file holds 4 KiB of this byte first. */
export async function placeOf(file: string, byte: number): Promise<number> {
  const place = (await readFile(file)).indexOf(Buffer.alloc(4096, byte));
  if (place < 0) throw new Error(`${file} holds no block of ${byte}`);
  return place;
}

/** Turns over every bit of 512 bytes; again turns them back. */
export async function flip(file: string, offset: number): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    const bytes = Buffer.alloc(512);
    await handle.read(bytes, 0, bytes.length, offset);
    await handle.write(
      bytes.map((b) => b ^ 0xff),
      0,
      bytes.length,
      offset,
    );
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Cuts a file's end off. */
export async function cutShort(file: string): Promise<void> {
  await truncate(file, Math.floor((await stat(file)).size / 2));
}

/** The chunk that a place of a file lies in, as verifications name it. */
export function chunkAt(offset: number): { offset: number; length: number } {
  const begin = Math.floor(offset / chunkBytes) * chunkBytes;
  return { offset: begin, length: chunkBytes };
}
