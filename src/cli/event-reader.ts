import type { IncomingMessage } from 'node:http';
import type { EventAnswer } from '../api/schemas.ts';

/** An event, or word that events before `upTo` are not known any more. */
export type StreamItem = EventAnswer | { missed: true; upTo: number };

/** Reads a stream of server-sent events to its end. */
export async function* streamItems(response: IncomingMessage): AsyncGenerator<StreamItem> {
  let buffer = '';
  response.setEncoding('utf8');
  for await (const piece of response) {
    buffer += piece;
    const blocks = buffer.split('\n\n');
    buffer = blocks.pop() ?? '';
    for (const block of blocks) {
      const item = itemOf(block);
      if (item !== null) {
        yield item;
      }
    }
  }
}

function itemOf(block: string): StreamItem | null {
  const lines = block.split('\n');
  const fieldOf = (field: string) =>
    lines.find((line) => line.startsWith(`${field}: `))?.slice(field.length + 2);
  const data = fieldOf('data');
  if (data === undefined) {
    return null;
  }
  const value = JSON.parse(data);
  return fieldOf('event') === 'missed' ? { missed: true, upTo: value.upTo } : value;
}
