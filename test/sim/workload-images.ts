import { HyperscaleError } from '../../src/errors.ts';
import type { Service } from '../../src/node/service.ts';
import { blockCount } from './disk.ts';
import { noBody } from './images.ts';
import { type Call, isCrowded, makeClone } from './workload-clone.ts';
import { simPolicy, type World } from './world.ts';

/** Files become images and volumes; images are cloned, and deleted. */
export async function actOnImages(world: World, call: Call): Promise<void> {
  const { random } = world.core;
  const all = world.volumes().filter((v) => v.role === 'image');
  if (all.length === 0 || random.chance(0.3)) return importFile(world, call);
  const { id } = random.pick(all);
  if (random.chance(0.7)) return makeClone(world, id, call);
  await call('delete image', (service) => imagesOf(service).delete(id));
}

/** Whoever imports a volume lives with it as with any other. */
export async function importFile(world: World, call: Call): Promise<void> {
  const { checker, core } = world;
  const { random } = core;
  if (isCrowded(world)) return;
  const as = random.chance(0.6) ? 'image' : 'volume';
  const name = `${as === 'image' ? 'i' : 'a'}${random.hex(4)}`;
  const sha256 = checker.file(random.int(2, blockCount - 1));
  const policy = simPolicy(core);
  const request = { name, policy, format: null, sha256, maxSizeBytes: null, as } as const;
  const made = await call(`import ${as}`, (service, signal) =>
    imagesOf(service).import(request, noBody, signal),
  );
  const id = made.ok ? made.value.volume.id : world.named(name)?.id;
  if (as === 'volume' && id !== undefined) world.onClone(name, id);
}

function imagesOf({ images }: Service): NonNullable<Service['images']> {
  if (images !== null) return images;
  throw new HyperscaleError('unavailable', 'the daemon has only begun');
}
