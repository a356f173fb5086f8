import { type Static, Type } from 'typebox';
import { diskBuses } from '../libvirt/disk-xml.ts';
import { nameMaxLength, namePattern } from '../volume/names.ts';
import { VmParams } from './vm-move-schemas.ts';

/** Shapes of volumes as disks of guests; see `schemas.ts`. */

const closed = { additionalProperties: false } as const;
const Name = (description: string) =>
  Type.String({ description, pattern: namePattern, minLength: 1, maxLength: nameMaxLength });

const wishes = {
  target: Type.Optional(
    Type.String({
      description: 'Name of the disk in the domain, such as vdb; the first free one when absent.',
      pattern: '^(hd|sd|vd)[a-z]{1,3}$',
    }),
  ),
  bus: Type.Optional(Type.Enum([...diskBuses], { description: 'virtio when absent.' })),
  bootOrder: Type.Optional(
    Type.Integer({ description: 'Place in the order of boot.', minimum: 1, maximum: 1_000 }),
  ),
  readOnly: Type.Optional(Type.Boolean({ description: 'The guest may not write.' })),
};

export const AttachDisk = Type.Object(
  {
    volume: Name('Name or id of the volume.'),
    ...wishes,
    persist: Type.Optional(
      Type.Boolean({
        description: 'false: the running guest alone gets it, not its definition. Default true.',
      }),
    ),
  },
  { $id: 'AttachDisk', ...closed },
);
export const DefineDisk = Type.Object(wishes, { $id: 'DefineDisk', ...closed });

export const DiskParams = Type.Object(
  { ...VmParams.properties, volume: Name('Name or id of the volume.') },
  closed,
);
export const DetachDiskQuery = Type.Object(
  {
    guestSeconds: Type.Optional(
      Type.String({
        description: 'How long the guest is waited for, in seconds; 30 when absent, at most 86400.',
        pattern: '^[0-9]{1,5}(\\.[0-9]{1,3})?$',
      }),
    ),
  },
  closed,
);
export const VmsQuery = Type.Object(
  {
    scope: Type.Optional(
      Type.Enum(['node', 'cluster'], { description: 'This node (default), or all live ones.' }),
    ),
  },
  closed,
);

const disk = {
  volume: Type.String({ description: 'Id; it is the serial number of the disk.' }),
  name: Type.String({ description: 'Name of the volume.' }),
  target: Type.String(),
  bus: Type.String(),
  live: Type.Boolean({ description: 'The guest has it now.' }),
  persistent: Type.Boolean({ description: 'The definition of the domain has it.' }),
};
const DiskShape = Type.Object(disk);

export const VmShape = Type.Object(
  {
    node: Type.String(),
    uuid: Type.String(),
    name: Type.String(),
    state: Type.String({ description: "In libvirt's words: running, paused, shut off …" }),
    persistent: Type.Boolean({ description: 'false: it is forgotten when it stops.' }),
    disks: Type.Array(DiskShape, { description: 'Those that are on volumes.' }),
  },
  { $id: 'Vm' },
);
export const VmListShape = Type.Object(
  {
    vms: Type.Array(Type.Unsafe<Static<typeof VmShape>>({ $ref: 'Vm#' })),
    missing: Type.Array(Type.Object({ node: Type.String(), reason: Type.String() }), {
      description: 'Nodes that could not say what they have.',
    }),
  },
  { $id: 'VmList' },
);
export const VmDiskShape = Type.Object(
  {
    node: Type.String({ description: 'Where the domain is.' }),
    uuid: Type.String(),
    vm: Type.String({ description: 'Name of the domain.' }),
    disk: DiskShape,
    changed: Type.Boolean({ description: 'false: everything was so already.' }),
    notes: Type.Array(Type.String()),
  },
  { $id: 'VmDisk' },
);
export const DiskXmlShape = Type.Object(
  {
    node: Type.String({ description: 'Where it is attached.' }),
    volume: Type.String(),
    name: Type.String(),
    xml: Type.String({ description: "libvirt's disk element." }),
  },
  { $id: 'DiskXml' },
);

export const vmShapes = [AttachDisk, DefineDisk, VmShape, VmListShape, VmDiskShape, DiskXmlShape];

export type DiskRequest = Static<typeof DefineDisk>;
export type AttachDiskRequest = Static<typeof AttachDisk>;
export type VmAnswer = Static<typeof VmShape>;
export type VmListAnswer = Static<typeof VmListShape>;
export type VmDiskAnswer = Static<typeof VmDiskShape>;
export type DiskXmlAnswer = Static<typeof DiskXmlShape>;
