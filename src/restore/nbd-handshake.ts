import type { Socket } from 'node:net';
import {
  allocationContext,
  allocationContextId,
  exportFlags,
  handshakeFlags,
  infoBlockSize,
  infoExport,
  magic,
  maxReadBytes,
  option,
  optionReply,
} from './nbd-words.ts';
import type { SocketInput } from './socket-input.ts';

/** What a client wants to hear. */
export type Agreed = {
  /** Reads may be answered in chunks, errors with a text. */
  structured: boolean;
  /** It asks where there are only zeros. */
  allocation: boolean;
};

/** An option's text is an export's name and some numbers. */
const maxOptionBytes = 8_192;
const maxOptions = 64;
/** The least, the best and the most that a read may have. */
const blockSizes = { least: 1, best: 4_096, most: maxReadBytes };

/**
 * Speaks with a client until both know what is served.
 * @param name of the one export there is; null: it is served by any name.
 * @returns null when the client leaves, or is none.
 */
export async function handshake(
  socket: Socket,
  input: SocketInput,
  sizeBytes: number,
  name: string | null,
): Promise<Agreed | null> {
  const hello = Buffer.alloc(18);
  magic.server.copy(hello);
  hello.writeUInt16BE(handshakeFlags, 16);
  socket.write(hello);
  if ((await input.take(4)) === null) return null;
  const agreed: Agreed = { structured: false, allocation: false };
  for (let asked = 0; asked < maxOptions; asked += 1) {
    const header = await input.take(16);
    if (header === null || !header.subarray(0, 8).equals(magic.option)) return null;
    const kind = header.readUInt32BE(8);
    const length = header.readUInt32BE(12);
    if (length > maxOptionBytes) return null;
    const text = await input.take(length);
    if (text === null) return null;
    const reply = (type: number, content?: Buffer) => {
      socket.write(optionReplyOf(kind, type, content));
    };
    switch (kind) {
      case option.structuredReply:
        agreed.structured = true;
        reply(optionReply.ack);
        break;
      case option.setMetaContext:
        if (agreed.structured && wantsAllocation(text)) {
          agreed.allocation = true;
          reply(optionReply.metaContext, contextOf());
        }
        reply(optionReply.ack);
        break;
      case option.info:
      case option.go:
        if (name !== null && exportIn(text) !== name) {
          reply(optionReply.unknown);
          break;
        }
        for (const info of infosOf(sizeBytes)) reply(optionReply.info, info);
        reply(optionReply.ack);
        if (kind === option.go) return agreed;
        break;
      case option.abort:
        reply(optionReply.ack);
        return null;
      default:
        reply(optionReply.unsupported);
    }
  }
  return null;
}

function optionReplyOf(kind: number, type: number, content: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(20);
  header.writeBigUInt64BE(magic.optionReply, 0);
  header.writeUInt32BE(kind, 8);
  header.writeUInt32BE(type, 12);
  header.writeUInt32BE(content.length, 16);
  return Buffer.concat([header, content]);
}

/** The name of the export that is asked for. */
function exportIn(text: Buffer): string {
  return text.length < 4 ? '' : text.subarray(4, 4 + text.readUInt32BE(0)).toString('utf8');
}

/** True when one of the contexts that are asked for is where there is data. */
function wantsAllocation(text: Buffer): boolean {
  // Length and name of the export, then how many names of contexts follow, each with its length.
  let at = 4 + (text.length < 4 ? 0 : text.readUInt32BE(0));
  if (at + 4 > text.length) return false;
  let names = text.readUInt32BE(at);
  at += 4;
  for (; names > 0 && at + 4 <= text.length; names -= 1) {
    const length = text.readUInt32BE(at);
    const name = text.subarray(at + 4, at + 4 + length).toString('latin1');
    if (name === allocationContext) return true;
    at += 4 + length;
  }
  return false;
}

function contextOf(): Buffer {
  const context = Buffer.alloc(4 + allocationContext.length);
  context.writeUInt32BE(allocationContextId, 0);
  context.write(allocationContext, 4, 'latin1');
  return context;
}

function infosOf(sizeBytes: number): Buffer[] {
  const shown = Buffer.alloc(12);
  shown.writeUInt16BE(infoExport, 0);
  shown.writeBigUInt64BE(BigInt(sizeBytes), 2);
  shown.writeUInt16BE(exportFlags, 10);
  const blocks = Buffer.alloc(14);
  blocks.writeUInt16BE(infoBlockSize, 0);
  blocks.writeUInt32BE(blockSizes.least, 2);
  blocks.writeUInt32BE(blockSizes.best, 6);
  blocks.writeUInt32BE(blockSizes.most, 10);
  return [shown, blocks];
}
