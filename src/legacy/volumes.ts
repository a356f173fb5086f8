import type { VolumeAnswer } from '../api/schemas.ts';
import { HyperscaleError, isHyperscaleError } from '../errors.ts';
import type { Call } from './call.ts';
import { unlessAbsent, volumePath } from './daemon.ts';
import { sizeField, textField } from './fields.ts';
import { volumeNameOf } from './names.ts';
import { policyOf, reflectionsOf } from './policy.ts';

/**
 * Creates a volume. A driver that wants two copies creates it twice, first on the reflection's
 * target and then at the source: here it is one volume, and the second time it is there already.
 */
export async function createVolume({ daemon, body }: Call): Promise<unknown> {
  const name = volumeNameOf(textField(body, 'volume_guid'));
  const policy = policyOf(body);
  const sizeBytes = sizeField(body, 'volume_raw_size');
  try {
    await daemon.ask('POST', '/v1/volumes', { name, sizeBytes, policy });
  } catch (error) {
    if (!isHyperscaleError(error, 'exists')) throw error;
    const there = await daemon.askOfKnown<VolumeAnswer>('GET', volumePath(name));
    refuseUnlessSame(there, { sizeBytes, reflections: reflectionsOf(policy) });
  }
  return {};
}

/** It is the volume that was asked for: of its size, and with no fewer copies. */
function refuseUnlessSame(
  there: VolumeAnswer,
  wanted: { sizeBytes: number; reflections: number },
): void {
  const { name, sizeBytes, policy } = there;
  if (sizeBytes === wanted.sizeBytes && policy.reflections >= wanted.reflections) return;
  throw new HyperscaleError(
    'exists',
    `volume ${name} exists with ${sizeBytes} bytes and ${policy.reflections} reflections, and ${wanted.sizeBytes} bytes and ${wanted.reflections} reflections were asked for`,
    { hint: `hscli volume show ${name}` },
  );
}

/** Deletes a volume; the second delete, at the reflection's target, finds nothing and succeeds. */
export async function deleteVolume({ daemon, body }: Call): Promise<unknown> {
  const name = volumeNameOf(textField(body, 'display_name'));
  await unlessAbsent(daemon.ask('DELETE', volumePath(name)));
  return {};
}

/** Makes a volume bigger, also while a guest uses it. */
export async function extendVolume({ daemon, body }: Call): Promise<unknown> {
  const path = volumePath(volumeNameOf(textField(body, 'volume_guid')));
  await daemon.askOfKnown('POST', `${path}/extend`, { sizeBytes: sizeField(body, 'new_size') });
  return {};
}
