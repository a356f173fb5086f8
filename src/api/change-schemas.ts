import { type Static, Type } from 'typebox';
import { maxMetadataKeyLength, maxMetadataKeys, maxMetadataValueLength } from '../volume/change.ts';
import { nameMaxLength, namePattern } from '../volume/names.ts';
import { builtInPolicies } from '../volume/policy.ts';
import { EpisodePlanShape } from './backup-schemas.ts';

/** The shapes of changes that consumers of a volume do not notice. */

export const ChangeVolume = Type.Object(
  {
    name: Type.Optional(
      Type.String({
        description: 'Another name; the old one is free at once.',
        pattern: namePattern,
        minLength: 1,
        maxLength: nameMaxLength,
      }),
    ),
    policy: Type.Optional(
      Type.String({
        description: `${builtInPolicies.map((p) => p.name).join(', ')}: copies are made or dropped in the background.`,
        minLength: 1,
        maxLength: nameMaxLength,
      }),
    ),
    metadata: Type.Optional(
      Type.Record(
        Type.String({ minLength: 1, maxLength: maxMetadataKeyLength }),
        Type.Union([Type.String({ maxLength: maxMetadataValueLength }), Type.Null()]),
        {
          description: 'Notes of your own; null takes one away, what is not named stays.',
          maxProperties: maxMetadataKeys,
        },
      ),
    ),
    episodes: Type.Optional(
      Type.Union([EpisodePlanShape, Type.Null()], {
        description: 'Back it up by itself, so often and to there; null: no longer.',
      }),
    ),
  },
  { $id: 'ChangeVolume', additionalProperties: false, minProperties: 1 },
);

export type ChangeVolumeRequest = Static<typeof ChangeVolume>;
