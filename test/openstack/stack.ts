/** The running OpenStack of `test/openstack/stack`: its client, its hosts, and waiting for things. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { errorText, HyperscaleError } from '../../src/errors.ts';
import { client } from './client.ts';

const execute = promisify(execFile);
const program = join(import.meta.dirname, 'stack');

/** Other calls of the client take seconds; those with `--wait` as long as what they wait for. */
const commandMs = 600_000;

export const computeHosts = (process.env.HS_STACK_NODES ?? 'c1 c2').split(' ');
/** A machine with other work is no failure: what takes seconds on an idle one may take minutes. */
const patientSeconds = 400;
/** Every look costs the control host a good deal of work. */
const pollMs = 1_500;

/** All hosts with a daemon. */
export const hosts = ['ctl', ...computeHosts];

/** Runs a command of `stack` and returns what it printed. */
export async function stack(...args: string[]): Promise<string> {
  try {
    const { stdout } = await execute(program, args, { timeout: commandMs, maxBuffer: 64 << 20 });
    return stdout;
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new HyperscaleError('internal', `stack ${args.join(' ')}: ${said || errorText(error)}`);
  }
}

/** Runs the openstack client, which prints JSON. */
export async function os<T = Record<string, unknown>>(...args: string[]): Promise<T> {
  return JSON.parse(await client(...args, '-f', 'json')) as T;
}

/** Runs the openstack client for what prints nothing of use. */
export async function run(...args: string[]): Promise<void> {
  await client(...args);
}

/** Runs a command on a host. */
export async function on(host: string, ...command: string[]): Promise<string> {
  return host === 'ctl' ? stack('inctl', ...command) : stack('node-exec', host, ...command);
}

const hscliPath = join(import.meta.dirname, '../../bin/hscli');

export async function hscli<T = Record<string, unknown>>(
  host: string,
  ...args: string[]
): Promise<T> {
  return JSON.parse(await on(host, hscliPath, ...args, '--json')) as T;
}

/** Resolves with the first answer that is not undefined. @throws `timeout` naming what and the last error */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined>,
  seconds = patientSeconds,
): Promise<T> {
  const end = Date.now() + seconds * 1000;
  let last = '';
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (error) {
      last = `; last: ${errorText(error)}`;
    }
    if (Date.now() > end) throw new HyperscaleError('timeout', `${what} in ${seconds} s${last}`);
    await sleep(pollMs);
  }
}

export type ServerState = { status: string; host: string | null; task: string | null };

export async function server(name: string): Promise<ServerState> {
  const shown = await os('server', 'show', name);
  return {
    status: String(shown.status),
    host: shown['OS-EXT-SRV-ATTR:host'] as string | null,
    task: shown['OS-EXT-STS:task_state'] as string | null,
  };
}

/** Resolves when a server has a status and nothing is being done with it. Where it is then. */
export async function untilServer(
  name: string,
  status: string,
  seconds = patientSeconds,
): Promise<string> {
  return until(
    `${name} is not ${status}`,
    async () => {
      const now = await server(name);
      if (now.status === 'ERROR' && status !== 'ERROR') {
        throw new HyperscaleError('internal', `${name} is in ERROR`);
      }
      return now.status === status && now.task === null ? (now.host ?? '') : undefined;
    },
    seconds,
  );
}

export async function untilVolume(
  name: string,
  status: string,
  seconds = patientSeconds,
): Promise<void> {
  await until(
    `volume ${name} is not ${status}`,
    async () => {
      const now = (await os('volume', 'show', name)).status;
      if (now === 'error') throw new HyperscaleError('internal', `volume ${name} is in error`);
      return now === status ? true : undefined;
    },
    seconds,
  );
}

/** Resolves when a volume is gone. */
export async function untilNoVolume(...names: string[]): Promise<void> {
  await until(`${names.join(', ')} are not deleted`, async () => {
    const volumes = await os<{ Name: string }[]>('volume', 'list', '--all-projects');
    return volumes.some(({ Name }) => names.includes(Name)) ? undefined : true;
  });
}

/** Makes a volume and waits until it can be used. Returns its id. */
export async function makeVolume(name: string, ...options: string[]): Promise<string> {
  const { id } = await os('volume', 'create', ...options, name);
  await untilVolume(name, 'available');
  return String(id);
}

export async function deleteVolumes(...names: string[]): Promise<void> {
  await run('volume', 'delete', ...names);
  await untilNoVolume(...names);
}

/** Boots a server from a volume; resolves when its guest writes. */
export async function boot(name: string, volume: string, ...options: string[]): Promise<void> {
  const from = ['--volume', volume, '--nic', 'none', '--flavor', 't1'];
  await os('server', 'create', ...from, ...options, '--wait', name);
}

/** Deletes servers, and waits until they are gone. */
export async function deleteServers(...names: string[]): Promise<void> {
  await run('server', 'delete', '--wait', ...names);
}

export async function otherHost(host: string): Promise<string> {
  const other = computeHosts.find((name) => name !== host);
  if (other === undefined) throw new HyperscaleError('bad-input', 'there is one compute host');
  return other;
}

/** Resolves when Nova takes a compute host to be up, or down. */
export async function untilCompute(host: string, state: 'up' | 'down'): Promise<void> {
  type Service = { Host: string; State: string };
  await until(`nova-compute on ${host} is not ${state}`, async () => {
    const all = await os<Service[]>('compute', 'service', 'list', '--service', 'nova-compute');
    return all.some((s) => s.Host === host && s.State === state) ? true : undefined;
  });
}

/** Cuts a host's power, and tells Nova, as what fences hosts does. */
export async function powerCut(host: string): Promise<void> {
  await stack('node-kill', host);
  await run('compute', 'service', 'set', '--down', host, 'nova-compute');
  await untilCompute(host, 'down');
}

/** Boots a host whose power was cut; resolves when Nova uses it again. */
export async function powerOn(host: string): Promise<void> {
  await stack('node-up', host);
  // Nova refuses until the host has cleaned up after the servers that were evacuated from it.
  await until(`Nova does not use ${host} again`, async () => {
    await run('compute', 'service', 'set', '--up', host, 'nova-compute');
    return true;
  });
  await untilCompute(host, 'up');
}
