import { readFileSync, rmSync } from 'node:fs';
import { kill } from './process.ts';

/** Ends the process that keeps an attachment's socket open (`libexec/hold-listener`), if any. */
export async function endKeeper(socketPath: string): Promise<void> {
  const file = `${socketPath}.keeper`;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return;
  }
  const [pid = '', startTime = ''] = text.trim().split(' ');
  if (startTime !== '') await kill({ pid: Number(pid), startTime });
  rmSync(file, { force: true });
}
