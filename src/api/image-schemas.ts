import { type Static, Type } from 'typebox';
import { nameMaxLength, namePattern } from '../volume/names.ts';
import { builtInPolicies } from '../volume/policy.ts';
import { named, PolicyShape, VolumeShape } from './schemas.ts';

const closed = { additionalProperties: false } as const;

/** The policy of what is imported without one. */
export const defaultImagePolicy = 'Silver';

const Name = (description: string) =>
  Type.String({ description, pattern: namePattern, minLength: 1, maxLength: nameMaxLength });

export const ImageParams = Type.Object({ image: Name('Name or id of an image.') }, closed);

/** Names, so that what cannot be right is refused before a file is sent. */
export const ImportQuery = Type.Object(
  {
    name: Name('Unique among images and volumes; as the name of a volume.'),
    policy: Type.Optional(
      Type.String({
        description: `One of ${builtInPolicies.map((p) => p.name).join(', ')}; ${defaultImagePolicy} when absent.`,
        minLength: 1,
        maxLength: nameMaxLength,
      }),
    ),
    format: Type.Optional(
      Type.String({
        description: 'raw, qcow2, vmdk, vhd (vpc) or vhdx; when absent a look at the file decides.',
        minLength: 1,
        maxLength: 16,
      }),
    ),
    checksum: Type.Optional(
      Type.String({ description: 'sha256:HEX of the file as it is sent.', maxLength: 100 }),
    ),
    maxSizeBytes: Type.Optional(
      Type.String({
        description: 'What the image may show at most, bytes; also bounds the file.',
        pattern: '^[0-9]{1,16}$',
      }),
    ),
  },
  closed,
);

const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Union([schema, Type.Null()]);

export const ImageShape = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    state: Type.Enum(['importing', 'ready']),
    sizeBytes: Type.Integer({ description: 'What a volume from it has at least, bytes.' }),
    format: nullable(Type.String({ description: 'Of the file that it was made from.' })),
    fileBytes: nullable(Type.Integer({ description: 'Length of that file.' })),
    checksum: nullable(Type.String({ description: 'sha256:HEX of that file.' })),
    bytes: nullable(
      Type.Integer({ description: 'Bytes that one copy takes; null while it is imported.' }),
    ),
    policy: named(PolicyShape),
    createdAt: Type.String({ description: 'ISO 8601, UTC.' }),
    usedAt: nullable(
      Type.String({ description: 'When a volume was last made from it, ISO 8601, UTC.' }),
    ),
    copies: Type.Array(
      Type.Object({
        node: Type.String(),
        state: Type.Enum(['clean', 'unverified', 'copying']),
        up: Type.Boolean({ description: 'The node is alive, with this copy.' }),
      }),
    ),
    clones: Type.Integer({ description: 'Volumes that still go on from it.' }),
  },
  { $id: 'Image' },
);

export const ImportedImageShape = Type.Object(
  {
    image: named(ImageShape),
    notes: Type.Array(Type.String({ description: 'What was left out, in plain sentences.' })),
  },
  { $id: 'ImportedImage' },
);

export const AdoptedVolumeShape = Type.Object(
  {
    volume: named(VolumeShape),
    notes: Type.Array(Type.String({ description: 'What was left out, in plain sentences.' })),
  },
  { $id: 'AdoptedVolume' },
);

export const imageShapes = [ImageShape, ImportedImageShape, AdoptedVolumeShape];

export type ImportWishes = Static<typeof ImportQuery>;
export type ImageAnswer = Static<typeof ImageShape>;
export type ImportedImageAnswer = Static<typeof ImportedImageShape>;
export type AdoptedVolumeAnswer = Static<typeof AdoptedVolumeShape>;
