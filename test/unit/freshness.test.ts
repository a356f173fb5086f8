import { expect, it } from 'vitest';
import {
  judge,
  leaseGoodMs,
  probeAfterMs,
  probeGoodMs,
  staleReadsEndMs,
} from '../../src/watchdog/freshness.ts';

const now = 1_000_000;
const at = (leaseAge: number, membersAge: number, peers = 2) =>
  judge({ now, leaseConfirmed: now - leaseAge, membersSeen: now - membersAge, peers, known: true });

it('a head whose node the store confirmed just now is left alone', () => {
  expect(at(0, now)).toBe('fine');
  expect(at(probeAfterMs - 1, now)).toBe('fine');
});

it('members are asked before the lease is too old to count', () => {
  expect(at(probeAfterMs, now)).toBe('ask-members');
  expect(at(leaseGoodMs - 1, now)).toBe('ask-members');
});

it('a head goes on without the store for as long as all members are seen', () => {
  expect(at(leaseGoodMs, probeGoodMs - 1)).toBe('ask-members');
  expect(at(600_000, 0)).toBe('ask-members');
});

it('a head that nobody confirms in time is ended', () => {
  expect(at(leaseGoodMs, probeGoodMs)).toBe('kill');
  expect(judge({ now, leaseConfirmed: 0, membersSeen: 0, peers: 1, known: true })).toBe('kill');
});

it('a watchdog that was just started asks before it ends a head', () => {
  const never = { now, leaseConfirmed: 0, membersSeen: 0, peers: 2 };
  expect(judge({ ...never, known: false })).toBe('ask-members');
});

it('a head that only its own node could supersede needs nobody', () => {
  expect(at(600_000, 600_000, 0)).toBe('fine');
});

it('a take-over waits longer than a head may go on unseen', () => {
  expect(staleReadsEndMs).toBeGreaterThan(probeGoodMs);
});
