import { Type } from 'typebox';
import type { App } from '../app.ts';
import { clientGone } from '../client-gone.ts';
import { DeviceShape, MakeDevice, RemoveDeviceQuery } from '../device-schemas.ts';
import { AttachmentParams } from '../request-schemas.ts';
import { named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';

const path = '/volumes/:volume/attachments/:host/device';
const problem = { default: named(ProblemShape) };

/** Attachments as block devices. */
export function deviceRoutes(app: App, { devices }: NodeService): void {
  app.put(
    path,
    {
      schema: {
        operationId: 'makeDevice',
        summary: 'Make an attachment a block device of its host; the same when it already was',
        tags: ['volumes'],
        params: AttachmentParams,
        body: named(MakeDevice),
        response: { 200: named(DeviceShape), ...problem },
      },
      preValidation: async (request) => {
        // A request without a body is one without wishes.
        if (request.body === undefined) request.body = {};
      },
    },
    async (request, reply) => {
      const { volume, host } = request.params;
      return devices.make(volume, host, request.body, clientGone(reply));
    },
  );
  app.delete(
    path,
    {
      schema: {
        operationId: 'removeDevice',
        summary: 'Take the block device of an attachment away, also when there was none',
        tags: ['volumes'],
        params: AttachmentParams,
        querystring: RemoveDeviceQuery,
        response: { 204: Type.Null({ description: 'Done.' }), ...problem },
      },
    },
    async (request, reply) => {
      const { volume, host } = request.params;
      await devices.remove(volume, host, request.query.force === 'true', clientGone(reply));
      return reply.code(204).send(null);
    },
  );
}
