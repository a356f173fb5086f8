import { type Static, Type } from 'typebox';

/** The shapes of a recovery of the records: what is asked, and the plan that is answered. */

const closed = { additionalProperties: false } as const;

export const RecoverCluster = Type.Object(
  {
    dryRun: Type.Optional(Type.Boolean({ description: 'Only say what would be done.' })),
    acceptDataLoss: Type.Optional(
      Type.Boolean({ description: 'Go on although acknowledged writes may be lost by it.' }),
    ),
    digest: Type.Optional(
      Type.String({
        description: 'Do only what was planned under this digest.',
        pattern: '^[0-9a-f]{64}$',
      }),
    ),
  },
  { $id: 'RecoverCluster', ...closed },
);

export const RecoveryShape = Type.Object(
  {
    needless: Type.Boolean({ description: 'No daemon that answers stands apart: nothing to do.' }),
    done: Type.Boolean({ description: 'The records are written.' }),
    digest: Type.String({ description: 'Stands for the plan.' }),
    volumes: Type.Array(
      Type.Object({
        id: Type.String(),
        name: Type.String(),
        outcome: Type.Enum(['exact', 'in-doubt', 'loss', 'impossible', 'gone']),
        epoch: Type.Integer({ description: 'Of the newest record that was found.' }),
        from: Type.Union([Type.String(), Type.Null()], {
          description: 'Where it was found: a node, or null for the store.',
        }),
        unchanged: Type.Boolean({ description: 'The store holds it like that.' }),
        notes: Type.Array(Type.String()),
        losses: Type.Array(Type.String({ description: 'What may be lost by going on now.' })),
        missing: Type.Array(Type.String(), {
          description: 'Nodes that may know a later record and do not answer.',
        }),
      }),
    ),
    nodes: Type.Array(Type.String(), { description: 'Nodes that are registered by it.' }),
    findings: Type.Array(Type.String({ description: 'What is to be known.' })),
    losses: Type.Array(Type.String(), { description: 'Why it needs the word of the operator.' }),
    refused: Type.Union([Type.String(), Type.Null()], {
      description: 'Why it is not done at all.',
    }),
    accepted: Type.Array(Type.String(), { description: 'Nodes that believe the store now.' }),
    failed: Type.Array(Type.Object({ node: Type.String(), why: Type.String() })),
  },
  { $id: 'Recovery' },
);

export type RecoveryAnswer = Static<typeof RecoveryShape>;
