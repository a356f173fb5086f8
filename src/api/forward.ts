/** Requests that another node answers: one that has the pool, or the backup target, that they need. */
import { PassThrough, type Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { request as send } from 'undici';
import { answeringNodes, canAnswer, isKnown, type Needs } from '../cluster/answering.ts';
import { errorText, HyperscaleError } from '../errors.ts';
import type { NodeView } from '../volume/types.ts';
import { clientGone } from './client-gone.ts';
import { errorFromProblem } from './problems.ts';
import type { NodeService } from './service.ts';

/** Names the node that sent a request on: nobody sends it on a second time. */
export const forwardedHeader = 'hyperscale-forwarded-by';
/** A node that does not say by then that it works is passed over. */
const healthTimeoutMs = 5_000;

type Asking = Pick<NodeService, 'nodeName' | 'nodes' | 'secret'>;

/**
 * Has a request answered by another node when this one lacks what it needs. An answer comes back as it
 * was given there, also an error.
 * @returns the reply when it is answered; undefined when this node is to answer
 * @throws `not-found`, `not-enough-nodes`, `node-down` when nobody can
 */
export async function answeredElsewhere(
  service: Asking,
  request: FastifyRequest,
  reply: FastifyReply,
  needs: Needs,
): Promise<FastifyReply | undefined> {
  const nodes = service.nodes();
  const self = nodes.find((n) => n.name === service.nodeName);
  if (self === undefined || canAnswer(self, needs)) return undefined;
  // Of a target that nobody has, this node tells.
  if (!isKnown(nodes, needs) && canAnswer(self, { ...needs, target: null })) return undefined;
  const able = answeringNodes(nodes, needs);
  const by = request.headers[forwardedHeader];
  if (by !== undefined) {
    throw new HyperscaleError(
      'conflict',
      `${service.nodeName} was asked by ${by}, and has not what is needed`,
      { hint: 'A configuration has just been changed: try again.', values: { able } },
    );
  }
  const gone = clientGone(reply);
  const silent: string[] = [];
  for (const name of able) {
    const node = nodes.find((n) => n.name === name);
    if (node === undefined) continue;
    if (await works(service, node)) return forward(service, node, { request, reply, gone });
    silent.push(name);
  }
  throw new HyperscaleError(
    'node-down',
    `${silent.join(', ')} could answer, but cannot be reached`,
    {
      hint: 'Check that hyperscaled runs there: hscli node list',
      values: { nodes: silent },
    },
  );
}

async function forward(
  service: Asking,
  node: NodeView,
  { request, reply, gone }: { request: FastifyRequest; reply: FastifyReply; gone: AbortSignal },
): Promise<FastifyReply> {
  const { status, location, text } = await asked(service, node, { request, gone });
  if (status >= 400) throw errorFromProblem(parsed(text), status);
  if (location !== undefined) reply.header('location', location);
  return reply.code(status).send(text === '' ? null : parsed(text));
}

async function asked(
  service: Asking,
  node: NodeView,
  { request, gone }: { request: FastifyRequest; gone: AbortSignal },
) {
  const { body, type } = bodyOf(request);
  try {
    const answer = await send(`${originOf(node)}${request.url}`, {
      method: request.method as 'GET' | 'POST' | 'DELETE',
      headers: {
        ...headersOf(service),
        ...(type === undefined ? {} : { 'content-type': type }),
      },
      body,
      signal: gone,
      // A file may take hours, and so may what is done with it.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    const { location } = answer.headers;
    return { status: answer.statusCode, location, text: await answer.body.text() };
  } catch (error) {
    if (gone.aborted) throw gone.reason;
    throw new HyperscaleError(
      'node-down',
      `${node.name}, which was to answer, went away: ${errorText(error)}`,
      { hint: 'Look there whether it was done, and try again.', values: { node: node.name } },
    );
  }
}

/** A file goes on as it comes. In a stream of its own, or the client could not be told of an error. */
function bodyOf({ body, headers, method }: FastifyRequest): {
  body: Readable | string | null;
  type?: string;
} {
  const stream = body as Partial<Readable> | null | undefined;
  if (typeof stream?.pipe === 'function') {
    const through = new PassThrough();
    // Told where it is read, or by the client that is gone.
    through.on('error', () => undefined);
    (body as Readable).pipe(through);
    return { body: through, type: String(headers['content-type']) };
  }
  if (method === 'GET' || body === undefined || body === null) return { body: null };
  return { body: JSON.stringify(body), type: 'application/json' };
}

async function works(service: Asking, node: NodeView): Promise<boolean> {
  try {
    const answer = await send(`${originOf(node)}/v1/health`, {
      headers: headersOf(service),
      signal: AbortSignal.timeout(healthTimeoutMs),
    });
    const health = parsed(await answer.body.text()) as { status?: unknown } | null;
    return answer.statusCode === 200 && health?.status === 'ok';
  } catch {
    return false;
  }
}

function headersOf({ nodeName, secret }: Asking): Record<string, string> {
  return { authorization: `Bearer ${secret ?? ''}`, [forwardedHeader]: nodeName };
}

function originOf({ address, apiPort }: NodeView): string {
  return `http://${address.includes(':') ? `[${address}]` : address}:${apiPort}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
