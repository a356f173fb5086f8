/**
 * Keys of an encrypted repository, all derived from what the operator's key file holds. That is
 * stretched by scrypt, so that a passphrase is not tried a million times a second.
 */
import { createHmac, hkdfSync, scrypt, timingSafeEqual, webcrypto } from 'node:crypto';
import { promisify } from 'node:util';
import { HyperscaleError } from '../errors.ts';

export type CryptoKey = webcrypto.CryptoKey;

/** Fixed by the format, not read from the repository: nobody else may choose how dear a key is. */
const cost = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 2 ** 20 };
const minKeyBytes = 16;
const maxKeyBytes = 64 * 1024;
/** Derived keys kept; one is needed for each session that a backup refers to. */
const maxCached = 1000;

const derive = promisify<Buffer, Buffer, number, typeof cost, Buffer>(scrypt);

/** The keys of one repository, as an operator's key gives them. */
export class Keys {
  readonly #master: Buffer;
  readonly #cached = new Map<string, Promise<CryptoKey>>();

  private constructor(master: Buffer) {
    this.#master = master;
  }

  /** @throws `bad-input` when the key is too short to be one, or absurdly long. */
  static async derive(operatorKey: Buffer, salt: Buffer): Promise<Keys> {
    const { length } = operatorKey;
    if (length < minKeyBytes || length > maxKeyBytes) {
      throw new HyperscaleError('bad-input', `the key has ${length} bytes`, {
        hint: `A key file has ${minKeyBytes} to ${maxKeyBytes} bytes; make one with: head -c 32 /dev/urandom > FILE`,
      });
    }
    return new Keys(await derive(operatorKey, salt, 32, cost));
  }

  /** Names the content of a volume's objects: equal in one volume, unrelated between volumes. */
  async naming(volume: string): Promise<CryptoKey> {
    const algorithm = { name: 'HMAC', hash: 'SHA-256' };
    return await this.#key(`names ${volume}`, algorithm, ['sign']);
  }

  /** Encrypts objects of one folder. A session's is its own, so no key meets many nonces. */
  async sealing(folder: string): Promise<CryptoKey> {
    return await this.#key(`seal ${folder}`, { name: 'AES-GCM' }, ['encrypt', 'decrypt']);
  }

  /** A code over a text that only who has the key can make. */
  code(text: string): string {
    return createHmac('sha256', this.#bytes('code')).update(text).digest('hex');
  }

  async #key(
    purpose: string,
    algorithm: { name: string; hash?: string },
    usages: ('sign' | 'encrypt' | 'decrypt')[],
  ): Promise<CryptoKey> {
    let key = this.#cached.get(purpose);
    if (key === undefined) {
      const [oldest] = this.#cached.keys();
      if (oldest !== undefined && this.#cached.size >= maxCached) this.#cached.delete(oldest);
      const bytes = this.#bytes(purpose);
      key = webcrypto.subtle.importKey('raw', bytes, algorithm, false, usages);
      this.#cached.set(purpose, key);
    }
    return await key;
  }

  #bytes(purpose: string): Uint8Array<ArrayBuffer> {
    return new Uint8Array(hkdfSync('sha256', this.#master, '', `hyperscale backup ${purpose}`, 32));
  }
}

export function sameCode(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
