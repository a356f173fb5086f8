import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { HyperscaleError } from '../../src/errors.ts';
import { cachedDirectory } from './cached-directory.ts';
import { type ArchiveEntry, cpioArchive } from './cpio.ts';
import { type DebianKernel, debianKernel } from './debian-kernel.ts';
import { runProgram } from './run-program.ts';

/** What QEMU boots: paths of a kernel and of an initramfs. */
export type GuestImage = { kernel: string; initramfs: string };

const programDirectories = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
const applets = [
  ...['awk', 'cat', 'cut', 'dd', 'hexdump', 'insmod', 'mkdir', 'mkfifo', 'mknod', 'mount'],
  ...['poweroff', 'rm', 'sh', 'stat', 'sync', 'truncate', 'umount'],
];

async function findProgram(name: string, packageName: string): Promise<string> {
  for (const directory of programDirectories) {
    const path = join(directory, name);
    const found = await readFile(path).catch(() => undefined);
    if (found !== undefined) return path;
  }
  throw new HyperscaleError('not-found', `the guest image needs ${name}`, {
    hint: `apt-get install ${packageName}`,
  });
}

/** The shared libraries and the loader of a program, as absolute paths. */
async function sharedLibraries(program: string): Promise<string[]> {
  const listed = (await runProgram('ldd', [program])).toString();
  const missing = /^\s*(\S+) => not found/m.exec(listed)?.[1];
  if (missing !== undefined) {
    throw new HyperscaleError('not-found', `${program} needs ${missing}, which is not installed`);
  }
  return [...listed.matchAll(/(?:=> |^\s*)(\/\S+) \(/gm)].map((match) => match[1] ?? '');
}

/** The directories above `paths`, parents first. */
function directoriesAbove(paths: readonly string[]): string[] {
  const found = new Set<string>();
  for (const path of paths) {
    for (let above = dirname(path); above !== '.'; above = dirname(above)) found.add(above);
  }
  return [...found].sort();
}

async function fileEntry(source: string, path: string, mode: number): Promise<ArchiveEntry> {
  return { kind: 'file', path, content: await readFile(source), mode };
}

async function initramfsEntries(built: DebianKernel): Promise<ArchiveEntry[]> {
  const busybox = await findProgram('busybox', 'busybox-static');
  const dynamic = await sharedLibraries(busybox).catch(() => []);
  if (dynamic.length > 0) {
    throw new HyperscaleError('not-found', `${busybox} is not the static one`, {
      hint: 'apt-get install busybox-static',
    });
  }
  const mke2fs = await findProgram('mke2fs', 'e2fsprogs');
  const modules = [...built.modules, ...built.scsiModules];
  const listOf = (paths: readonly string[]): Buffer =>
    Buffer.from(paths.map((path) => `${basename(path)}\n`).join(''));
  const files: ArchiveEntry[] = [
    await fileEntry(join(import.meta.dirname, 'init.sh'), 'init', 0o755),
    await fileEntry(join(import.meta.dirname, 'scan.awk'), 'scan.awk', 0o644),
    await fileEntry(join(import.meta.dirname, 'watch.sh'), 'watch.sh', 0o644),
    await fileEntry(busybox, 'bin/busybox', 0o755),
    await fileEntry(mke2fs, 'bin/mke2fs', 0o755),
    { kind: 'file', path: 'modules/order', content: listOf(built.modules), mode: 0o644 },
    { kind: 'file', path: 'modules/later', content: listOf(built.scsiModules), mode: 0o644 },
  ];
  for (const library of await sharedLibraries(mke2fs)) {
    files.push(await fileEntry(library, library.slice(1), 0o755));
  }
  for (const module of modules) {
    files.push(await fileEntry(module, `modules/${basename(module)}`, 0o644));
  }
  const mountPoints = ['data', 'dev', 'proc', 'run', 'sys'].map((name) => `${name}/.`);
  const directories = directoriesAbove([...files.map((file) => file.path), ...mountPoints]);
  return [
    ...directories.map((path): ArchiveEntry => ({ kind: 'directory', path })),
    // Without a console the kernel starts init with its three standard descriptors closed.
    { kind: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    ...files,
    ...applets.map(
      (name): ArchiveEntry => ({ kind: 'link', path: `bin/${name}`, target: 'busybox' }),
    ),
  ];
}

/**
 * Makes, or finds in `cacheDirectory`, a guest that `Guest` can boot: Debian's cloud kernel and an
 * initramfs of busybox and mke2fs (see `init.sh` for what it does). Needs `apt-get`, `dpkg-deb`,
 * `busybox-static` and `e2fsprogs`, and the network when the kernel is not cached yet. Several
 * callers may share the directory at the same time.
 */
export async function buildGuestImage(cacheDirectory: string): Promise<GuestImage> {
  const kernel = await debianKernel(cacheDirectory);
  // Not compressed: unpacking would cost an emulated guest more time than the bytes do.
  const archive = cpioArchive(await initramfsEntries(kernel));
  const hash = createHash('sha256').update(archive).digest('hex').slice(0, 16);
  const directory = await cachedDirectory(cacheDirectory, `initramfs-${hash}`, (path) =>
    writeFile(join(path, 'initramfs.cpio'), archive),
  );
  return { kernel: kernel.kernel, initramfs: join(directory, 'initramfs.cpio') };
}
