/**
 * The network of a lab: each node host is a network namespace with its own address, joined by
 * a bridge in a hub namespace. Nothing appears in the root namespace.
 */
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { promisify } from 'node:util';
import { HyperscaleError } from '../src/errors.ts';
import { destroyNamespaces, type LabRecord, namespacePrefix } from './home.ts';

const run = promisify(execFile);

type Host = { namespace: string; address: string; number: number; port: string };

/** The nft table of a host whose packets are lost. */
const lossTable = 'lab_loss';

async function nft(namespace: string, rules: string): Promise<void> {
  try {
    await run('nsenter', [`--net=/run/netns/${namespace}`, '--', 'nft', rules]);
  } catch (error) {
    throw new HyperscaleError('internal', `nft '${rules}' failed: ${String(error)}`, {
      hint: 'A lab that loses packets needs the nftables package.',
      cause: error,
    });
  }
}

async function iproute(program: 'ip' | 'tc', args: string[]): Promise<void> {
  try {
    await run(program, args);
  } catch (error) {
    throw new HyperscaleError('internal', `${program} ${args.join(' ')} failed: ${String(error)}`, {
      hint: 'A lab needs root and the iproute2 package.',
      cause: error,
    });
  }
}

const ip = (...args: string[]): Promise<void> => iproute('ip', args);
const tc = (...args: string[]): Promise<void> => iproute('tc', args);

export class LabNetwork {
  readonly id: string;
  readonly #hub: string;
  readonly #subnet: string;
  readonly #hosts = new Map<string, Host>();
  #ports = 0;

  private constructor(id: string) {
    this.id = id;
    this.#hub = `${namespacePrefix(id)}hub`;
    // Namespaces are isolated, so any subnet will do; a random one shows up hard-coded addresses.
    this.#subnet = `10.${randomInt(1, 255)}.${randomInt(1, 255)}`;
  }

  /** Makes the hub of a lab's network. */
  static async create(home: Pick<LabRecord, 'id'>): Promise<LabNetwork> {
    const network = new LabNetwork(home.id);
    await ip('netns', 'add', network.#hub);
    await ip('-n', network.#hub, 'link', 'add', 'br0', 'type', 'bridge');
    await ip('-n', network.#hub, 'link', 'set', 'br0', 'up');
    return network;
  }

  /** Adds a host and returns its address. The name is free of the limits of interface names. */
  async addNode(name: string): Promise<string> {
    if (!/^[a-z0-9-]+$/.test(name) || name === 'hub' || this.#hosts.has(name)) {
      throw new HyperscaleError('bad-input', `'${name}' cannot be the name of a new host`);
    }
    const number = this.#hosts.size + 1;
    const host: Host = {
      namespace: `${namespacePrefix(this.id)}${name}`,
      address: `${this.#subnet}.${number}`,
      number,
      port: '',
    };
    this.#hosts.set(name, host);
    await this.#build(host);
    return host.address;
  }

  async #build(host: Host): Promise<void> {
    // A port name is used once: the old port of a rebuilt host goes away only some time later.
    host.port = `port${++this.#ports}`;
    const { namespace, port } = host;
    await ip('netns', 'add', namespace);
    const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace];
    await ip('link', 'add', port, 'netns', this.#hub, ...peer);
    await ip('-n', this.#hub, 'link', 'set', port, 'master', 'br0', 'up');
    await ip('-n', namespace, 'address', 'add', `${host.address}/24`, 'dev', 'eth0');
    await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    await ip('-n', namespace, 'link', 'set', 'lo', 'up');
    // Makes room for rules before the local table, see cutOneWay.
    await ip('-n', namespace, 'rule', 'add', 'pref', '100', 'lookup', 'local');
    await ip('-n', namespace, 'rule', 'del', 'pref', '0');
  }

  #host(name: string): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) {
      throw new HyperscaleError('not-found', `no host '${name}' in this lab`);
    }
    return host;
  }

  namespace(name: string): string {
    return this.#host(name).namespace;
  }

  address(name: string): string {
    return this.#host(name).address;
  }

  /**
   * Cuts a host off from all others, both directions. `unplugged`: the host sees its link go
   * down. `silent`: its link stays up and packets vanish in the switch.
   */
  async cut(name: string, how: 'unplugged' | 'silent' = 'unplugged'): Promise<void> {
    const change = how === 'unplugged' ? 'down' : 'nomaster';
    await ip('-n', this.#hub, 'link', 'set', this.#host(name).port, change);
  }

  /** Undoes `cut`. */
  async heal(name: string): Promise<void> {
    await ip('-n', this.#hub, 'link', 'set', this.#host(name).port, 'master', 'br0', 'up');
  }

  /** Drops, at the receiver and without a word to the sender, what `from` sends to `to`. */
  async cutOneWay(from: string, to: string): Promise<void> {
    await this.#blackhole('add', from, to);
  }

  /** Undoes `cutOneWay`. */
  async healOneWay(from: string, to: string): Promise<void> {
    await this.#blackhole('del', from, to);
  }

  /** Cuts two hosts off from each other; both still reach all others. */
  async cutBetween(a: string, b: string): Promise<void> {
    await Promise.all([this.cutOneWay(a, b), this.cutOneWay(b, a)]);
  }

  /** Undoes `cutBetween`. */
  async healBetween(a: string, b: string): Promise<void> {
    await Promise.all([this.healOneWay(a, b), this.healOneWay(b, a)]);
  }

  async #blackhole(verb: 'add' | 'del', from: string, to: string): Promise<void> {
    const rule = ['from', this.#host(from).address, 'iif', 'eth0', 'type', 'blackhole'];
    await ip('-n', this.#host(to).namespace, 'rule', verb, 'pref', '50', ...rule);
  }

  /** Drops so many of a hundred packets, at random, that a host receives or sends. */
  async lose(name: string, percent: number): Promise<void> {
    const drop = `numgen random mod 100 < ${Math.round(percent)} drop`;
    const chain = (hook: string): string =>
      `chain ${hook} { type filter hook ${hook} priority 0; ${drop}; }`;
    const { namespace } = this.#host(name);
    await nft(namespace, `table inet ${lossTable} { ${chain('input')}; ${chain('output')}; }`);
  }

  /** Undoes `lose`. */
  async loseNothing(name: string): Promise<void> {
    await nft(this.#host(name).namespace, `delete table inet ${lossTable}`);
  }

  /**
   * Makes a host's link slow, in both directions: so many kilobits a second, behind a queue in
   * which packets wait for up to `queueMs` and are then dropped.
   */
  async slow(name: string, kilobits: number, queueMs = 400): Promise<void> {
    const { namespace, port } = this.#host(name);
    const bucket = ['rate', `${kilobits}kbit`, 'burst', '4kb', 'latency', `${queueMs}ms`];
    const shape = async (place: string, device: string): Promise<void> =>
      tc('-n', place, 'qdisc', 'add', 'dev', device, 'root', 'tbf', ...bucket);
    await Promise.all([shape(namespace, 'eth0'), shape(this.#hub, port)]);
  }

  /** Undoes `slow`. */
  async fast(name: string): Promise<void> {
    const { namespace, port } = this.#host(name);
    await tc('-n', namespace, 'qdisc', 'del', 'dev', 'eth0', 'root');
    await tc('-n', this.#hub, 'qdisc', 'del', 'dev', port, 'root');
  }

  /**
   * Replaces the network stack of a host whose processes are all gone, as a reboot does: what
   * the old stack still had to send is never sent. Undoes all cuts.
   */
  async rebuild(name: string): Promise<void> {
    const host = this.#host(name);
    await ip('netns', 'del', host.namespace);
    await this.#build(host);
  }

  /** Ends all processes in the lab's namespaces and removes these. Idempotent; blocks. */
  destroy(): void {
    destroyNamespaces(this.id);
  }
}
