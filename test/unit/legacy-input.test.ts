/** Whatever the one argument is, the reply has its form, and success and failure look as they should. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { socketError } from '../../src/cli/socket-error.ts';
import { maxArgumentBytes } from '../../src/legacy/argument.ts';
import { deviceNameOf, volumeNameOf } from '../../src/legacy/names.ts';
import { messages, operations } from '../../src/legacy/operations.ts';
import { policyOf } from '../../src/legacy/policy.ts';
import { runLegacy } from '../../src/legacy/run.ts';
import { FakeDaemon } from './legacy-fake-daemon.ts';

const nowhere = '/nonexistent/api.sock';
const uuid = '8ee71c33-dcd0-4267-8f2b-e0742ecabe9f';

type Reply = { token: string; err_code: number; err_msg: string; payload: unknown };

/** Makes a call, checks what holds for every one, and returns the reply. */
async function call(args: readonly string[], socket = nowhere) {
  const { stdout, stderr, exit } = await runLegacy(args, socket);
  expect(stdout.endsWith('\n') && stdout.indexOf('\n') === stdout.length - 1).toBe(true);
  const reply = JSON.parse(stdout) as Reply;
  expect(Object.keys(reply)).toEqual(['token', 'err_code', 'err_msg', 'payload']);
  const done = exit === 0;
  expect({
    code: reply.err_code === 0,
    message: reply.err_msg === '',
    silent: stderr === '',
  }).toEqual({ code: done, message: done, silent: done });
  if (!done) expect(reply.payload).toBeNull();
  // What a terminal would take for a command is not sent to it.
  expect(stderr.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  return { reply, stderr, exit };
}

describe('a bad argument', () => {
  it.each([
    ['{', /not valid JSON/, 10],
    ['{"operation":"connect_volume","volume_gu', /not valid JSON.*/, 10],
    [`{"operation":"version"}x`, /not valid JSON/, 10],
    ['{}', /lacks "operation"/, 106],
    ['{"operation":7}', /"operation" is not a text/, 106],
    ['{"operation":""}', /0 characters/, 106],
    ['{"operation":"drop_tables"}', /there is no operation "drop_tables"/, 106],
    ['{"operation":"__proto__"}', /there is no operation/, 106],
    ['{"operation":"constructor"}', /there is no operation/, 106],
    ['{"__proto__":{"operation":"version"}}', /lacks "operation"/, 106],
    ['{"operation":"message"}', /lacks "msg_token"/, 106],
    ['{"operation":"message","msg_token":"t"}', /lacks "exchange_name"/, 106],
    ['{"operation":"message","msg_token":"t","exchange_name":"x"}', /no exchange "x"/, 106],
    [
      '{"operation":"message","msg_token":"t","exchange_name":"hyperscale-storage"}',
      /no message of exchange hyperscale-storage "t"/,
      106,
    ],
    [
      '{"operation":"message","msg_token":"t","exchange_name":"hyperscale-storage","msg_body":[]}',
      /msg_body is not a JSON object/,
      10,
    ],
    ['{"operation":"connect_volume"}', /"volume_guid" is missing/, 10],
    ['{"operation":"connect_volume","volume_guid":null}', /"volume_guid" is missing/, 10],
    ['{"operation":"connect_volume","volume_guid":{}}', /"volume_guid" is \{\}/, 10],
    ['{"operation":"connect_volume","volume_guid":"../../etc"}', /not a valid volume name/, 10],
    ['{"operation":"connect_volume","volume_guid":"a\\u0000b"}', /not a valid volume name/, 10],
    ['{"operation":"connect_volume","volume_guid":"\\u001b[31mred"}', /not a valid/, 10],
    ['{"operation":"connect_volume","volume_guid":"a..b"}', /is no name/, 10],
    ['{"operation":"connect_volume","volume_guid":"a"}', /is no name/, 10],
    [`{"operation":"connect_volume","volume_guid":"vol_${uuid}"}`, /not a known form/, 10],
    ['{"operation":"episodic_snap","metadata":"x"}', /"metadata" is not/, 10],
  ])('%s is refused', async (argument, message, code) => {
    const { reply, exit } = await call([argument]);
    expect(reply.err_msg).toMatch(message);
    expect([reply.err_code, exit]).toEqual([code, 2]);
  });

  it('of more than 1 MiB is refused unread, one of 1 MiB is read', async () => {
    const padded = (length: number) => {
      const start = '{"operation":"version","pad":"';
      return `${start}${'x'.repeat(length - start.length - 2)}"}`;
    };
    expect((await call([padded(maxArgumentBytes)])).reply.payload).toBe('1.0.0');
    const { reply } = await call([padded(maxArgumentBytes + 1)]);
    expect(reply).toMatchObject({ token: 'unknown', err_msg: 'the argument is longer than 1 MiB' });
    // Bytes are counted, not characters.
    const wide = await call([
      `{"operation":"version","pad":"${'ä'.repeat(maxArgumentBytes / 2)}"}`,
    ]);
    expect(wide.reply.err_msg).toContain('longer than 1 MiB');
  });

  it('is one of several', async () => {
    const { reply } = await call(['{"operation":"version"}', '--json']);
    expect(reply.err_msg).toContain('2 arguments');
  });

  it('as deep as it may be does no harm', async () => {
    const deep = `{"operation":"version","a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`;
    expect((await call([deep])).reply.token).toMatch(/version|unknown/);
  });

  it('is answered in the form of a reply, whatever it is', async () => {
    const texts = fc.oneof(fc.string({ unit: 'binary' }), fc.json(), fc.string());
    const cut = fc
      .tuple(fc.json(), fc.nat(60))
      .map(([text, length]) => `{"operation":"message","msg_body":${text}}`.slice(0, length));
    await fc.assert(
      fc.asyncProperty(fc.oneof(texts, cut), async (text) => {
        await call([`{${text}`]);
        await call([text]);
      }),
      { numRuns: 300 },
    );
  });
});

describe('fields of the wrong type', () => {
  let daemon: FakeDaemon;
  beforeAll(async () => {
    daemon = await FakeDaemon.start();
  });
  afterAll(() => daemon.stop());

  it('are refused with a reply in every operation and message, and change nothing', async () => {
    // Nodes are not listed: what gets past the checks fails at the fake, which knows nothing.
    const keys = [
      'volume_guid',
      'display_name',
      'volume_raw_size',
      'new_size',
      'dn_reflection_factor',
      'volume_qos',
      'persona',
      'metadata',
    ];
    const wrong = fc.oneof(
      fc.constantFrom<unknown>(null, true, -1, 0, 1.5, 1e300, '', '-1', '1e3', ' 1', [], {}, [1]),
      fc.string({ unit: 'binary', minLength: 64 }),
      fc.jsonValue({ maxDepth: 2 }),
    );
    const body = fc.dictionary(fc.constantFrom(...keys), wrong);
    const tokens = [...messages].flatMap(([exchange, known]) =>
      [...known.keys()].map((token) => ({ exchange, token })),
    );
    const some = fc.oneof(
      fc.record({ operation: fc.constantFrom(...operations.keys()), body }).map((c) => ({
        ...c.body,
        operation: c.operation,
      })),
      fc.record({ message: fc.constantFrom(...tokens), body }).map(({ message, body }) => ({
        operation: 'message',
        exchange_name: message.exchange,
        msg_token: message.token,
        routing_key: null,
        msg_body: body,
      })),
    );
    await fc.assert(
      fc.asyncProperty(some, async (given) => {
        const { reply } = await call([JSON.stringify(given)], daemon.socket);
        const token = 'msg_token' in given ? given.msg_token : given.operation;
        expect(reply.token).toBe(token);
      }),
      // Names that are valid by chance are waited for, and found nowhere.
      { numRuns: 150 },
    );
    for (const { call: asked } of daemon.asked) {
      expect(asked).toMatch(/^(GET|POST|PUT|DELETE) \/v1\/[A-Za-z0-9._/-]+$/);
    }
  });
});

describe('names', () => {
  const uuids = fc.uuid();

  it('of one volume in all forms are one name', () => {
    fc.assert(
      fc.property(uuids, (id) => {
        const name = `volume-${id.toLowerCase()}`;
        for (const form of [id, `{${id}}`, `volume-${id}`, `{${id.toUpperCase()}}`]) {
          expect(volumeNameOf(form)).toBe(name);
        }
      }),
    );
  });

  it('of different volumes are different', () => {
    fc.assert(
      fc.property(uuids, uuids, (a, b) => {
        fc.pre(a !== b);
        expect(volumeNameOf(`{${a}}`)).not.toBe(volumeNameOf(`volume-${b}`));
      }),
    );
  });

  it('without a UUID are themselves', () => {
    expect(volumeNameOf('db1')).toBe('db1');
    expect(volumeNameOf('{db1}')).toBe('db1');
  });

  it('lead to the device that the connector computes', () => {
    expect(deviceNameOf(`{${uuid}}`)).toBe('8ee71c33-dcd0-4267-8f2b-e0742ec');
    expect(deviceNameOf(`volume-${uuid}`)).toBe('olume-8ee71c33-dcd0-4267-8f2b-e');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        let device: string;
        try {
          device = deviceNameOf(name);
        } catch {
          return;
        }
        expect(device).toMatch(/^[A-Za-z0-9][A-Za-z0-9._-]{0,30}$/);
        expect(device).toBe(name.slice(1, 32));
      }),
    );
  });
});

describe('policies', () => {
  it.each([
    [{}, 'Bronze'],
    [{ dn_reflection_factor: 0, volume_qos: 1 }, 'Bronze'],
    [{ dn_reflection_factor: 1, volume_qos: 1 }, 'Silver'],
    [{ dn_reflection_factor: '2' }, 'Gold'],
    [{ volume_qos: 2 }, 'Silver'],
    [{ dn_reflection_factor: 1, volume_qos: 3 }, 'Gold'],
    [{ dn_reflection_factor: 1, volume_qos: 'bronze' }, 'Silver'],
    [{ volume_qos: 'Gold' }, 'Gold'],
  ])('of %j is %s', (body, policy) => {
    expect(policyOf(body)).toBe(policy);
  });

  it.each([
    { dn_reflection_factor: 3 },
    { dn_reflection_factor: -1 },
    { volume_qos: 4 },
    { volume_qos: 0 },
    { volume_qos: 'Platinum' },
    { volume_qos: '' },
  ])('of %j are refused', (body) => {
    expect(() => policyOf(body)).toThrow(/dn_reflection_factor|volume_qos/);
  });
});

describe('a socket that cannot be used', () => {
  it('is told of with what to do', async () => {
    const { reply, stderr, exit } = await call(['{"operation":"get_datanode_id"}']);
    expect([reply.token, reply.err_code, exit]).toEqual(['get_datanode_id', 111, 6]);
    expect(stderr).toContain('systemctl start hyperscaled');
    const refused = socketError(Object.assign(new Error('x'), { code: 'EACCES' }), '/s');
    expect(refused).toMatchObject({ code: 'unauthorized', message: 'you may not use /s' });
    expect(refused.hint).toMatch(/read and write.*root.*user \d+/);
  });
});
