import { Type } from 'typebox';

/** The shapes of a verification: what is asked for, and what it says. */

export const VerifyVolume = Type.Object(
  {
    seal: Type.Optional(
      Type.Boolean({ description: 'Seal the open layer first, so that it is compared too.' }),
    ),
    repair: Type.Optional(
      Type.Boolean({ description: 'Mend what is damaged from copies that are proven.' }),
    ),
  },
  { $id: 'VerifyVolume', additionalProperties: false },
);

const Copy = Type.Object({
  node: Type.String(),
  recorded: Type.Enum(['clean', 'unverified', 'copying', 'open'], {
    description: 'What the record says of the copy.',
  }),
  result: Type.Enum(
    ['equal', 'differs', 'missing', 'unreadable', 'node-down', 'not-checked', 'open'],
    { description: 'What reading it said; nothing is known of the last three.' },
  ),
  damaged: Type.Array(
    Type.Object({
      offset: Type.Integer({ minimum: 0 }),
      length: Type.Integer({ minimum: 1 }),
    }),
    { description: 'Parts of its file that are not as they should be, in bytes; chunks of 1 MiB.' },
  ),
  why: Type.Union([Type.String(), Type.Null()]),
  repaired: Type.Boolean({ description: 'It was damaged, and is equal now.' }),
});

export const VerificationShape = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    result: Type.Enum(['equal', 'damaged', 'incomplete'], {
      description: 'incomplete: no damage was found, and not every sealed copy was compared.',
    }),
    summary: Type.String({ description: 'One plain sentence.' }),
    layers: Type.Array(
      Type.Object({
        number: Type.Integer({ description: 'Position in the chain, oldest is 1.' }),
        id: Type.String(),
        epoch: Type.Integer(),
        state: Type.Enum(['sealed', 'open']),
        against: Type.Enum(['record', 'each-other', 'nothing'], {
          description: 'What the copies were compared with.',
        }),
        copies: Type.Array(Copy),
      }),
    ),
    findings: Type.Array(
      Type.Object({ what: Type.String(), why: Type.String(), action: Type.String() }),
    ),
  },
  { $id: 'Verification' },
);
