import { Type } from 'typebox';
import { HyperscaleError } from '../../errors.ts';
import type { App } from '../app.ts';
import { followEvents } from '../event-stream.ts';
import { nameFilter } from '../list-filter.ts';
import { pageInOrder } from '../list-page.ts';
import { nextField } from '../list-schemas.ts';
import { EventsHeaders, EventsQuery } from '../request-schemas.ts';
import { EventShape, named, ProblemShape } from '../schemas.ts';
import type { NodeEvent, NodeService } from '../service.ts';

/** What happens, as server-sent events. */
export function eventRoutes(app: App, service: NodeService): void {
  app.get(
    '/events',
    {
      schema: {
        operationId: 'followEvents',
        summary: 'Events of this node, as a stream (or as JSON with follow=false)',
        description:
          'Server-sent events; `data` is an Event as JSON. An event named `missed` says that ' +
          'older ones are no longer kept: read again what you care about. Comments are sent ' +
          'every 15 seconds; a client that does not read is cut.',
        tags: ['events'],
        querystring: EventsQuery,
        headers: EventsHeaders,
        response: {
          200: {
            description: 'A stream of events, or the kept events.',
            content: {
              'text/event-stream': { schema: named(EventShape) },
              'application/json': {
                schema: Type.Object({ events: Type.Array(named(EventShape)), ...nextField }),
              },
            },
          },
          default: named(ProblemShape),
        },
      },
    },
    async (request, reply) => {
      const { volume, follow, limit } = request.query;
      const asked = request.headers['last-event-id'] ?? request.query.after;
      const id = volume === undefined ? null : service.volume(volume).value.id;
      const isOfType = nameFilter(request.query.type, 'type');
      const wanted = (event: NodeEvent) =>
        (id === null || event.volume === id) && isOfType(event.type);
      if (follow === 'false') {
        const kept = service.eventsAfter(Number(asked ?? 0)).filter(wanted);
        const { entries, next } = pageInOrder(kept, (event) => String(event.id), { limit });
        return reply.send({ events: entries, ...(next === undefined ? {} : { next }) });
      }
      if (limit !== undefined) {
        throw new HyperscaleError('bad-input', 'a stream of events has no limit', {
          hint: 'Give follow=false too.',
          values: { field: 'limit', value: limit },
        });
      }
      reply.hijack();
      followEvents(service, reply.raw, asked === undefined ? null : Number(asked), wanted);
      return reply;
    },
  );
}
