import { Connector, type ConnectorOptions } from '../connector/connector.ts';
import { fieldsOf, textField } from '../connector/properties.ts';
import { HyperscaleError } from '../errors.ts';
import { HyperscaleVolumeDriver, type VolumeDriver } from './driver.ts';

/** The type that the original product and its drivers use, and the short one. */
export const hyperscaleVolumeTypes = ['veritas_hyperscale', 'hyperscale'] as const;

/** Which driver is for which `driver_volume_type` of a connection info. */
export class VolumeDriverRegistry {
  readonly #drivers = new Map<string, VolumeDriver>();

  /** @throws `exists` when the type has a driver */
  register(type: string, driver: VolumeDriver): this {
    if (this.#drivers.has(type)) {
      throw new HyperscaleError('exists', `volume type ${type} has a driver already`);
    }
    this.#drivers.set(type, driver);
    return this;
  }

  types(): string[] {
    return [...this.#drivers.keys()];
  }

  /** @throws `bad-input` for a type without a driver, naming those that have one */
  driver(type: string): VolumeDriver {
    const driver = this.#drivers.get(type);
    if (driver !== undefined) return driver;
    throw new HyperscaleError('bad-input', `no driver for volume type ${JSON.stringify(type)}`, {
      hint: `Known types: ${this.types().join(', ')}.`,
      values: { type, known: this.types() },
    });
  }

  /** The driver for the type that a connection info names. @throws `bad-input` */
  driverFor(connectionInfo: unknown): VolumeDriver {
    const info = fieldsOf(connectionInfo, 'the connection info');
    return this.driver(textField(info, 'driver_volume_type') ?? '');
  }
}

/** A registry with the driver of HyperScale under both its types. */
export function volumeDrivers(options: Partial<ConnectorOptions> = {}): VolumeDriverRegistry {
  const driver = new HyperscaleVolumeDriver(new Connector(options));
  const registry = new VolumeDriverRegistry();
  for (const type of hyperscaleVolumeTypes) registry.register(type, driver);
  return registry;
}
