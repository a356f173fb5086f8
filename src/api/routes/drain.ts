import type { App } from '../app.ts';
import { DrainNode, DrainShape } from '../drain-schemas.ts';
import { NodeParams } from '../request-schemas.ts';
import { named, ProblemShape } from '../schemas.ts';
import type { NodeService } from '../service.ts';

const answer = { 200: named(DrainShape), default: named(ProblemShape) };

/** Emptying a node. */
export function drainRoutes(app: App, { operator }: NodeService): void {
  app.get(
    '/nodes/:name/drain',
    {
      schema: {
        operationId: 'getNodeDrain',
        summary: 'What a node holds, and how far its drain is',
        tags: ['cluster'],
        params: NodeParams,
        response: answer,
      },
    },
    async (request) => operator.drainOf(request.params.name),
  );
  app.put(
    '/nodes/:name/drain',
    {
      schema: {
        operationId: 'drainNode',
        summary: 'Let everything leave a node, and nothing new go there',
        description:
          'Answers when that is recorded; it goes on by itself. not-allowed when copies have nowhere to go.',
        tags: ['cluster'],
        params: NodeParams,
        body: named(DrainNode),
        response: answer,
      },
      preValidation: async (request) => {
        // A request without a body is one without wishes.
        if (request.body === undefined) request.body = {};
      },
    },
    async (request) => {
      const { partial = false, by = 'somebody' } = request.body;
      return operator.drain(request.params.name, { partial, by });
    },
  );
  app.delete(
    '/nodes/:name/drain',
    {
      schema: {
        operationId: 'undrainNode',
        summary: 'End a drain; what has left the node does not come back',
        tags: ['cluster'],
        params: NodeParams,
        response: answer,
      },
    },
    async (request) => operator.undrain(request.params.name),
  );
}
