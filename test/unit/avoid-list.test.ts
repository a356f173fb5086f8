import { expect, test } from 'vitest';
import { AvoidList } from '../../src/node/avoid-list.ts';

test('a node is avoided for a while; one whose faults hurt for longer each time, until it is forgotten', () => {
  let now = 0;
  const list = new AvoidList(() => now);
  expect(list.add('n2', 5)).toBe(5);
  expect([...list.current()]).toEqual(['n2']);
  now = 5;
  expect(list.current().size).toBe(0);
  const times = [1, 2, 3, 4, 5].map(() => {
    const forMs = list.addLonger('n3', 10_000);
    now += forMs;
    return forMs;
  });
  expect(times).toEqual([10_000, 20_000, 40_000, 40_000, 40_000]);
  now += 60_000;
  expect(list.current().size).toBe(0);
  expect(list.addLonger('n3', 10_000)).toBe(10_000);
});
