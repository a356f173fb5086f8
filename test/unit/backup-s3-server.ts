/**
 * A server with the API of S3, behind a proxy that can refuse requests. The server checks no
 * signatures and takes no notice of `If-None-Match` when it stores objects, as some stores.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { startFauxqs } from 'fauxqs';
import type { S3Options } from '../../src/backup/index.ts';

export type Refusal = { status: number; code: string };

export type S3Server = {
  options: S3Options;
  /** Methods and paths of all requests, in order. */
  requests: string[];
  /** Decides about each request; undefined lets it through. */
  refuse: (request: IncomingMessage) => Refusal | undefined | Promise<Refusal | undefined>;
  close: () => Promise<void>;
};

/** @param tls key and certificate to speak TLS with. */
export async function startS3(tls?: { key: string; cert: string }): Promise<S3Server> {
  const real = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false });
  real.createBucket('backups');
  const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    pass(started, real.port, incoming, outgoing).catch((error: unknown) => {
      outgoing.destroy(error instanceof Error ? error : undefined);
    });
  };
  const proxy = tls === undefined ? createServer(onRequest) : createTlsServer(tls, onRequest);
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const started: S3Server = {
    options: {
      ...{ bucket: 'backups', prefix: 'site/a', region: 'eu-central-1', pathStyle: true },
      endpoint: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      credentials: { accessKeyId: 'somebody', secretAccessKey: 'somebody' },
      attempts: 4,
    },
    requests: [],
    refuse: () => undefined,
    close: async () => {
      proxy.closeAllConnections();
      await new Promise((resolve) => proxy.close(resolve));
      await real.stop();
    },
  };
  return started;
}

async function pass(
  server: S3Server,
  port: number,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  server.requests.push(`${incoming.method} ${incoming.url}`);
  const refusal = await server.refuse(incoming);
  if (refusal !== undefined) {
    incoming.resume();
    outgoing.writeHead(refusal.status, { 'content-type': 'application/xml' });
    outgoing.end(`<Error><Code>${refusal.code}</Code><Message>refused</Message></Error>`);
    return;
  }
  const { headers, method, url } = incoming;
  await new Promise<void>((resolve, reject) => {
    const onwards = request({ host: '127.0.0.1', port, method, path: url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing).on('finish', resolve);
    });
    onwards.on('error', reject);
    incoming.pipe(onwards);
  });
}
