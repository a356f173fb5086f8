import type { ServerResponse } from 'node:http';
import type { NodeEvent, NodeService } from './service.ts';

const heartbeatMs = 15_000;

/**
 * Streams events to one client until it goes away. Nothing is queued for a client beyond what its
 * socket takes: while it does not read, events stay in the daemon's ring, and it gets them from
 * there once it reads again. One that did not read for a whole heartbeat is cut.
 * @param after send kept events newer than this id first; null: only what happens from now on.
 */
export function followEvents(
  service: NodeService,
  response: ServerResponse,
  after: number | null,
  wanted: (event: NodeEvent) => boolean,
): void {
  const kept = service.eventsAfter(0);
  const newest = kept.at(-1)?.id ?? 0;
  let last = after ?? newest;
  let blocked = false;

  const write = (text: string) => {
    blocked = !response.write(text) || blocked;
  };
  const send = (event: NodeEvent) => {
    last = event.id;
    if (wanted(event)) {
      write(`id: ${event.id}\ndata: ${JSON.stringify(event)}\n\n`);
    }
  };
  const catchUp = () => {
    for (const event of service.eventsAfter(last)) {
      if (blocked) {
        return;
      }
      // Ids are consecutive; 0 asks for whatever is kept.
      if (event.id > last + 1 && last > 0) {
        missed(event.id - 1);
      }
      send(event);
    }
  };
  const missed = (upTo: number) => {
    write(`id: ${upTo}\nevent: missed\ndata: ${JSON.stringify({ after: last, upTo })}\n\n`);
  };

  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  write('retry: 1000\n\n');
  if (last > newest) {
    // The client knows ids of an earlier run of the daemon.
    const known = last;
    last = 0;
    write(`id: 0\nevent: missed\ndata: ${JSON.stringify({ after: known, upTo: 0 })}\n\n`);
  }
  catchUp();

  const unsubscribe = service.onEvent(() => {
    if (!blocked) {
      catchUp();
    }
  });
  let blockedBefore = false;
  const heartbeat = setInterval(() => {
    if (blocked && blockedBefore) {
      response.destroy();
      return;
    }
    blockedBefore = blocked;
    if (!blocked) {
      write(': still here\n\n');
    }
  }, heartbeatMs);
  response.on('drain', () => {
    blocked = false;
    blockedBefore = false;
    catchUp();
  });
  response.on('error', () => response.destroy());
  response.once('close', () => {
    unsubscribe();
    clearInterval(heartbeat);
  });
}
