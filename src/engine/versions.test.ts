import { expect, test } from 'vitest';
import { checkQemuVersion } from './versions.ts';

test('QEMU from 8.2 on is accepted', () => {
  expect(checkQemuVersion('qemu-storage-daemon version 8.2.0 (Debian)\nCopyright')).toBe('8.2.0');
  expect(checkQemuVersion('qemu-storage-daemon version 10.0.2 (Debian 1:10.0.2)')).toBe('10.0.2');
});

test('an older QEMU, or what is none, is refused with a hint', () => {
  for (const output of ['qemu-storage-daemon version 7.2.15', 'version 8.1.5', 'what?']) {
    expect(() => checkQemuVersion(output)).toThrow(
      expect.objectContaining({ code: 'old-software', hint: expect.stringContaining('8.2') }),
    );
  }
});
