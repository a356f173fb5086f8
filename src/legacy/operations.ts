import { HyperscaleError } from '../errors.ts';
import type { LegacyCall } from './argument.ts';
import type { Operation } from './call.ts';
import { badMessage } from './err-codes.ts';

/** Loads what a call needs, and nothing else: a driver waits for every file. */
type Loader = () => Promise<Operation>;

const cluster = () => import('./cluster.ts');
const connection = () => import('./connection.ts');
const images = () => import('./images.ts');
const snapshots = () => import('./snapshots.ts');
const volumes = () => import('./volumes.ts');

/** Every operation of the protocol. */
export const operations: ReadonlyMap<string, Loader> = new Map<string, Loader>([
  ['connect_volume', async () => (await connection()).connectVolume],
  ['disconnect_volume', async () => (await connection()).disconnectVolume],
  ['version', async () => (await cluster()).version],
  ['get_datanode_id', async () => (await cluster()).datanodeId],
  ['episodic_snap', async () => (await snapshots()).episodicSnap],
  ['get_image_path', async () => (await images()).getImagePath],
  ['get_volume_path', async () => (await images()).getVolumePath],
  ['update_image', async () => (await images()).updateImage],
]);

/** Operations with files that only their caller names and may read: no daemon does them for it. */
export const ofCaller: ReadonlySet<string> = new Set([
  'get_image_path',
  'get_volume_path',
  'update_image',
]);

const dataNode = new Map<string, Loader>([
  ['hyperscale.storage.dm.volume.create', async () => (await volumes()).createVolume],
  ['hyperscale.storage.dm.volume.delete', async () => (await volumes()).deleteVolume],
  ['hyperscale.storage.dm.volume.extend', async () => (await volumes()).extendVolume],
  ['hyperscale.storage.dm.discover.stats', async () => (await cluster()).getStats],
  ['hyperscale.storage.dm.volume.clone', async () => (await snapshots()).cloneVolume],
  ['hyperscale.storage.dm.volume.clone.create', async () => (await snapshots()).cloneSnapshot],
  ['hyperscale.storage.dm.volume.snapshot.update', async () => (await snapshots()).recordEpisode],
  ['hyperscale.storage.dm.version.delete', async () => (await snapshots()).deleteSnapshot],
]);

const computeNode = new Map<string, Loader>([
  ['hyperscale.storage.nfs.volume.snapshot.create', async () => (await snapshots()).createSnapshot],
]);

const controller = new Map<string, Loader>([
  ['hyperscale.controller.get.configuration', async () => (await cluster()).getConfiguration],
  ['hyperscale.controller.get.membership', async () => (await cluster()).getMembership],
  ['hyperscale.controller.set.datanode.storage.stats', async () => (await cluster()).setStats],
  ['hyperscale.controller.execute.workflow', async () => (await cluster()).executeWorkflow],
]);

/** Every message of the protocol, by exchange and token. */
export const messages: ReadonlyMap<string, ReadonlyMap<string, Loader>> = new Map([
  ['hyperscale-datanode', dataNode],
  ['hyperscale-storage', computeNode],
  ['hyperscale-controller', controller],
]);

/** The function for a call. @throws `bad-input` that says what there is, when there is none. */
export async function operationFor(call: LegacyCall): Promise<Operation> {
  return loaderFor(call)();
}

function loaderFor(call: LegacyCall): Loader {
  if (call.kind === 'operation') {
    const names = [...operations.keys(), 'message'];
    return operations.get(call.token) ?? unknown('operation', call.token, names);
  }
  const tokens = messages.get(call.exchange);
  if (tokens === undefined) return unknown('exchange', call.exchange, [...messages.keys()]);
  const what = `message of exchange ${call.exchange}`;
  return tokens.get(call.token) ?? unknown(what, call.token, [...tokens.keys()]);
}

function unknown(what: string, name: string, known: string[]): never {
  throw new HyperscaleError('bad-input', `there is no ${what} ${JSON.stringify(name)}`, {
    hint: `There are ${known.join(', ')}.`,
    values: { errCode: badMessage },
  });
}
