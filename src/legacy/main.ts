/**
 * `hscli '{…}'`: what the drivers of the original product call. It imports nothing that it does not
 * need, and no package: OpenStack starts it for every attach and detach of a guest.
 *
 * It has no answer to signals. Whatever ends it, the daemon finishes or drops the step under way,
 * and every step may be repeated.
 */
import { defaultSocket } from '../cli/socket-error.ts';
import { runLegacy } from './run.ts';

const socket = process.env.HYPERSCALE_SOCKET ?? defaultSocket;
const { stdout, stderr, exit } = await runLegacy(process.argv.slice(2), socket);
process.stdout.on('error', () => process.exit(1));
process.stdout.write(stdout);
if (stderr !== '') process.stderr.write(stderr);
process.exitCode = exit;
