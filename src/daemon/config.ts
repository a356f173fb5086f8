import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { parse } from 'yaml';
import { errorText, HyperscaleError } from '../errors.ts';
import { nameMaxLength, namePattern } from '../volume/names.ts';
import { BackupSchema, checkBackupSettings, defaultBackup } from './backup-config.ts';

const Port = Type.Integer({ minimum: 1, maximum: 65_535 });
const LabelName = Type.String({ pattern: namePattern, minLength: 1, maxLength: nameMaxLength });
const closed = { additionalProperties: false } as const;

const ConfigSchema = Type.Object(
  {
    node: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' }),
    address: Type.String({ minLength: 1 }),
    pool: Type.String({ pattern: '^(/|none$)' }),
    stateDirectory: Type.String({ pattern: '^/' }),
    runDirectory: Type.String({ pattern: '^/' }),
    logDirectory: Type.String({ pattern: '^/' }),
    deviceDirectory: Type.String({ pattern: '^/' }),
    etcd: Type.Union([
      Type.Literal('managed'),
      Type.Array(Type.String({ pattern: '^https?://' }), { minItems: 1 }),
    ]),
    ports: Type.Object(
      {
        api: Port,
        replica: Port,
        gateways: Type.Tuple([Port, Port]),
        etcdClient: Port,
        etcdPeer: Port,
      },
      closed,
    ),
    labels: Type.Object({ site: Type.Optional(LabelName), rack: Type.Optional(LabelName) }, closed),
    bootIdFile: Type.String({ pattern: '^/' }),
    secretFile: Type.String({ pattern: '^/' }),
    repairDelaySeconds: Type.Number({ minimum: 0 }),
    localCopyBytesPerSecond: Type.Integer({ minimum: 0 }),
    rebalancePercent: Type.Integer({ minimum: 0, maximum: 100 }),
    scrub: Type.Object(
      {
        bytesPerSecond: Type.Integer({ minimum: 0 }),
        intervalDays: Type.Number({ minimum: 0, maximum: 3_650 }),
      },
      closed,
    ),
    backup: BackupSchema,
    space: Type.Object(
      {
        warnPercent: Type.Integer({ minimum: 1, maximum: 99 }),
        criticalPercent: Type.Integer({ minimum: 1, maximum: 99 }),
        reserveBytes: Type.Integer({ minimum: 0, maximum: 2 ** 30 }),
      },
      closed,
    ),
    attachments: Type.Object(
      {
        group: Type.Union([
          Type.String({ minLength: 1, maxLength: 255 }),
          Type.Integer({ minimum: 0 }),
          Type.Null(),
        ]),
      },
      closed,
    ),
    libvirt: Type.Object(
      {
        uri: Type.String({ minLength: 1, pattern: '^[a-z]' }),
        migrationUri: Type.String({ minLength: 1, pattern: '^[a-z]' }),
      },
      closed,
    ),
    logLevel: Type.Union([
      Type.Literal('debug'),
      Type.Literal('info'),
      Type.Literal('warn'),
      Type.Literal('error'),
    ]),
  },
  closed,
);

export type Config = Static<typeof ConfigSchema>;

/** The directory in which the daemon keeps what must outlive a boot; false: it is not a pool. */
export function homeOf({ pool, stateDirectory }: Config): { home: string; isPool: boolean } {
  return pool === 'none' ? { home: stateDirectory, isPool: false } : { home: pool, isPool: true };
}

/** Settings with settings below them, as they were given. */
type Groups = Record<
  'ports' | 'scrub' | 'backup' | 'space' | 'libvirt' | 'attachments' | 'labels',
  unknown
>;

const defaults = {
  pool: '/var/lib/hyperscale/pool',
  stateDirectory: '/var/lib/hyperscale/state',
  runDirectory: '/run/hyperscale',
  logDirectory: '/var/log/hyperscale',
  deviceDirectory: '/dev',
  etcd: 'managed',
  labels: {},
  bootIdFile: '/proc/sys/kernel/random/boot_id',
  secretFile: '/etc/hyperscale/secret',
  repairDelaySeconds: 600,
  localCopyBytesPerSecond: 100 * 2 ** 20,
  rebalancePercent: 15,
  logLevel: 'info',
};

const defaultPorts = {
  api: 7480,
  replica: 7481,
  gateways: [7500, 7599],
  etcdClient: 7482,
  etcdPeer: 7483,
};

/** A pool of 4 TiB is read once in two and a half days, and rests until a copy is two weeks old. */
const defaultScrub = { bytesPerSecond: 20 * 2 ** 20, intervalDays: 14 };
/** Percent of a pool; the reserve never takes more than a hundredth of it. */
const defaultSpace = { warnPercent: 80, criticalPercent: 90, reserveBytes: 16 * 2 ** 20 };
/** The group that may use attachment sockets beside root. */
const defaultAttachments = { group: null };
/** `{host}` and `{address}` stand for the name and the address of the node that is migrated to. */
const defaultLibvirt = { uri: 'qemu:///system', migrationUri: 'qemu+tls://{host}/system' };
/** Less than a chunk a second would take years. */
const leastScrubRate = 2 ** 20;
/** Less would move data for what the next volume evens out by itself. */
const leastRebalancePercent = 10;

/** Reads and checks the daemon's configuration. @throws `bad-input` naming the setting. */
export async function readConfig(path: string): Promise<Config> {
  let given: unknown;
  try {
    given = parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new HyperscaleError('bad-input', `cannot read ${path}: ${errorText(error)}`, {
      hint: 'See docs/configuration.md for a complete example.',
      cause: error,
    });
  }
  return checkConfig(given, path);
}

/** Fills in defaults and checks every setting. */
export function checkConfig(given: unknown, path: string): Config {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new HyperscaleError('bad-input', `${path} is not a list of settings`);
  }
  const { ports, scrub, backup, space, libvirt, attachments, labels } = given as Groups;
  const complete: unknown = {
    ...defaults,
    ...given,
    ports: typeof ports === 'object' ? { ...defaultPorts, ...ports } : (ports ?? defaultPorts),
    scrub: typeof scrub === 'object' ? { ...defaultScrub, ...scrub } : (scrub ?? defaultScrub),
    space: typeof space === 'object' ? { ...defaultSpace, ...space } : (space ?? defaultSpace),
    backup:
      typeof backup === 'object' ? { ...defaultBackup, ...backup } : (backup ?? defaultBackup),
    libvirt:
      typeof libvirt === 'object' ? { ...defaultLibvirt, ...libvirt } : (libvirt ?? defaultLibvirt),
    attachments:
      typeof attachments === 'object'
        ? { ...defaultAttachments, ...attachments }
        : (attachments ?? defaultAttachments),
  };
  refuseUnknown(given, { ports, scrub, backup, space, libvirt, attachments, labels }, path);
  if (!Value.Check(ConfigSchema, complete)) {
    const first = Value.Errors(ConfigSchema, complete)[0];
    const where = first?.instancePath.replaceAll('/', '.').slice(1) || 'the file';
    const value = first === undefined ? undefined : valueAt(complete, first.instancePath);
    throw new HyperscaleError(
      'bad-input',
      `${path}: ${where} (${JSON.stringify(value)}) ${first?.message ?? 'is wrong'}`,
      { hint: 'See docs/configuration.md for what each setting means.' },
    );
  }
  if (isIP(complete.address) === 0) {
    throw new HyperscaleError('bad-input', `${path}: address ${complete.address} is no IP address`);
  }
  const [first, last] = complete.ports.gateways;
  if (first > last) {
    throw new HyperscaleError('bad-input', `${path}: ports.gateways ${first}–${last} is empty`);
  }
  const { localCopyBytesPerSecond } = complete;
  if (localCopyBytesPerSecond !== 0 && localCopyBytesPerSecond < leastScrubRate) {
    throw new HyperscaleError(
      'bad-input',
      `${path}: localCopyBytesPerSecond ${localCopyBytesPerSecond} is neither 0 (no limit) nor at least ${leastScrubRate}`,
      { hint: 'See docs/configuration.md for what each setting means.' },
    );
  }
  const { rebalancePercent } = complete;
  if (rebalancePercent !== 0 && rebalancePercent < leastRebalancePercent) {
    throw new HyperscaleError(
      'bad-input',
      `${path}: rebalancePercent ${rebalancePercent} is neither 0 (off) nor at least ${leastRebalancePercent}`,
      { hint: 'See docs/configuration.md for what each setting means.' },
    );
  }
  checkBackupSettings(complete.backup, path);
  const { warnPercent, criticalPercent } = complete.space;
  if (warnPercent > criticalPercent) {
    throw new HyperscaleError(
      'bad-input',
      `${path}: space.warnPercent ${warnPercent} is above space.criticalPercent ${criticalPercent}`,
      { hint: 'A pool is told of first when it fills, and then when it is almost full.' },
    );
  }
  const { bytesPerSecond } = complete.scrub;
  if (bytesPerSecond !== 0 && bytesPerSecond < leastScrubRate) {
    throw new HyperscaleError(
      'bad-input',
      `${path}: scrub.bytesPerSecond ${bytesPerSecond} is neither 0 (off) nor at least ${leastScrubRate}`,
      { hint: 'See docs/configuration.md for what each setting means.' },
    );
  }
  return complete;
}

/** Names what a schema only calls false: settings that do not exist, and ones that are missing. */
function refuseUnknown(given: object, groups: Groups, path: string): void {
  const known = [...Object.keys(ConfigSchema.properties)];
  const { ports, scrub, libvirt, attachments } = ConfigSchema.properties;
  const knownBelow = [
    ...below('ports', ports.properties),
    ...below('scrub', scrub.properties),
    ...below('backup', BackupSchema.properties),
    ...below('space', ConfigSchema.properties.space.properties),
    ...below('libvirt', libvirt.properties),
    ...below('attachments', attachments.properties),
    ...below('labels', ConfigSchema.properties.labels.properties),
  ];
  const settings = [
    ...Object.keys(given),
    ...Object.entries(groups).flatMap(([name, group]) => below(name, group)),
  ];
  const unknown = settings.find((s) => !known.includes(s) && !knownBelow.includes(s));
  if (unknown !== undefined) {
    throw new HyperscaleError('bad-input', `${path}: there is no setting ${unknown}`, {
      hint: `Settings are ${known.join(', ')}; see docs/configuration.md.`,
    });
  }
  const missing = ['node', 'address'].find((s) => !(s in given));
  if (missing !== undefined) {
    throw new HyperscaleError('bad-input', `${path}: the setting ${missing} is missing`, {
      hint: 'See docs/configuration.md for a complete example.',
    });
  }
}

/** Dotted names of what a group of settings holds. */
function below(name: string, group: unknown): string[] {
  const keys = typeof group === 'object' && group !== null ? Object.keys(group) : [];
  return keys.map((key) => `${name}.${key}`);
}

function valueAt(root: unknown, pointer: string): unknown {
  let at = root;
  for (const part of pointer.split('/').slice(1)) {
    at = typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[part] : undefined;
  }
  return at;
}
