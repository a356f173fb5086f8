import { expect, it } from 'vitest';
import { stack } from './stack.ts';

/** The steps of openstack/tests/real, which ask Cinder and look at the data below it. */
const steps = [
  'life_cycle',
  'revert',
  'images',
  'image_copied_by_cinder',
  'images_refused',
  'types_and_qos',
  'retype_between_backends',
  'manage',
  'groups',
  'connections',
  'encrypted',
  'transfer',
  'deleted_in_every_state',
  'deleted_already',
];

it.each(steps)('Cinder and the driver: %s', async (step) => {
  expect(await stack('volume_flows', step)).toContain(`PASS ${step}:`);
});
