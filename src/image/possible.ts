import { HyperscaleError } from '../errors.ts';
import type { Context } from '../node/context.ts';
import { assertRoomForVolume } from '../node/room-for-volume.ts';
import type { Policy } from '../volume/types.ts';

/**
 * Before much is read for nothing.
 * @throws `exists` when the name is taken, `no-space`, `not-enough-nodes`
 */
export function assertPossible(
  { store }: Pick<Context, 'store'>,
  { name, policy }: { name: string; policy: Policy },
): void {
  assertRoomForVolume(store.volumes().length, store.nodes(), policy);
  const found = store.volumeNamed(name);
  if (found === undefined) return;
  const what = found.value.role === 'image' ? 'an image' : 'a volume';
  throw new HyperscaleError('exists', `there is ${what} ${name} already`, {
    hint: 'Choose another name, or delete the other one first.',
    values: { name },
  });
}
