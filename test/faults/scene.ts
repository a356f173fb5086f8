/** What plays on the stage during a schedule: two volumes, and the machines that use them. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Consumer } from '../../lab/consumer.ts';
import { randomOf } from '../../lab/random.ts';
import type { EndpointAnswer } from '../../src/api/schemas.ts';
import type { Mend } from './fault.ts';
import { FioClient } from './fio-client.ts';
import { History } from './history.ts';
import { Machine } from './machine.ts';
import { RegisterClient } from './register-client.ts';
import { nodeNames, type Stage } from './stage.ts';
import { FaultVolume, membersOf } from './volume.ts';

const volumeBytes = 32 << 20;
/** Blocks that each machine writes, and both read. */
const blocksEach = 16;
/** Hosts of the machines that share the volume of the registers; the first one is its writer. */
const registerHosts = ['n1', 'n2'] as const;
const fioHost = 'n3';

export type SceneOptions = {
  /** Hosts of the machines of the registers; default: two. */
  hosts?: readonly string[];
  /** Whether fio works on a second volume; default: it does. */
  fio?: boolean;
};

const allBlocks = Array.from({ length: blocksEach * registerHosts.length }, (_, block) => block);

export class Scene {
  readonly history = new History();
  readonly registers: FaultVolume;
  readonly volumes: FaultVolume[];
  readonly clients: RegisterClient[] = [];
  readonly fio: FioClient;
  readonly machines: Machine[] = [];
  readonly #stage: Stage;

  private constructor(stage: Stage, registers: FaultVolume, others: FaultVolume[]) {
    this.#stage = stage;
    this.registers = registers;
    this.volumes = [registers, ...others];
    this.fio = new FioClient(join(stage.lab.directory, 'fio'));
  }

  /** Makes volumes and machines; `start` switches these on. */
  static async create(stage: Stage, seed: number, options: SceneOptions = {}): Promise<Scene> {
    const { lab } = stage;
    const name = `v${randomBytes(3).toString('hex')}`;
    const registers = await FaultVolume.create(lab, name, 'Gold', volumeBytes);
    const withFio = options.fio !== false;
    const second = withFio
      ? [await FaultVolume.create(lab, `${name}f`, 'Silver', volumeBytes)]
      : [];
    const scene = new Scene(stage, registers, second);
    const hosts = options.hosts ?? registerHosts;
    for (const [number, host] of hosts.entries()) scene.#addRegisters(host, number, seed);
    for (const { name: own } of second) {
      scene.machines.push(new Machine(lab, own, fioHost, scene.fio));
    }
    return scene;
  }

  #addRegisters(host: string, number: number, seed: number): void {
    const client = new RegisterClient({
      name: `machine@${host}`,
      history: this.history,
      random: randomOf(seed + number),
      writes: allBlocks.slice(number * blocksEach, (number + 1) * blocksEach),
      reads: allBlocks,
    });
    this.clients.push(client);
    this.machines.push(new Machine(this.#stage.lab, this.registers.name, host, client));
  }

  /** Switches the machines on, one after the other, so that the first one's host is the writer. */
  async start(): Promise<void> {
    for (const machine of this.machines) {
      machine.start();
      await machine.attached();
    }
  }

  /** Who a target is now; none while nobody plays that part. */
  async hostsOf(target: string): Promise<string[]> {
    switch (target) {
      case 'all':
        return [...nodeNames];
      case 'writer':
      case 'proxy':
      case 'reflection': {
        const state = await this.registers.show();
        if (state.head === null) return [];
        if (target === 'writer') return [state.head];
        const hosts =
          target === 'reflection'
            ? membersOf(state)
            : state.attachments.map((attachment) => attachment.host);
        return hosts.filter((host) => host !== state.head).slice(0, 1);
      }
      default:
        return target.split('+');
    }
  }

  /** Asks for a new epoch; false when it cannot be had now. */
  async seal(via: string): Promise<boolean> {
    const { api } = this.#stage.node(via);
    const path = `/v1/volumes/${this.registers.name}/seal`;
    const answer = await api.request('POST', path, undefined, 10_000).catch(() => undefined);
    return answer !== undefined && answer.status < 300;
  }

  /** Shuts the machine of a host down, which hands the volume over; the mend starts it again. */
  async shutDown(host: string): Promise<Mend | undefined> {
    const machine = this.machines.find((each) => each.host === host && each.runs);
    if (machine === undefined) return undefined;
    await machine.leave();
    return async () => machine.start();
  }

  /** Shuts all machines down. */
  async stop(): Promise<void> {
    await Promise.all(this.machines.map((machine) => machine.leave()));
  }

  /** Reads every block on every node, one after the other, as part of the history. */
  async readEverywhere(): Promise<void> {
    for (const host of nodeNames) {
      const { history } = this;
      const random = randomOf(0);
      const name = `check@${host}`;
      const client = new RegisterClient({ name, history, random, writes: [], reads: allBlocks });
      const path = `/v1/volumes/${this.registers.name}/attachments`;
      const node = this.#stage.node(host);
      const { socket, session } = await node.api.call<EndpointAnswer>('POST', path, { host });
      const directory = join(this.#stage.lab.directory, `m-${randomBytes(3).toString('hex')}`);
      const consumer = await Consumer.start({ socket, export: session, directory });
      try {
        await client.readAll(consumer);
      } finally {
        await consumer.kill();
      }
      await node.api.call('DELETE', `${path}/${host}`);
    }
  }

  /** Deletes the volumes; all machines must have left. */
  async remove(): Promise<void> {
    for (const { name } of this.volumes) {
      await this.#stage.lab.nodes[0]?.api.call('DELETE', `/v1/volumes/${name}`);
    }
  }
}
