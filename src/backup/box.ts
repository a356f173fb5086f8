/**
 * The form of every stored object: a head, then the content, compressed where that helps and
 * encrypted where the repository is. Opening one proves that it is what was put there.
 *
 *     0  magic "HSBK"          8  length of the content, 4 bytes
 *     4  version 1            12  digest of kind and content, 32 bytes
 *     5  kind                 44  encrypted: nonce of 12 bytes, ciphertext, tag of 16 bytes
 *     6  1 compressed | 2 encrypted    else: the content
 *     7  0
 */
import { webcrypto } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import { errorText, HyperscaleError } from '../errors.ts';
import type { CryptoKey } from './keys.ts';

export type Kind = 'chunk' | 'page' | 'root' | 'manifest' | 'pin';

const kinds: Record<Kind, number> = { chunk: 1, page: 2, root: 3, manifest: 4, pin: 5 };
const magic = Buffer.from('HSBK');
const version = 1;
const compressedFlag = 1;
const encryptedFlag = 2;
const headBytes = 44;
const nonceBytes = 12;
const tagBytes = 16;
const digestStart = 12;
/** More than an object can be longer than its content. */
export const boxOverheadBytes = headBytes + nonceBytes + tagBytes;

const { subtle } = webcrypto;
const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);
const compression = { params: { [constants.ZSTD_c_compressionLevel]: 3 } };
/** A frame may ask for a window of 16 MiB at most, as much as the largest content. */
const maxWindowLog = 24;

/** Names content: its SHA-256, or HMAC-SHA-256 under a key that only the operator has. */
export async function digestOf(
  kind: Kind,
  content: Uint8Array,
  key: CryptoKey | null,
): Promise<string> {
  const bytes = new Uint8Array(content.length + 1);
  bytes[0] = kinds[kind];
  bytes.set(content, 1);
  const digest =
    key === null ? await subtle.digest('SHA-256', bytes) : await subtle.sign('HMAC', key, bytes);
  return Buffer.from(digest).toString('hex');
}

export type SealOptions = {
  kind: Kind;
  content: Buffer;
  /** As `digestOf` gives it. */
  digest: string;
  /** The object's name: an encrypted one opens only under it. */
  name: string;
  key: CryptoKey | null;
  compress: boolean;
};

export async function sealBox(options: SealOptions): Promise<Buffer> {
  const { content, digest, key, kind } = options;
  const smaller = options.compress ? await compressed(content) : null;
  const head = Buffer.alloc(headBytes);
  magic.copy(head);
  head[4] = version;
  head[5] = kinds[kind];
  head[6] = (smaller === null ? 0 : compressedFlag) | (key === null ? 0 : encryptedFlag);
  head.writeUInt32BE(content.length, 8);
  head.write(digest, digestStart, 'hex');
  const body = smaller ?? content;
  if (key === null) return Buffer.concat([head, body]);
  const iv = webcrypto.getRandomValues(new Uint8Array(nonceBytes));
  const algorithm = { name: 'AES-GCM', iv, additionalData: bound(head, options.name) };
  return Buffer.concat([head, iv, Buffer.from(await subtle.encrypt(algorithm, key, plain(body)))]);
}

export type OpenOptions = {
  kind: Kind;
  box: Buffer;
  name: string;
  /** Opens the box; null in a repository that is not encrypted. */
  key: CryptoKey | null;
  /** Under which the content was named. */
  namingKey: CryptoKey | null;
  /** What the content must be; undefined for objects that are not named after it. */
  digest?: string;
  /** The longest content that is right. */
  maxBytes: number;
};

/**
 * The content of a box.
 * @throws `damaged` unless it is exactly what was sealed. Also when it says that it is of another
 *   version: all of a repository is of one, and whoever opened this one knows it.
 */
export async function openBox(options: OpenOptions): Promise<Buffer> {
  const { box, key, kind, maxBytes, name } = options;
  const bad = (why: string, cause?: unknown) =>
    new HyperscaleError('damaged', `${name} ${why}`, { values: { name }, cause });
  const head = box.subarray(0, headBytes);
  if (head.length < headBytes) throw bad('is truncated');
  if (!head.subarray(0, magic.length).equals(magic)) throw bad('is not of a backup repository');
  if (head[4] !== version) throw bad(`says that it has version ${head[4]} of the backup format`);
  const flags = head[6] ?? 0;
  if (head[5] !== kinds[kind] || flags > (compressedFlag | encryptedFlag) || head[7] !== 0) {
    throw bad(`is not a ${kind}`);
  }
  if ((flags & encryptedFlag) === 0 ? key !== null : key === null) {
    throw bad(key === null ? 'is encrypted' : 'is not encrypted, but the repository is');
  }
  const length = head.readUInt32BE(8);
  if (length > maxBytes)
    throw bad(`says that it holds ${length} bytes, at most ${maxBytes} are right`);
  let content = box.subarray(headBytes);
  if (key !== null) {
    const algorithm = {
      name: 'AES-GCM',
      iv: plain(content.subarray(0, nonceBytes)),
      additionalData: bound(head, name),
    };
    const sealed = plain(content.subarray(nonceBytes));
    content = Buffer.from(
      await subtle.decrypt(algorithm, key, sealed).catch((error: unknown) => {
        throw bad('does not open with the key', error);
      }),
    );
  }
  if ((flags & compressedFlag) !== 0) {
    const params = { [constants.ZSTD_d_windowLogMax]: maxWindowLog };
    // At least 1, which is zlib's least; the length is compared below.
    const bound = { params, maxOutputLength: Math.max(length, 1) };
    content = await decompress(content, bound).catch((error: unknown) => {
      throw bad(`does not decompress to ${length} bytes: ${errorText(error)}`, error);
    });
  }
  if (content.length !== length) throw bad(`holds ${content.length} bytes instead of ${length}`);
  const digest = await digestOf(kind, content, options.namingKey);
  if (digest !== head.toString('hex', digestStart, digestStart + 32))
    throw bad('has other content');
  if (options.digest !== undefined && options.digest !== digest) {
    throw bad('has the content of another object');
  }
  return content;
}

/** Null when it would not become smaller. */
async function compressed(content: Buffer): Promise<Buffer | null> {
  const smaller = await compress(content, compression);
  return smaller.length < content.length ? smaller : null;
}

/** What the tag of an encrypted box covers besides the ciphertext. */
function bound(head: Buffer, name: string): Uint8Array<ArrayBuffer> {
  return plain(Buffer.concat([head, Buffer.from(name)]));
}

/** The same bytes, typed as WebCrypto wants them: nothing here lies in shared memory. */
function plain(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>;
}
