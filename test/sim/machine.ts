import type { Core, Machine } from './core.ts';

/** `count` machines n1, n2, …, all up. */
export function createMachines(core: Core, count: number): Machine[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `n${i + 1}`,
    pool: `pool-n${i + 1}`,
    address: `10.0.0.${i + 1}`,
    boot: newBoot(core),
    powered: true,
    frozen: false,
  }));
}

export function newBoot(core: Core): string {
  return `boot-${core.random.hex(8)}`;
}
