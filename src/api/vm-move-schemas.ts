import { type Static, Type } from 'typebox';
import { nameMaxLength, namePattern } from '../volume/names.ts';

/** Shapes of live migration and evacuation; see `schemas.ts`. */

const closed = { additionalProperties: false } as const;
const NodeName = (description: string) =>
  Type.String({ description, pattern: namePattern, minLength: 1, maxLength: nameMaxLength });
/** libvirt takes nearly anything as the name of a domain. */
const Vm = (description: string) =>
  Type.String({ description, minLength: 1, maxLength: 255, pattern: '^[^\\u0000-\\u001f/]+$' });
const OrNull = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) =>
  Type.Union([type, Type.Null()]);
const Milliseconds = (description: string) => OrNull(Type.Number({ description }));

export const VmParams = Type.Object({ vm: Vm('Name or UUID of a libvirt domain.') }, closed);

export const MigrateVm = Type.Object(
  {
    to: NodeName('The node to move to.'),
    live: Type.Optional(Type.Literal(true, { description: 'Guests are moved while they run.' })),
  },
  { $id: 'MigrateVm', ...closed },
);

export const MigratedShape = Type.Object(
  {
    uuid: Type.String(),
    name: Type.String(),
    from: Type.String(),
    to: Type.String(),
    tookMs: Type.Number({ description: 'From the call to the end.' }),
    totalMs: Milliseconds("The part of it that was libvirt's; null when it did not say."),
    downtimeMs: Milliseconds('How long no virtual CPU ran, by libvirt.'),
    sentBytes: OrNull(Type.Number({ description: 'Memory that was sent.' })),
    notes: Type.Array(Type.String(), { description: 'What goes on in the background.' }),
  },
  { $id: 'Migrated' },
);

export const MigrationShape = Type.Object(
  {
    migration: OrNull(
      Type.Object({
        uuid: Type.String(),
        name: Type.String(),
        from: Type.String(),
        to: Type.String(),
        step: Type.Enum(['queued', 'attaching', 'sending', 'clearing']),
        sent: OrNull(
          Type.Object({
            sentBytes: Type.Number(),
            remainingBytes: Type.Number({ description: 'It grows while the guest writes to it.' }),
            totalBytes: Type.Number(),
          }),
        ),
      }),
    ),
  },
  { $id: 'Migration' },
);

export const CancelledShape = Type.Object(
  { outcome: Type.Enum(['stayed', 'moved'], { description: 'moved: it was too late.' }) },
  { $id: 'MigrationCancelled' },
);

export const EvacuateNode = Type.Object(
  {
    to: Type.Optional(NodeName('Start all guests there; else they are spread over live nodes.')),
    vm: Type.Optional(Vm('Only this guest; name or UUID.')),
  },
  { $id: 'EvacuateNode', ...closed },
);

export const EvacuatedShape = Type.Object(
  {
    node: Type.String(),
    vms: Type.Array(
      Type.Object({
        uuid: Type.String(),
        name: Type.String(),
        to: OrNull(Type.String()),
        outcome: Type.Enum(['started', 'defined', 'failed'], {
          description: 'defined: it was shut off before.',
        }),
        reason: OrNull(Type.String({ description: 'Why it failed.' })),
      }),
    ),
  },
  { $id: 'Evacuated' },
);

export type MigratedAnswer = Static<typeof MigratedShape>;
export type MigrationAnswer = Static<typeof MigrationShape>;
export type CancelledAnswer = Static<typeof CancelledShape>;
export type EvacuatedAnswer = Static<typeof EvacuatedShape>;

export const vmMoveShapes = [
  MigrateVm,
  MigratedShape,
  MigrationShape,
  CancelledShape,
  EvacuateNode,
  EvacuatedShape,
];
