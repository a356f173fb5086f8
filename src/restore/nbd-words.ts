/**
 * The numbers of the NBD protocol that a read-only server needs
 * (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md).
 */

export const magic = {
  server: Buffer.from('NBDMAGICIHAVEOPT'),
  option: Buffer.from('IHAVEOPT'),
  optionReply: 0x3e889045565a9n,
  request: 0x25609513,
  simpleReply: 0x67446698,
  structuredReply: 0x668e33ef,
} as const;

/** Fixed newstyle, without the zeros that only old clients expect. */
export const handshakeFlags = 0b11;

export const option = {
  abort: 2,
  info: 6,
  go: 7,
  structuredReply: 8,
  setMetaContext: 10,
} as const;

export const optionReply = {
  ack: 1,
  info: 3,
  metaContext: 4,
  unsupported: 0x8000_0001,
  invalid: 0x8000_0003,
  unknown: 0x8000_0006,
} as const;

export const infoExport = 0;
export const infoBlockSize = 3;

/** The export has flags, is read-only, and several connections see the same. */
export const exportFlags = 0b1_0000_0011;

export const command = { read: 0, disconnect: 2, blockStatus: 7 } as const;

export const chunk = { none: 0, offsetData: 1, blockStatus: 5, error: 0x8001 } as const;
export const lastChunk = 1;

/** A part that reads as zeros, and takes no space. */
export const holeAndZero = 0b11;
export const allocationContext = 'base:allocation';
export const allocationContextId = 1;

export const errno = { io: 5, invalid: 22, shutdown: 108 } as const;

/** What clients ask for at once at most; the protocol lets a server refuse more. */
export const maxReadBytes = 32 * 2 ** 20;
