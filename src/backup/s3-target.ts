/** A repository in a bucket of an S3-compatible store. */
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { HyperscaleError } from '../errors.ts';
import { hasStatus, s3Error } from './s3-errors.ts';
import type { ObjectSize, Target } from './target.ts';
import { checkCancelled, checkFolder, checkObjectName, isObjectName, tooLong } from './target.ts';

export type S3Options = {
  bucket: string;
  /** Before all names, so that a bucket can hold other things too; default none. */
  prefix?: string;
  /** Default: that of AWS for the region. */
  endpoint?: string;
  /** Stores that are not AWS mostly take any; default us-east-1. */
  region?: string;
  /** The bucket in the path and not in the host name, as most stores but AWS want it. */
  pathStyle?: boolean;
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
  /** Certificates (PEM) to trust instead of the system's. */
  ca?: string;
  /** Tries of one request, with growing pauses, while the store is busy or not reached; default 8. */
  attempts?: number;
};

const connectTimeoutMs = 10_000;
const requestTimeoutMs = 120_000;
const defaultAttempts = 8;
const prefixPattern = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$/;

type Sdk = typeof import('@aws-sdk/client-s3');

/**
 * Reaches nothing yet. The client is loaded here, so that who has no such target does not wait for it.
 * @throws `bad-input`.
 */
export async function openS3Target(options: S3Options): Promise<Target> {
  const { bucket, prefix = '' } = options;
  if (!/^[a-z0-9][a-z0-9.-]{1,62}$/.test(bucket)) {
    throw new HyperscaleError('bad-input', `${JSON.stringify(bucket)} is not the name of a bucket`);
  }
  if (prefix !== '' && (!prefixPattern.test(prefix) || /\/\/|\.\.|\/$/.test(prefix))) {
    throw new HyperscaleError('bad-input', `${JSON.stringify(prefix)} is not a valid prefix`);
  }
  if (options.endpoint !== undefined && !/^https?:\/\/[^\s/]+/.test(options.endpoint)) {
    throw new HyperscaleError('bad-input', `${options.endpoint} is not the URL of an S3 endpoint`);
  }
  const sdk = await import('@aws-sdk/client-s3');
  return new S3Target(sdk, new sdk.S3Client(clientConfig(options)), options);
}

function clientConfig(options: S3Options): S3ClientConfig {
  const { attempts, ca, credentials, endpoint, pathStyle, region } = options;
  return {
    region: region ?? 'us-east-1',
    credentials,
    forcePathStyle: pathStyle ?? false,
    maxAttempts: attempts ?? defaultAttempts,
    // Others than AWS may not know the newer checksums; ours are inside the objects.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: connectTimeoutMs,
      requestTimeout: requestTimeoutMs,
      throwOnRequestTimeout: true,
      ...(ca === undefined ? {} : { httpsAgent: { ca } }),
    },
    ...(endpoint === undefined ? {} : { endpoint }),
  };
}

class S3Target implements Target {
  readonly description: string;
  /** S3 is consistent: what was put is listed. */
  readonly listingLagMs = 0;
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor(sdk: Sdk, client: S3Client, options: S3Options) {
    const { bucket, endpoint, prefix = '' } = options;
    this.#sdk = sdk;
    this.#client = client;
    this.#bucket = bucket;
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
    this.description = `s3://${bucket}/${prefix}${endpoint === undefined ? '' : ` at ${endpoint}`}`;
  }

  async get(name: string, maxBytes: number, signal?: AbortSignal): Promise<Buffer | null> {
    return await this.#unlessMissing(name, signal, async (at) => {
      const command = new this.#sdk.GetObjectCommand(at);
      const { Body, ContentLength } = await this.#client.send(command, withSignal(signal));
      if (Body === undefined) return Buffer.alloc(0);
      if (ContentLength === undefined || ContentLength > maxBytes) {
        if ('destroy' in Body) Body.destroy();
        throw tooLong(name, ContentLength ?? Number.NaN, maxBytes);
      }
      // No more than the length it said can come: HTTP ends there.
      return Buffer.from(await Body.transformToByteArray());
    });
  }

  async size(name: string, signal?: AbortSignal): Promise<number | null> {
    return await this.#unlessMissing(name, signal, async (at) => {
      const command = new this.#sdk.HeadObjectCommand(at);
      return (await this.#client.send(command, withSignal(signal))).ContentLength ?? 0;
    });
  }

  async put(name: string, content: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#on(name, signal, async (at) => {
      const command = new this.#sdk.PutObjectCommand({ ...at, Body: content });
      await this.#client.send(command, withSignal(signal));
    });
  }

  async putIfAbsent(name: string, content: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    // For stores that take no notice of the condition. All names but one are random anyway.
    if ((await this.size(name, signal)) !== null) return false;
    return await this.#on(name, signal, async (at) => {
      const put = { ...at, Body: content, IfNoneMatch: '*' };
      try {
        await this.#client.send(new this.#sdk.PutObjectCommand(put), withSignal(signal));
        return true;
      } catch (error) {
        if (!hasStatus(error, 409, 412)) throw error;
        return false;
      }
    });
  }

  async delete(name: string, signal?: AbortSignal): Promise<void> {
    await this.#unlessMissing(name, signal, async (at) => {
      await this.#client.send(new this.#sdk.DeleteObjectCommand(at), withSignal(signal));
      return null;
    });
  }

  async flush(): Promise<void> {}

  async *names(folder: string, signal?: AbortSignal): AsyncIterable<string> {
    for await (const { name } of this.sizes(folder, signal)) yield name;
  }

  async *sizes(folder: string, signal?: AbortSignal): AsyncIterable<ObjectSize> {
    for await (const { Contents = [] } of this.#pages(folder, undefined, signal)) {
      for (const { Key = '', Size = 0 } of Contents) {
        const name = Key.slice(this.#prefix.length);
        const ours = Key.startsWith(this.#prefix) && name.startsWith(folder);
        if (ours && isObjectName(name)) yield { name, bytes: Size };
      }
    }
  }

  async *folders(folder: string, signal?: AbortSignal): AsyncIterable<string> {
    const start = this.#prefix.length + folder.length;
    for await (const { CommonPrefixes = [] } of this.#pages(folder, '/', signal)) {
      for (const { Prefix = '' } of CommonPrefixes) {
        const name = Prefix.slice(start, -1);
        if (isObjectName(name) && !name.includes('/')) yield name;
      }
    }
  }

  close(): void {
    this.#client.destroy();
  }

  async *#pages(folder: string, delimiter: string | undefined, signal: AbortSignal | undefined) {
    checkFolder(folder);
    let token: string | undefined;
    do {
      checkCancelled(signal);
      const input = { Bucket: this.#bucket, Prefix: `${this.#prefix}${folder}` };
      const command = new this.#sdk.ListObjectsV2Command({
        ...input,
        ...(delimiter === undefined ? {} : { Delimiter: delimiter }),
        ...(token === undefined ? {} : { ContinuationToken: token }),
      });
      const page = await this.#send(folder, signal, () =>
        this.#client.send(command, withSignal(signal)),
      );
      yield page;
      const next = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      if (next !== undefined && next === token) {
        throw new HyperscaleError('damaged', `${this.description} lists ${folder} without an end`);
      }
      token = next;
    } while (token !== undefined);
  }

  /** Null where there is no such object. */
  async #unlessMissing<T>(
    name: string,
    signal: AbortSignal | undefined,
    work: (at: { Bucket: string; Key: string }) => Promise<T>,
  ): Promise<T | null> {
    return await this.#on(name, signal, async (at) => {
      try {
        return await work(at);
      } catch (error) {
        // No bucket is no missing object.
        if (!hasStatus(error, 404) || (error as Error).name === 'NoSuchBucket') throw error;
        return null;
      }
    });
  }

  async #on<T>(
    name: string,
    signal: AbortSignal | undefined,
    work: (at: { Bucket: string; Key: string }) => Promise<T>,
  ): Promise<T> {
    checkObjectName(name);
    checkCancelled(signal);
    const at = { Bucket: this.#bucket, Key: `${this.#prefix}${name}` };
    return await this.#send(name, signal, () => work(at));
  }

  async #send<T>(
    name: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    try {
      return await work();
    } catch (error) {
      checkCancelled(signal);
      throw s3Error(error, `${name} in ${this.description}`);
    }
  }
}

function withSignal(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}
