/**
 * The Python package with OpenStack Epoxy, which is not on this machine: in a root directory of its
 * own, against a real cluster. No cloud is needed for it.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { sharedCluster } from '../e2e/fixture.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2'] });
const epoxy = fileURLToPath(new URL('../../openstack/tests/epoxy', import.meta.url));

/** hscli finds its daemon where it is on a host of a cloud. */
const script = `mkdir -p /run/hyperscale && ln -s "$1" /run/hyperscale/api.sock
ln -sf /hyperscale/bin/hscli /usr/local/bin/hscli
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=. exec /usr/bin/python3 -W ignore tests/real/manager_flow.py`;

/** Making the root directory is part of it. */
const timeout = 30 * 60_000;

it('Cinder, os-brick and privsep of Epoxy do with volumes what Zed does', { timeout }, async () => {
  const { socketPath } = cluster.node('n1');
  const env = { ...process.env, HS_EPOXY_BIND: cluster.lab.directory };
  const args = ['sh', '-euc', script, 'sh', socketPath];
  const options = { env, timeout, killSignal: 'SIGKILL' as const };
  const { stdout } = await promisify(execFile)(epoxy, args, options);
  const passed = [...stdout.matchAll(/^PASS (\w+):/gm)].map(([, step]) => step);
  expect(passed).toEqual([
    'life_cycle',
    'retype_and_migration',
    'image',
    'forced_detach',
    'residue',
  ]);
});
