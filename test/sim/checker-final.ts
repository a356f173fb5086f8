import { isNameless } from '../../src/volume/delete.ts';
import { knownLayers } from '../../src/volume/queries.ts';
import type { Volume } from '../../src/volume/types.ts';
import { type Checks, short } from './checker-known.ts';
import { chainContent, checkCopies } from './checker-record.ts';
import { overlay } from './layer-store.ts';

/**
 * What must hold when every machine is up and nothing is under way any more.
 * @param names whose each name is by the store
 */
export function checkFinal(
  checker: Checks,
  volumes: readonly Volume[],
  names: ReadonlyMap<string, string>,
): void {
  for (const volume of volumes) {
    if (volume.tail.phase === 'deleting') continue;
    const known = checker.known(volume.id);
    checkCopies(checker, known, volume);
    if (volume.role === 'base') continue;
    const chain = chainContent(known, volume);
    const { tail } = volume;
    const tops =
      tail.phase === 'open'
        ? tail.layer.members.map(({ node }) => ({
            node,
            content: checker.diskOf(node)?.copies.get(tail.layer.id)?.cached ?? [],
          }))
        : [{ node: 'the chain', content: [] }];
    for (const { node, content } of tops) {
      const wrong = known.history.wrongContent(overlay([chain, content]));
      if (wrong !== null) checker.fail(`at the end ${node} of ${short(volume.id)}: ${wrong}`);
    }
  }
  checkFiles(checker, volumes);
  checkNames(checker, volumes, names);
}

/** Every volume has its name, and no other one: nobody else can take it, and the others are free. */
function checkNames(
  checker: Checks,
  volumes: readonly Volume[],
  names: ReadonlyMap<string, string>,
): void {
  const named = volumes.filter((v) => !isNameless(v));
  for (const { id, name } of named) {
    if (names.get(name) !== id)
      checker.fail(`${short(id)} is called ${name}, and has not that name`);
  }
  for (const [name, id] of names) {
    if (named.some((v) => v.id === id && v.name === name)) continue;
    checker.fail(`the name ${name} is kept for ${short(id)}, which has it no longer`);
  }
}

/** No file is left that nobody would ever delete. */
function checkFiles(checker: Checks, volumes: readonly Volume[]): void {
  for (const disk of checker.disks) {
    for (const { key } of disk.copies.values()) {
      const volume = volumes.find((v) => v.id === key.volume);
      const name = `${disk.machine.name} still has layer ${key.epoch} of ${short(key.volume)}`;
      if (volume === undefined) checker.fail(`${name}, which was deleted`);
      if (!knownLayers(volume).some((l) => l.id === key.layer)) {
        checker.fail(`${name}, which the record does not know`);
      }
    }
  }
}
