import { Type } from 'typebox';
import { HyperscaleError } from '../../errors.ts';
import type { DiskWishes, VmDisks } from '../../vm/vms.ts';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { VolumeParams } from '../request-schemas.ts';
import { named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';
import { VmParams } from '../vm-move-schemas.ts';
import {
  AttachDisk,
  DefineDisk,
  DetachDiskQuery,
  DiskParams,
  type DiskRequest,
  DiskXmlShape,
  VmDiskShape,
  VmListShape,
  VmsQuery,
} from '../vm-schemas.ts';

const problem = { default: named(ProblemShape) };
const tags = ['vms'];
const defaultGuestSeconds = 30;
const mostGuestSeconds = 86_400;

/** Volumes as disks of libvirt domains. */
export function vmRoutes(app: App, service: NodeService): void {
  app.get(
    '/vms',
    {
      schema: {
        operationId: 'listVms',
        summary: 'Virtual machines, with their disks that are on volumes',
        tags,
        querystring: VmsQuery,
        response: { 200: named(VmListShape), ...problem },
      },
    },
    (request) => disksOf(service).list(request.query.scope === 'cluster'),
  );
  app.post(
    '/vms/:vm/disks',
    {
      schema: {
        operationId: 'attachDisk',
        summary: 'Give a volume to a guest; answers when it has it; again is no error',
        description:
          'in-use when another guest or host has the volume. When libvirt fails, everything is as before.',
        tags,
        params: VmParams,
        body: named(AttachDisk),
        response: { 200: named(VmDiskShape), ...problem },
      },
    },
    (request, reply) => {
      const { volume, persist = true, ...wishes } = request.body;
      const options = { persist, ...wishesOf(wishes) };
      return disksOf(service).attach(request.params.vm, volume, options, clientGone(reply));
    },
  );
  app.delete(
    '/vms/:vm/disks/:volume',
    {
      schema: {
        operationId: 'detachDisk',
        summary: 'Take a volume from a guest; answers when the guest has let go of it',
        description:
          'guest-refused when it does not in time; then nothing has changed. A volume that the guest does not have is no error.',
        tags,
        params: DiskParams,
        querystring: DetachDiskQuery,
        response: { 200: named(VmDiskShape), ...problem },
      },
    },
    (request, reply) => {
      const { vm, volume } = request.params;
      const seconds = guestSeconds(request.query.guestSeconds);
      return disksOf(service).detach(vm, volume, seconds * 1_000, clientGone(reply));
    },
  );
  app.post(
    '/volumes/:volume/disk',
    {
      schema: {
        operationId: 'defineDisk',
        summary: 'Attach a volume on this node and get the libvirt disk element for it',
        description: 'To undo it, detach the volume.',
        tags,
        params: VolumeParams,
        body: named(DefineDisk),
        response: { 200: named(DiskXmlShape), ...problem },
      },
      preValidation: async (request) => {
        if (request.body === undefined) request.body = {};
      },
    },
    (request, reply) =>
      disksOf(service).defineDisk(request.params.volume, wishesOf(request.body), clientGone(reply)),
  );
}

const closed = { additionalProperties: false } as const;
const Uuid = Type.String({ pattern: '^[0-9a-f-]{36}$' });
const hide = { hide: true } as const;
const { volume: _, ...wishShapes } = AttachDisk.properties;

/** What nodes ask of each other: one POST for each method of `VmDisksHere`. */
export function vmDiskPeerRoutes(app: App, service: NodeService): void {
  const here = () => disksOf(service).here;
  app.post('/vm/find', { schema: { ...hide, body: VmParams } }, (request) =>
    here().find(request.body.vm),
  );
  app.post('/vm/list', { schema: hide }, () => here().list());
  app.post(
    '/vm/attachDisk',
    {
      schema: {
        ...hide,
        body: Type.Object({ uuid: Uuid, volume: Uuid, ...wishShapes }, closed),
      },
    },
    (request, reply) => {
      const { uuid, volume, persist = true, ...wishes } = request.body;
      const wanted = { uuid, volume, persist, ...wishesOf(wishes) };
      return here().attachDisk(wanted, clientGone(reply));
    },
  );
  app.post(
    '/vm/detachDisk',
    {
      schema: {
        ...hide,
        body: Type.Object(
          {
            uuid: Uuid,
            volume: Uuid,
            guestMs: Type.Number({ minimum: 0, maximum: mostGuestSeconds * 1_000 }),
          },
          closed,
        ),
      },
    },
    (request, reply) => here().detachDisk(request.body, clientGone(reply)),
  );
}

/** Without what was not said. */
function wishesOf(request: DiskRequest): DiskWishes {
  const { target, bus, bootOrder, readOnly } = request;
  return {
    ...(target === undefined ? {} : { target }),
    ...(bus === undefined ? {} : { bus }),
    ...(bootOrder === undefined ? {} : { bootOrder }),
    ...(readOnly === undefined ? {} : { readOnly }),
  };
}

function guestSeconds(text: string | undefined): number {
  const seconds = text === undefined ? defaultGuestSeconds : Number(text);
  if (seconds <= mostGuestSeconds) return seconds;
  throw new HyperscaleError('bad-input', `guestSeconds ${text} is more than ${mostGuestSeconds}`);
}

function disksOf(service: NodeService): VmDisks {
  if (service.vms !== null) return service.vms;
  throw new HyperscaleError('unavailable', 'this daemon knows no libvirt');
}
