import { PassThrough } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { run } from '../../../src/cli/program.ts';
import { migratedText, progressText } from '../../../src/cli/vm-move.ts';

const mib = 2 ** 20;
const state = { uuid: 'u', name: 'web', from: 'n1', to: 'n2', sent: null };

test.each([
  [null, 'Migrating web …'],
  [{ ...state, step: 'queued' }, 'Migrating web to n2: others go first'],
  [{ ...state, step: 'sending' }, 'Migrating web to n2: libvirt prepares'],
  [
    {
      ...state,
      step: 'sending',
      sent: { sentBytes: 43 * mib, remainingBytes: 120 * mib, totalBytes: 192 * mib },
    },
    'Migrating web to n2: 43 MiB sent, 120 MiB left',
  ],
] as const)('the progress of a migration: %j', (migration, text) => {
  expect(progressText('web', { migration })).toBe(text);
});

test('a migration that is over says what it cost, and what is left to be done', () => {
  const done = { ...state, tookMs: 4_210, totalMs: 3_900, downtimeMs: 55, sentBytes: null };
  expect(migratedText({ ...done, notes: [] })).toBe(
    'web runs on n2 now. It took 4.2 s and stood still for 55 ms.\n',
  );
  expect(migratedText({ ...done, downtimeMs: null, notes: ['More.'] })).toBe(
    'web runs on n2 now. It took 4.2 s.\nMore.\n',
  );
});

test.each([['--to', 'n2'], ['--live'], []])(
  'a migration that is not said to be live, or where to, is refused: %s %s',
  async (...options) => {
    const stderr = new PassThrough();
    const signal = new AbortController().signal;
    const io = { stdout: new PassThrough(), stderr, stdin: new PassThrough(), env: {}, signal };
    const given = options.filter((option) => option !== undefined);
    expect(await run(['vm', 'migrate', 'web', ...given], io)).toBe(2);
    stderr.end();
    expect(await textOf(stderr)).toContain('vm migrate needs --live and --to NODE');
  },
);
