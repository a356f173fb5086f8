import { type Static, Type } from 'typebox';
import { nameMaxLength, namePattern } from '../volume/names.ts';
import { metadataPrefix } from './list-filter.ts';
import { maxPage } from './list-page.ts';
import { ListQuery } from './request-schemas.ts';

/** What lists can be asked for. The values are checked in code, which says what would be right. */

const closed = { additionalProperties: false } as const;
const Text = (description: string) => Type.Optional(Type.String({ description, maxLength: 1024 }));
const Flag = (description: string) => Type.Optional(Type.Enum(['true', 'false'], { description }));
const NameFilter = Text('Only with this name; "*" stands for any characters: `db*`.');
const Policy = Text('Only with this policy; case does not matter.');
const Node = Type.Optional(
  Type.String({
    description: 'Only what is attached, served or has data on this node.',
    pattern: namePattern,
    maxLength: nameMaxLength,
  }),
);

/** A part of a list. */
export const pageFields = {
  limit: Text(`At most so many entries, 1 to ${maxPage}; absent: all.`),
  after: Text('`next` of the answer before: only what comes behind that.'),
};

/** What the answer has beside the entries. */
export const nextField = {
  next: Type.Optional(
    Type.String({ description: 'There when the list goes on: the `after` of its next part.' }),
  ),
};

export const healthNames = ['healthy', 'degraded', 'at-risk', 'unavailable', 'deleting'] as const;

export const VolumesQuery = Type.Object(
  {
    ...ListQuery.properties,
    name: NameFilter,
    policy: Policy,
    state: Type.Optional(Type.Enum([...healthNames], { description: 'Only in this state.' })),
    node: Node,
    attached: Flag('true: only what is attached somewhere; false: only what is not.'),
    ...pageFields,
  },
  {
    ...closed,
    patternProperties: { [`^${metadataPrefix.replace('.', '\\.')}.`]: Type.String() },
    description: 'Also `metadata.KEY=VALUE`, any number of times: only with this note.',
  },
);

export const SnapshotsQuery = Type.Object(
  {
    name: NameFilter,
    group: Text('Only those that were made at one instant, with this group.'),
    protected: Flag('true: only those that cannot be deleted; false: only those that can.'),
    ...pageFields,
  },
  closed,
);

export const AllSnapshotsQuery = Type.Object(
  {
    volume: Text('Only of volumes with this name; "*" as for `name`.'),
    ...SnapshotsQuery.properties,
  },
  closed,
);

export const ImagesQuery = Type.Object(
  {
    name: NameFilter,
    policy: Policy,
    state: Type.Optional(Type.Enum(['importing', 'ready'], { description: 'Only in this state.' })),
    node: Node,
    ...pageFields,
  },
  closed,
);

export type VolumesWish = Static<typeof VolumesQuery>;
export type SnapshotsWish = Static<typeof SnapshotsQuery>;
export type ImagesWish = Static<typeof ImagesQuery>;
