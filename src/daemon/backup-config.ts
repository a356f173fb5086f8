import { type Static, Type } from 'typebox';
import { HyperscaleError } from '../errors.ts';
import { nameMaxLength, namePattern } from '../volume/names.ts';

/** The settings of backups: docs/configuration.md. */

const closed = { additionalProperties: false } as const;
const AbsolutePath = Type.String({ pattern: '^/', maxLength: 4096 });
const Text = Type.String({ minLength: 1, maxLength: 1024 });

const TargetSettingsSchema = Type.Object(
  {
    /** A directory; or, of a bucket, its name and where it is. */
    directory: Type.Optional(AbsolutePath),
    bucket: Type.Optional(Text),
    prefix: Type.Optional(Text),
    endpoint: Type.Optional(Type.String({ pattern: '^https?://', maxLength: 1024 })),
    region: Type.Optional(Text),
    pathStyle: Type.Optional(Type.Boolean()),
    credentialsFile: Type.Optional(AbsolutePath),
    caFile: Type.Optional(AbsolutePath),
    keyFile: Type.Optional(AbsolutePath),
  },
  closed,
);

/** Where backups go, as a node's configuration has it: a directory or a bucket. */
export type TargetSettings = Static<typeof TargetSettingsSchema>;

export const BackupSchema = Type.Object(
  {
    /** Bytes of a volume that one backup reads in a second; 0: as fast as it goes. */
    bytesPerSecond: Type.Integer({ minimum: 0 }),
    /** Bytes that are copied in a second of what is used while it is restored; 0: no limit. */
    restoreBytesPerSecond: Type.Integer({ minimum: 0 }),
    targets: Type.Record(
      Type.String({ pattern: namePattern, minLength: 1, maxLength: nameMaxLength }),
      TargetSettingsSchema,
      { ...closed, maxProperties: 16 },
    ),
  },
  closed,
);

export type BackupSettings = Static<typeof BackupSchema>;

export const defaultBackup: BackupSettings = {
  bytesPerSecond: 100 * 2 ** 20,
  restoreBytesPerSecond: 100 * 2 ** 20,
  targets: {},
};

const leastRate = 2 ** 20;
const onlyOfBuckets = [
  ...(['prefix', 'endpoint', 'region', 'pathStyle', 'credentialsFile', 'caFile'] as const),
];

/** What the shapes of the settings do not tell. @throws `bad-input` */
export function checkBackupSettings({ targets, ...rates }: BackupSettings, path: string) {
  for (const [name, rate] of Object.entries(rates)) {
    if (rate !== 0 && rate < leastRate) {
      refuse(path, `${name} ${rate} is neither 0 (no limit) nor at least ${leastRate}`);
    }
  }
  for (const [name, target] of Object.entries(targets)) {
    const { bucket, credentialsFile, directory } = target;
    if ((directory === undefined) === (bucket === undefined)) {
      refuse(path, `targets.${name} has to have either a directory or a bucket`);
    }
    const foreign = onlyOfBuckets.find((setting) => target[setting] !== undefined);
    if (directory !== undefined && foreign !== undefined) {
      refuse(path, `targets.${name} is a directory, which has no ${foreign}`);
    }
    if (bucket !== undefined && credentialsFile === undefined) {
      refuse(path, `targets.${name} is a bucket and has no credentialsFile`);
    }
  }
}

function refuse(path: string, what: string): never {
  throw new HyperscaleError('bad-input', `${path}: backup.${what}`, {
    hint: 'See docs/configuration.md for what each setting means.',
  });
}
