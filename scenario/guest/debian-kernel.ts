import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { HyperscaleError } from '../../src/errors.ts';
import { cachedDirectory } from './cached-directory.ts';
import { runProgram } from './run-program.ts';

const metaPackage = 'linux-image-cloud-amd64';
/** What the guest needs; the modules they depend on are found from these. */
const wantedModules = ['virtio_pci', 'virtio_blk', 'ext4', 'crc32c_generic'];
/** What a guest needs besides that may get SCSI disks. */
const scsiModules = ['virtio_scsi', 'sd_mod'];
/** In the name of the cache entry; another one when the entry holds something else. */
const contents = 'virtio-scsi';

export type DebianKernel = {
  /** Package name and version; names the cache entry. */
  version: string;
  kernel: string;
  /** Module files, uncompressed, in the order in which they must be loaded. */
  modules: string[];
  /** The same for SCSI disks; after `modules`. */
  scsiModules: string[];
};

/** The package that the meta package depends on now, for example `linux-image-6.1.0-9-cloud-amd64`. */
async function resolvePackage(): Promise<{ name: string; version: string }> {
  const dependencies = (await runProgram('apt-cache', ['depends', metaPackage])).toString();
  const name = /Depends: (linux-image-\S+)/.exec(dependencies)?.[1];
  const shown =
    name === undefined
      ? ''
      : (await runProgram('apt-cache', ['show', '--no-all-versions', name])).toString();
  const version = /^Version: (\S+)$/m.exec(shown)?.[1];
  if (name === undefined || version === undefined) {
    throw new HyperscaleError('not-found', `apt knows no kernel package for ${metaPackage}`, {
      hint: 'Run apt-get update on a Debian 12 or 13 machine of architecture amd64.',
    });
  }
  return { name, version };
}

async function download(name: string, version: string, directory: string): Promise<string> {
  const fetch = () => runProgram('apt-get', ['-q', 'download', `${name}=${version}`], directory);
  // Old package lists name files that the mirror has since replaced.
  await fetch().catch(async () => {
    await runProgram('apt-get', ['-q', 'update']);
    await fetch();
  });
  const file = (await readdir(directory)).find((entry) => entry.endsWith('.deb'));
  if (file === undefined) {
    throw new HyperscaleError('not-found', `apt-get download ${name} left no package file`);
  }
  return join(directory, file);
}

function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(\.xz)?$/, '')
    .replaceAll('-', '_');
}

async function readModule(path: string): Promise<Buffer> {
  return path.endsWith('.xz') ? runProgram('busybox', ['xzcat', path]) : readFile(path);
}

/** The `depends=` entry of a module's `.modinfo` section; the package ships no modules.dep. */
function moduleDependencies(path: string, content: Buffer): string[] {
  const depends = /\0depends=([^\0]*)\0/.exec(content.toString('latin1'))?.[1];
  if (depends === undefined) {
    throw new HyperscaleError('internal', `${path} does not say what it depends on`);
  }
  return depends.split(',').filter((name) => name !== '');
}

/** The wanted modules that are not built in, each after what it depends on; then the SCSI ones. */
async function loadOrder(
  tree: string,
): Promise<{ modules: Map<string, Buffer>; scsi: Map<string, Buffer> }> {
  const files = await readdir(tree, { recursive: true });
  const paths = new Map(
    files
      .filter((file) => /\.ko(\.xz)?$/.test(file))
      .map((file) => [moduleName(file), join(tree, file)]),
  );
  const builtIn = new Set(
    (await readFile(join(tree, 'modules.builtin'), 'utf8')).split('\n').map(moduleName),
  );
  const ordered = new Map<string, Buffer>();
  const visit = async (name: string): Promise<void> => {
    if (ordered.has(name) || builtIn.has(name)) return;
    const path = paths.get(name);
    if (path === undefined) {
      throw new HyperscaleError('not-found', `the kernel package has no module ${name}`);
    }
    const content = await readModule(path);
    for (const dependency of moduleDependencies(path, content)) {
      await visit(dependency.replaceAll('-', '_'));
    }
    ordered.set(name, content);
  };
  for (const name of wantedModules) await visit(name);
  const modules = new Map(ordered);
  for (const name of scsiModules) await visit(name);
  return { modules, scsi: new Map([...ordered].filter(([name]) => !modules.has(name))) };
}

async function unpack(name: string, version: string, directory: string): Promise<void> {
  const work = await mkdtemp(join(directory, 'work-'));
  const archive = await download(name, version, work);
  const root = join(work, 'root');
  await runProgram('dpkg-deb', ['-x', archive, root]);
  const release = name.replace('linux-image-', '');
  await copyFile(join(root, 'boot', `vmlinuz-${release}`), join(directory, 'vmlinuz'));
  const inUsr = await readdir(join(root, 'usr', 'lib', 'modules')).catch(() => undefined);
  const library = join(root, inUsr === undefined ? 'lib' : 'usr/lib');
  const tree = join(library, 'modules', release);
  const { modules, scsi } = await loadOrder(tree);
  await writeModules(join(directory, 'modules'), modules);
  await writeModules(join(directory, 'scsi-modules'), scsi);
  await rm(work, { recursive: true });
}

/** Module files whose names sort in the order in which they must be loaded. */
async function writeModules(directory: string, modules: Map<string, Buffer>): Promise<void> {
  await mkdir(directory);
  let index = 0;
  for (const [module, content] of modules) {
    const file = `${String(index).padStart(2, '0')}-${module}.ko`;
    await writeFile(join(directory, file), content);
    index += 1;
  }
}

async function modulesIn(directory: string): Promise<string[]> {
  return (await readdir(directory)).sort().map((file) => join(directory, file));
}

/**
 * Debian's current cloud kernel and the modules for a virtio disk with ext4, from the package that
 * `linux-image-cloud-amd64` depends on. It is downloaded once into `cache` and not installed.
 */
export async function debianKernel(cache: string): Promise<DebianKernel> {
  const { name, version } = await resolvePackage();
  const entry = `${name}_${version}_${contents}`.replaceAll(/[^\w.~+-]/g, '_');
  const directory = await cachedDirectory(cache, entry, (path) => unpack(name, version, path));
  return {
    version: entry,
    kernel: join(directory, 'vmlinuz'),
    modules: await modulesIn(join(directory, 'modules')),
    scsiModules: await modulesIn(join(directory, 'scsi-modules')),
  };
}
