/**
 * What a virtual machine is to the cluster: attached on its host, a consumer that reconnects and
 * repeats, and something that does I/O. It dies with its host, is reset when its attachment was
 * taken from it, and comes back as soon as its volume can be attached again.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabCluster } from '../../lab/cluster.ts';
import { Consumer } from '../../lab/consumer.ts';
import type { EndpointAnswer, VolumeAnswer } from '../../src/api/schemas.ts';
import { HyperscaleError } from '../../src/errors.ts';

/** Does I/O through a consumer until told to stop, or until the consumer is gone. */
export type Workload = {
  run(consumer: Consumer, stop: AbortSignal): Promise<void>;
  /** From now on nothing that an earlier consumer had sent can take effect. */
  settled(): void;
};

/** How often the machine looks whether it is still attached, and tries to become so. */
const lookEveryMs = 300;
const attachWithinMs = 20_000;
const detachWithinMs = 60_000;
/** I/O that hangs does not keep a machine from being shut down for longer. */
const stopWithinMs = 10_000;

export class Machine {
  readonly host: string;
  readonly #lab: LabCluster;
  readonly #path: string;
  readonly #workload: Workload;
  #stop = new AbortController();
  #life: Promise<void> = Promise.resolve();
  #session: string | null = null;
  /** Times that it was attached. */
  lives = 0;

  constructor(lab: LabCluster, volume: string, host: string, workload: Workload) {
    this.#lab = lab;
    this.#path = `/v1/volumes/${volume}`;
    this.host = host;
    this.#workload = workload;
  }

  /** True while it has an attachment and a consumer that lives. */
  get runs(): boolean {
    return this.#session !== null;
  }

  /** Switches the machine on; it attaches as soon as that is possible. */
  start(): void {
    this.#stop = new AbortController();
    this.#life = this.#live(this.#stop.signal);
  }

  /** Resolves once it is attached; it never is while nobody can serve its volume. */
  async attached(): Promise<void> {
    while (!this.runs) await sleep(20);
  }

  /** Shuts it down in good order and detaches its volume. */
  async leave(): Promise<void> {
    this.#stop.abort();
    await this.#life;
    await this.#detach();
    this.#workload.settled();
  }

  /** Asks until it is done: faults may be in the way. */
  async #detach(): Promise<void> {
    const { api } = this.#lab.node(this.host);
    const path = `${this.#path}/attachments/${this.host}`;
    const deadline = performance.now() + detachWithinMs;
    for (;;) {
      const answer = await api
        .request('DELETE', path, undefined, attachWithinMs)
        .catch((error: unknown) => ({ status: 0, body: String(error) }));
      if (answer.status >= 200 && answer.status < 300) return;
      if (performance.now() > deadline) {
        const told = `${answer.status} ${JSON.stringify(answer.body)}`;
        throw new HyperscaleError('timeout', `${path} was not detached: ${told}`);
      }
      await sleep(lookEveryMs);
    }
  }

  async #live(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const endpoint = await this.#attach();
      if (endpoint === undefined) {
        await sleep(lookEveryMs);
        continue;
      }
      this.#workload.settled();
      // A host that dies this moment takes the consumer with it; the next look starts over.
      const consumer = await this.#consumer(endpoint).catch(() => undefined);
      if (consumer === undefined) continue;
      this.lives += 1;
      this.#session = endpoint.session;
      await this.#work(consumer, endpoint.session, stop);
      this.#session = null;
      await consumer.kill();
    }
  }

  async #attach(): Promise<EndpointAnswer | undefined> {
    const { api } = this.#lab.node(this.host);
    const body = { host: this.host };
    const answer = await api
      .request<EndpointAnswer>('POST', `${this.#path}/attachments`, body, attachWithinMs)
      .catch(() => undefined);
    return answer !== undefined && answer.status < 300 ? answer.body : undefined;
  }

  #consumer({ socket, session }: EndpointAnswer): Promise<Consumer> {
    const directory = join(this.#lab.directory, `m-${randomBytes(3).toString('hex')}`);
    return Consumer.start({ socket, export: session, directory, host: this.#lab.node(this.host) });
  }

  /** Ends when the machine was shut down, when its consumer is gone, or when it was fenced. */
  async #work(consumer: Consumer, session: string, stop: AbortSignal): Promise<void> {
    let over = false;
    const work = this.#workload.run(consumer, stop).finally(() => {
      over = true;
    });
    let patience = stopWithinMs;
    while (!over && patience > 0) {
      await Promise.race([work, sleep(lookEveryMs)]);
      if (stop.aborted) patience -= lookEveryMs;
      if (!over && (await this.#fenced(session))) break;
    }
    await consumer.kill();
    await work;
  }

  /** True when the record says that this session is over: the machine must not go on. */
  async #fenced(session: string): Promise<boolean> {
    const { api } = this.#lab.node(this.host);
    const answer = await api
      .request<VolumeAnswer>('GET', this.#path, undefined, lookEveryMs)
      .catch(() => undefined);
    if (answer === undefined || answer.status !== 200) return false;
    return !answer.body.attachments.some((attachment) => attachment.session === session);
  }
}
