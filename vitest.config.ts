import { defineConfig } from 'vitest/config';

/** A busy machine is no failure: `expect.poll` waits this long for what takes milliseconds. */
const patient = { poll: { timeout: 30_000 } };

/** Tests that start processes of their own: so many files at a time, and each may take minutes. */
function processes(name: string, files = 1, minutes = 5) {
  return {
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      environment: 'node' as const,
      pool: 'forks' as const,
      fileParallelism: files > 1,
      maxWorkers: files,
      // For tests that say of themselves that they may run two at a time.
      maxConcurrency: 2,
      testTimeout: minutes * 60_000,
      hookTimeout: minutes * 60_000,
      expect: patient,
    },
  };
}

/**
 * `unit` is pure and runs in parallel. `spec` checks the protocol's model, `sim` runs the protocol's
 * code against simulated machines; `e2e` and `faults` start real clusters (network namespaces,
 * QEMU, etcd), and `openstack` runs against an OpenStack that `test/openstack/stack` has started.
 */
export default defineConfig({
  test: {
    teardownTimeout: 60_000,
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      exclude: ['**/*.test.ts'],
      reportsDirectory: 'coverage',
    },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/unit/**/*.test.ts'],
          environment: 'node',
          testTimeout: 60_000,
          hookTimeout: 60_000,
          expect: patient,
        },
      },
      processes('spec'),
      processes('sim'),
      // They wait more than they work.
      processes('e2e', 2),
      processes('faults'),
      // Against a running OpenStack: see test/openstack/README.md.
      processes('openstack', 1, 30),
    ],
  },
});
