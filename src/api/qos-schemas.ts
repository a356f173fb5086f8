import { type Static, Type } from 'typebox';
import { nameMaxLength } from '../volume/names.ts';
import { builtInPolicies } from '../volume/policy.ts';

/** The shapes of limits. Values are checked by `src/volume/limits.ts`, which says what is right. */

const limit = (description: string) =>
  Type.Optional(Type.Union([Type.Number({ description }), Type.Null()]));

/** Fields of a request that change limits; null takes one away. */
export const limitFields = {
  maxIops: limit('Requests a second of all consumers together, 10 to 10,000,000.'),
  maxBandwidth: limit('Bytes a second, 1 MiB to 100 GiB.'),
  burstIops: limit('Requests a second for `burstSeconds`; at least `maxIops`.'),
  burstBandwidth: limit('Bytes a second for `burstSeconds`; at least `maxBandwidth`.'),
  burstSeconds: limit('How long a burst may last, 1 to 3,600; 1 when absent.'),
  minIops: Type.Optional(
    Type.Number({ description: 'Always refused (`not-allowed`): nothing could keep it.' }),
  ),
};

export const ChangeLimits = Type.Object(
  {
    ...limitFields,
    policy: Type.Optional(
      Type.String({
        description: `Take the limits of ${builtInPolicies.map((p) => p.name).join(', ')} first; copies stay as they are.`,
        minLength: 1,
        maxLength: nameMaxLength,
      }),
    ),
  },
  { $id: 'ChangeLimits', additionalProperties: false, minProperties: 1 },
);

const value = (description: string) => Type.Union([Type.Integer({ description }), Type.Null()]);

export const LimitsShape = Type.Object(
  {
    from: Type.Enum(['policy', 'volume'], {
      description: 'Whose limits these are: the policy’s, or the volume’s own.',
    }),
    maxIops: value('Requests a second; null: not limited.'),
    maxBandwidth: value('Bytes a second; null: not limited.'),
    burstIops: value('Requests a second for a while; null: no bursts.'),
    burstBandwidth: value('Bytes a second for a while; null: no bursts.'),
    burstSeconds: value('How long a burst may last.'),
  },
  { $id: 'Limits' },
);

export type LimitsAnswer = Static<typeof LimitsShape>;
export type LimitsRequest = Omit<Static<typeof ChangeLimits>, 'policy'>;
