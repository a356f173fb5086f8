import { HyperscaleError } from '../errors.ts';
import type { Fields } from './properties.ts';

/** What a consumer on this host uses: a socket and an NBD export, or a block device. */
export type DeviceInfo =
  | { type: 'network'; socket: string; export: string; uri: string }
  | { type: 'block'; path: string }
  | LegacyDevice;

/** What the drivers of the original product are told, with os-brick's names. */
export type LegacyDevice = {
  type: 'block';
  path: string;
  vsa_ip: string;
  refl_factor: string;
  refl_targets?: string;
};

/** Reads the answer of `hscli volume attach`. */
export function networkDevice({ socket, session, uri }: Fields): DeviceInfo {
  return {
    type: 'network',
    socket: textOf('socket', socket),
    export: textOf('session', session),
    uri: textOf('uri', uri),
  };
}

/** Reads the payload of the legacy `connect_volume`. */
export function legacyDevice(payload: Fields, path: string): LegacyDevice {
  const { vsa_ip, refl_factor, refl_targets } = payload;
  const reflections = /^[0-9]{1,2}$/.test(String(refl_factor)) ? Number(refl_factor) : -1;
  if (reflections === -1) throw unexpected('refl_factor', refl_factor);
  return {
    type: 'block',
    path,
    vsa_ip: textOf('vsa_ip', vsa_ip),
    refl_factor: String(reflections),
    ...(reflections > 0 ? { refl_targets: textOf('refl_targets', refl_targets) } : {}),
  };
}

/** A text that must be in an answer of `hscli`. @throws `internal` */
export function textOf(field: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value;
  throw unexpected(field, value);
}

export function unexpected(field: string, value: unknown): HyperscaleError {
  return new HyperscaleError(
    'internal',
    `hscli answered ${JSON.stringify(value) ?? 'nothing'} as "${field}"`,
    { hint: 'See that hscli is the one of HyperScale, and of the same version.' },
  );
}
