import { type Static, Type } from 'typebox';
import { nameMaxLength, namePattern } from '../volume/names.ts';
import { builtInPolicies } from '../volume/policy.ts';

/** The policy of what is restored without one. */
export const defaultRestorePolicy = 'Silver';

const Name = (description: string) =>
  Type.String({ description, pattern: namePattern, minLength: 1, maxLength: nameMaxLength });

export const RestoreVolume = Type.Object(
  {
    name: Name('Of the new volume.'),
    policy: Type.Optional(
      Type.String({
        description: `One of ${builtInPolicies.map((p) => p.name).join(', ')}; ${defaultRestorePolicy} when absent.`,
        minLength: 1,
        maxLength: nameMaxLength,
      }),
    ),
    target: Name('A backup target of this node.'),
    backup: Type.Optional(
      Type.String({
        description: 'Id of a backup, or its first digits; or `volume` says which one.',
        pattern: '^[0-9a-f]{8,32}$',
      }),
    ),
    volume: Type.Optional(
      Name('Name or id of the volume that was backed up: its newest backup, up to `at`.'),
    ),
    at: Type.Optional(
      Type.String({
        description: 'ISO 8601 with a time zone: the newest backup that holds no later time.',
        pattern:
          '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}[0-9:.]{0,12}(Z|[+-][0-9]{2}:[0-9]{2})$',
      }),
    ),
    stream: Type.Optional(
      Type.Boolean({
        description: 'Answer at once: the volume is used while its content comes from the backup.',
      }),
    ),
  },
  { $id: 'RestoreVolume', additionalProperties: false },
);

export type RestoreWishes = Static<typeof RestoreVolume>;

export const RestoredFromShape = Type.Object(
  {
    target: Type.String(),
    backup: Type.String({ description: 'Id of the backup.' }),
    volume: Type.String({ description: 'Id of the volume that was backed up.' }),
    volumeName: Type.String({ description: 'Its name then.' }),
    at: Type.String({ description: 'The point in time that it holds, ISO 8601.' }),
  },
  { description: 'The backup that it was made from.' },
);
