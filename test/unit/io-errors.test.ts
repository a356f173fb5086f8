/** When guests that stopped at an I/O error are resumed, and when they are left alone. */
import { beforeEach, describe, expect, test } from 'vitest';
import { HyperscaleError } from '../../src/errors.ts';
import { diskXml } from '../../src/libvirt/disk-xml.ts';
import type { DomainEvent } from '../../src/libvirt/events.ts';
import { Virsh } from '../../src/libvirt/virsh.ts';
import { IoErrors } from '../../src/vm/io-errors.ts';
import { failedDisks, longestPauseMs, pauseBefore } from '../../src/vm/stopped-guest.ts';
import { record } from './volume/fixtures.ts';

const uuid = '11111111-2222-4333-8444-555555555555';
const volume = record({ id: 'aaaaaaaa-2222-4333-8444-555555555555', name: 'db1' });

/** A libvirt with one guest, whose disk `vda` is the volume and `vdb` is not. */
class OneGuest extends Virsh {
  state = 'running (booted)';
  errors = 'No errors found';
  isDefined = true;
  /** What a resume makes of it. */
  resumed: () => void = () => {
    this.state = 'running (unpaused)';
  };
  readonly resumes: number[] = [];
  calls = 0;
  readonly #now: () => number;

  constructor(now: () => number) {
    super('test:///');
    this.#now = now;
  }

  stopsAt(errors: string): void {
    this.state = 'paused (I/O error)';
    this.errors = errors;
  }

  override async run([command]: readonly string[]): Promise<string> {
    this.calls += 1;
    if (command === 'list') return this.state.startsWith('paused') ? `${uuid}\n\n` : '\n';
    if (!this.isDefined) throw new HyperscaleError('not-found', 'no domain');
    switch (command) {
      case 'domstate':
        return `${this.state}\n\n`;
      case 'domblkerror':
        return `${this.errors}\n`;
      case 'resume':
        this.resumes.push(this.#now());
        this.resumed();
        return '';
      default:
        return xml;
    }
  }
}

const disk = (target: string, serial: string) =>
  diskXml({
    source: { type: 'network', socket: '/run/a.sock', export: 'x' },
    serial,
    target,
    bus: 'virtio',
  });
const xml = `<domain><name>web1</name><uuid>${uuid}</uuid><devices>
  ${disk('vda', volume.id)}${disk('vdb', 'bbbbbbbb-2222-4333-8444-555555555555')}</devices></domain>`;

let now: number;
let timers: { at: number; callback: () => void }[];
let guest: OneGuest;
let serves: boolean;
let attached: boolean;
let told: { type: string; text: string }[];
let searched: string[];
let listener: (event: DomainEvent) => void;
let ioErrors: IoErrors;

beforeEach(() => {
  now = 0;
  timers = [];
  guest = new OneGuest(() => now);
  serves = true;
  attached = true;
  told = [];
  searched = [];
  ioErrors = daemon();
});

function daemon(): IoErrors {
  return new IoErrors({
    virsh: guest,
    domainEvents: {
      on: (to) => {
        listener = to;
        return () => undefined;
      },
    },
    attached: (id) => (attached && id === volume.id ? volume : undefined),
    serves: () => serves,
    searchDamage: async (id) => {
      searched.push(id);
    },
    events: { emit: (type, text) => told.push({ type, text }) },
    environment: {
      now: () => '',
      randomId: () => '',
      monotonic: () => now,
      after: (ms, callback) => {
        const timer = { at: now + ms, callback };
        timers.push(timer);
        return () => {
          timers = timers.filter((t) => t !== timer);
        };
      },
    },
    log: {
      debug: () => undefined,
      info: () => undefined,
      warn: () => undefined,
      error: () => undefined,
    },
  });
}

const breath = () => new Promise((resolve) => setImmediate(resolve));
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i += 1) await breath();
}

/** Lets so much time pass. */
async function pass(milliseconds: number): Promise<void> {
  const until = now + milliseconds;
  for (;;) {
    await settle();
    const [next] = timers.filter((t) => t.at <= until).sort((a, b) => a.at - b.at);
    if (next === undefined) break;
    timers = timers.filter((t) => t !== next);
    now = next.at;
    next.callback();
  }
  now = until;
}

const ioError: DomainEvent = {
  type: 'io-error',
  domain: 'web1',
  path: '',
  alias: 'virtio-disk0',
  action: 'pause',
  reason: '',
};

describe('a guest that stopped', () => {
  test('is resumed soon, and it is told how long it stood', async () => {
    ioErrors.start();
    await pass(1_000);
    guest.stopsAt('vda: unspecified error');
    listener(ioError);
    await pass(5_000);
    expect(guest.resumes).toEqual([1_000 + pauseBefore(0)]);
    expect(told).toEqual([
      {
        type: 'vm.stopped',
        text: 'Guest web1 stopped at an error of vda (disk): unspecified error. It is resumed by itself.'.replace(
          '(disk)',
          '(db1)',
        ),
      },
      { type: 'vm.resumed', text: 'Guest web1 goes on; it stood for 0.3 s.' },
    ]);
  });

  test('again and again is resumed after longer and longer pauses, for ever', async () => {
    guest.stopsAt('vda: no space');
    guest.resumed = () => undefined;
    ioErrors.start();
    await pass(10 * 60_000);
    const pauses = guest.resumes.map((at, i) => at - (guest.resumes[i - 1] ?? 0));
    expect(pauses.slice(0, 5)).toEqual([300, 600, 1_200, 2_400, 4_800]);
    expect(pauses.slice(7).every((pause) => pause === longestPauseMs)).toBe(true);
    expect(guest.resumes.length).toBeGreaterThan(55);
    expect(told.map((t) => t.type)).toEqual(['vm.stopped']);
    guest.resumed = () => {
      guest.state = 'running (unpaused)';
    };
    await pass(30_000);
    expect(told.at(-1)?.text).toMatch(
      /^Guest web1 goes on; it stood for 60\d\.\d s and was resumed/,
    );
  });

  test('at once again, of which libvirt says that it does not know why, is resumed too', async () => {
    guest.stopsAt('vda: unspecified error');
    guest.resumed = () => {
      guest.state = guest.resumes.length < 3 ? 'paused (unknown)' : 'running (unpaused)';
    };
    ioErrors.start();
    await pass(30_000);
    expect(guest.resumes).toHaveLength(3);
  });

  test('waits until its volume is served, without asking libvirt all the time', async () => {
    guest.stopsAt('vda: unspecified error');
    serves = false;
    ioErrors.start();
    await pass(10 * 60_000);
    expect(guest.resumes).toEqual([]);
    expect(guest.calls).toBeLessThan(100);
    serves = true;
    await pass(longestPauseMs + 1);
    expect(guest.resumes).toHaveLength(1);
  });

  test('while no daemon was there is found by the next one', async () => {
    guest.stopsAt('vda: unspecified error');
    serves = false;
    ioErrors.start();
    await pass(2_000);
    ioErrors.stop();
    const before = timers.length;
    await pass(60_000);
    expect([guest.resumes, timers.length]).toEqual([[], before]);
    serves = true;
    ioErrors = daemon();
    ioErrors.start();
    await pass(1_000);
    expect(guest.resumes).toHaveLength(1);
  });

  test('without a cause that a head knows has its volumes searched for damage, once', async () => {
    guest.stopsAt('vda: unspecified error');
    guest.resumed = () => undefined;
    ioErrors.start();
    await pass(60_000);
    expect(searched).toEqual([volume.id]);
  });

  test('is told of once, however libvirt tells of it', async () => {
    ioErrors.start();
    guest.stopsAt('vda: unspecified error');
    for (const event of [ioError, ioError]) listener(event);
    listener({ type: 'lifecycle', domain: 'web1', event: 'Suspended', detail: 'I/O Error' });
    listener({ type: 'following' });
    await pass(3_000);
    expect(told.map((t) => t.type)).toEqual(['vm.stopped', 'vm.resumed']);
    expect(guest.resumes).toHaveLength(1);
  });
});

describe('left alone is', () => {
  test.each([
    ['a guest that somebody suspended', 'paused (user)', 'No errors found'],
    ['one that is being moved', 'paused (migrating)', 'No errors found'],
    ['one whose watchdog fired', 'paused (watchdog)', 'vda: unspecified error'],
    ['one that nobody knows why it stands', 'paused (unknown)', 'No errors found'],
    ['one that runs', 'running (booted)', 'vda: unspecified error'],
    ['one that stopped at a disk of others', 'paused (I/O error)', 'vdb: unspecified error'],
    ['one that stopped at both', 'paused (I/O error)', 'vda: no space\nvdb: no space'],
  ])('%s', async (_what, state, errors) => {
    guest.state = state;
    guest.errors = errors;
    ioErrors.start();
    listener(ioError);
    await pass(200_000);
    expect([guest.resumes, told]).toEqual([[], []]);
  });

  test('a volume that is not attached here', async () => {
    guest.stopsAt('vda: unspecified error');
    attached = false;
    ioErrors.start();
    await pass(200_000);
    expect(guest.resumes).toEqual([]);
  });

  test('one that somebody suspended, ended or resumed while it was waited for', async () => {
    for (const [state, isDefined] of [
      ['paused (user)', true],
      ['shut off (destroyed)', true],
      ['running (unpaused)', true],
      ['', false],
    ] as const) {
      guest.isDefined = true;
      guest.stopsAt('vda: unspecified error');
      ioErrors = daemon();
      ioErrors.start();
      await settle();
      guest.state = state;
      guest.isDefined = isDefined;
      await pass(10_000);
      ioErrors.stop();
    }
    expect(guest.resumes).toEqual([]);
  });
});

test('what virsh says of failed disks', () => {
  expect(failedDisks('No errors found\n')).toEqual([]);
  expect(failedDisks('vda: no space\nvdc: unspecified error\n\n')).toEqual([
    { target: 'vda', error: 'no space' },
    { target: 'vdc', error: 'unspecified error' },
  ]);
  expect(pauseBefore(1e9)).toBe(longestPauseMs);
});
