import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../errors.ts';
import { syncPath } from './durable.ts';
import type { FileAccess } from './graphs.ts';
import { runTool } from './run-tool.ts';

export const heartbeatBytes = 4096;

/** The file of the pool that heartbeats read; random, so that a read really reaches the disk. */
export async function heartbeatFile(pool: string): Promise<string> {
  const path = join(pool, '.heartbeat');
  if (!existsSync(path)) {
    await writeFile(`${path}~`, randomBytes(heartbeatBytes), { mode: 0o640 });
    await syncPath(`${path}~`);
    await rename(`${path}~`, path);
  }
  return path;
}

/**
 * How QEMU can open files of the pool, tried with a read of `file`: io_uring may be switched off on
 * a host, and some file systems (tmpfs before Linux 6.6) refuse direct I/O.
 * @param warn told what is not as it should be.
 * @throws what the last way said when none works
 */
export async function probeFileAccess(
  file: string,
  warn: (message: string) => void,
): Promise<FileAccess> {
  const ways: FileAccess[] = [
    { aio: 'io_uring', direct: true },
    { aio: 'threads', direct: true },
    { aio: 'io_uring', direct: false },
    { aio: 'threads', direct: false },
  ];
  let failure: unknown;
  for (const way of ways) {
    try {
      const image = {
        driver: 'raw',
        'read-only': true,
        file: {
          driver: 'file',
          filename: file,
          aio: way.aio,
          cache: { direct: way.direct },
        },
      };
      await runTool('qemu-io', ['-r', '-c', 'read 0 4096', `json:${JSON.stringify(image)}`]);
      if (way !== ways[0]) {
        warn(
          `files of the pool are opened with aio=${way.aio}, direct=${way.direct}: ` +
            `${errorText(failure)}`,
        );
      }
      return way;
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
