import { Type } from 'typebox';
import { nameMaxLength, namePattern } from '../volume/names.ts';
import { maxPage } from './list-page.ts';

/**
 * The shapes of requests. They validate what comes in and `/openapi.json` is generated from them.
 * Unknown fields are refused.
 */

const closed = { additionalProperties: false } as const;

const Name = (description: string) =>
  Type.String({ description, pattern: namePattern, minLength: 1, maxLength: nameMaxLength });

/** A path parameter that has a volume. */
export const VolumeParams = Type.Object(
  { volume: Name('Name or id of a volume: 1 to 63 letters, digits, ".", "_", "-".') },
  closed,
);
export const AttachmentParams = Type.Object(
  { ...VolumeParams.properties, host: Name('Name of a node.') },
  closed,
);
export const NodeParams = Type.Object({ name: Name('Name of a node.') }, closed);

export const ListQuery = Type.Object(
  {
    all: Type.Optional(
      Type.Enum(['true', 'false'], {
        description: 'true: also images, and what was deleted and clones still need.',
      }),
    ),
  },
  closed,
);

export const DeleteQuery = Type.Object(
  {
    snapshots: Type.Optional(
      Type.Enum(['true', 'false'], {
        description: 'true: with all its snapshots, unless one is protected.',
      }),
    ),
  },
  closed,
);

export const AttachVolume = Type.Object(
  { host: Type.Optional(Name('Node to attach on; the one that answers when absent.')) },
  { $id: 'AttachVolume', ...closed },
);

const digits = (description: string) => Type.String({ description, pattern: '^[0-9]{1,16}$' });

export const EventsQuery = Type.Object(
  {
    after: Type.Optional(digits('Send kept events newer than this id first; a whole number.')),
    volume: Type.Optional(Name('Only events of this volume; name or id.')),
    type: Type.Optional(
      Type.String({
        description: 'Only events of this type; "*" stands for any characters: `snapshot.*`.',
        maxLength: 128,
      }),
    ),
    limit: Type.Optional(
      Type.String({
        description: `With follow=false: at most so many, 1 to ${maxPage}; absent: all.`,
        maxLength: 1024,
      }),
    ),
    follow: Type.Optional(
      Type.Enum(['true', 'false'], {
        description: 'false: answer the kept events as JSON instead of a stream.',
      }),
    ),
  },
  closed,
);
export const EventsHeaders = Type.Object({
  'last-event-id': Type.Optional(digits('As `after`; sent by a client that reconnects.')),
});

export const WorkQuery = Type.Object(
  {
    scope: Type.Optional(
      Type.Enum(['cluster', 'node'], { description: 'All live nodes (default), or this one.' }),
    ),
  },
  closed,
);
