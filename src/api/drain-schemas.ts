import { type Static, Type } from 'typebox';
import { By } from './operator-schemas.ts';

/** Shapes of what the drain of a node is asked with and answers; see `schemas.ts`. */

const Maybe = (description: string) => Type.Union([Type.String({ description }), Type.Null()]);

export const DrainNode = Type.Object(
  {
    partial: Type.Optional(
      Type.Boolean({ description: 'true: also when not everything can leave the node.' }),
    ),
    by: By,
  },
  { $id: 'DrainNode', additionalProperties: false },
);

export const DrainShape = Type.Object(
  {
    node: Type.String(),
    state: Type.Enum(['none', 'draining', 'waiting', 'drained'], {
      description:
        'none: nobody asked for it; draining: it goes on by itself; waiting: what is left waits for somebody; drained: no volume has anything there.',
    }),
    since: Maybe('When it was asked for, ISO 8601.'),
    by: Maybe('Who asked for it.'),
    copies: Type.Integer({ description: 'Copies of sealed layers that are there.' }),
    bytes: Type.Integer({ description: 'Their bytes, as far as they are known.' }),
    writing: Type.Integer({ description: 'Layers that are written there.' }),
    files: Type.Integer({ description: 'Old files there that are yet to be deleted.' }),
    attached: Type.Array(Type.String(), { description: 'Names of volumes attached there.' }),
    obstacles: Type.Array(Type.Object({ volume: Type.String(), why: Type.String() }), {
      description: 'Volumes that cannot leave the node, and why.',
    }),
  },
  { $id: 'Drain' },
);

export type DrainAnswer = Static<typeof DrainShape>;
