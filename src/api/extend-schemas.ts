import { type Static, Type } from 'typebox';
import { maxSizeBytes, minSizeBytes, sizeGrainBytes } from '../volume/names.ts';
import { named, VolumeShape } from './schemas.ts';

/** The shapes of growing a volume. */

export const ExtendVolume = Type.Object(
  {
    sizeBytes: Type.Integer({
      description: `The new size: a multiple of ${sizeGrainBytes} up to 64 TiB, not below the present one.`,
      minimum: minSizeBytes,
      maximum: maxSizeBytes,
      multipleOf: sizeGrainBytes,
    }),
  },
  { $id: 'ExtendVolume', additionalProperties: false },
);

export const ExtendedShape = Type.Object(
  {
    sizeBytes: Type.Integer({ description: 'The size of the volume now.' }),
    volume: named(VolumeShape),
    consumers: Type.Array(
      Type.Object({
        node: Type.String(),
        kind: Type.Enum(['domain', 'device', 'host'], {
          description: 'A libvirt domain, a block device, or all that a host has.',
        }),
        name: Type.String({ description: 'E.g. `web1 vda`, `/dev/loop3`.' }),
        problem: Type.Union([Type.String(), Type.Null()], {
          description: 'Why it does not show the new size yet; its node tries again by itself.',
        }),
      }),
      { description: 'What uses the volume and was told of its size.' },
    ),
  },
  { $id: 'Extended' },
);

export const extendShapes = [ExtendVolume, ExtendedShape];

export type ExtendedAnswer = Static<typeof ExtendedShape>;
