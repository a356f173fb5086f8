import { type Static, Type } from 'typebox';

/** The shapes of block devices. */

const closed = { additionalProperties: false } as const;

/** A name of a link, as in `src/engine/block-device-links.ts`, which refuses `..` as well. */
export const LinkName = Type.String({
  description: '1 to 64 letters, digits, "{", "}", ".", "_", "-"; no ".." in it.',
  pattern: '^[A-Za-z0-9{}._-]*$',
  minLength: 1,
  maxLength: 64,
});

export const MakeDevice = Type.Object(
  {
    name: Type.Optional(LinkName),
    attach: Type.Optional(
      Type.Boolean({ description: 'true: attach the volume there as well, all in one go.' }),
    ),
  },
  { $id: 'MakeDevice', ...closed },
);

export const RemoveDeviceQuery = Type.Object(
  {
    force: Type.Optional(
      Type.Enum(['true', 'false'], { description: 'true: those who use it get I/O errors.' }),
    ),
  },
  closed,
);

export const DeviceShape = Type.Object(
  {
    host: Type.String({ description: 'The node where it is.' }),
    device: Type.String({ description: 'E.g. `/dev/loop3`; another one after it was removed.' }),
    link: Type.Union([Type.String(), Type.Null()], {
      description: 'Path of the link to it under the name that was asked for.',
    }),
  },
  { $id: 'Device' },
);

export const deviceShapes = [MakeDevice, DeviceShape];

export type DeviceAnswer = Static<typeof DeviceShape>;
