import { sharingMutations } from './mutations-sharing.ts';
import { volumeMutations } from './mutations-volumes.ts';
import type { Theme } from './themes.ts';

/**
 * Small breakages of the code under test, each of a rule that everything stands on. The simulator
 * is worth something only if it notices every one of them (`mutation-check.ts`).
 */
export type Mutation = {
  name: string;
  /** Below the repository. */
  file: string;
  /** Occurs exactly once in the file. */
  find: string;
  replace: string;
  /** The rule (docs/design/rules.md) or the reason of what is broken. */
  why: string;
  /**
   * It takes more than 15 s of processor time to be found: `./check` tries only the history that is
   * known to notice it (`mutation-seeds.ts`), and does not mind when that one does not any more.
   */
  slow?: true;
  /** Only histories that are about this are tried: others seldom meet what is broken. */
  theme?: Theme;
};

export const mutations: readonly Mutation[] = [
  {
    name: 'fence-not-recorded',
    slow: true,
    file: 'src/node/fence-here.ts',
    find: '    await engine.layers.setFence(worker.id, epoch);\n',
    replace: '',
    why: 'rule 3: a member that forgot its refusal exports an old epoch again',
  },
  {
    name: 'fence-leaves-exports',
    file: 'src/node/fence-here.ts',
    find: 'if (key.volume === worker.id && writable && key.epoch < epoch) {',
    replace: 'if (key.volume === worker.id && writable && key.epoch < epoch - 9999) {',
    why: 'rule 3: the old head goes on writing to a fenced member',
  },
  {
    name: 'fence-leaves-heads',
    file: 'src/node/fence-here.ts',
    find: 'if (head !== null && head.state.epoch < epoch) {',
    replace: 'if (head !== null && head.state.epoch < epoch - 9999) {',
    why: 'rule 3: an old head without peers goes on by itself',
  },
  {
    name: 'stale-swap-accepted',
    file: 'src/store/etcd-transactions.ts',
    find: "compare: Wanted['compare'] = [atRevision(key, previous.revision)];",
    replace: "compare: Wanted['compare'] = [];",
    why: 'rule 8: only the swap decides',
  },
  {
    name: 'no-wait-for-watchdog',
    file: 'src/node/take-over.ts',
    find: 'environment.after(staleReadsEndMs, resolve)',
    replace: 'environment.after(0, resolve)',
    why: 'rule 14: the cut-off head still answers reads',
  },
  {
    name: 'boot-forgotten-in-fence',
    file: 'src/volume/fence.ts',
    find: 'return answer?.holds === true && answer.boot === m.boot;',
    replace: 'return answer?.holds === true;',
    why: 'rule 6: a member that lost its cache decides',
  },
  {
    name: 'crash-called-clean',
    file: 'src/node/complete-roll.ts',
    find: 'return graceful ? closing.members.map((m) => m.node) : [];',
    replace: 'return graceful !== null ? closing.members.map((m) => m.node) : [];',
    why: 'rule 5: a crash leaves copies that differ',
  },
  {
    name: 'take-over-calls-all-clean',
    file: 'src/volume/fence.ts',
    find: 'sealLayer(tail.unsealed, authority, [])',
    replace: 'sealLayer(tail.unsealed, authority, tail.unsealed.members.map((m) => m.node))',
    why: 'rule 5: unverified copies are promoted unseen',
  },
  {
    name: 'member-error-ignored',
    file: 'src/node/volume-worker.ts',
    find: 'this.memberErrors.add(node);',
    replace: '',
    why: 'rule 2: a member that failed stays, and the guest with it',
  },
  {
    name: 'old-head-not-ended',
    file: 'src/node/volume-worker.ts',
    find: '      await head.kill();\n      return graceful',
    replace: '      if (graceful) await head.kill();\n      return graceful',
    why: 'rule 10: confirmed before the old writer is dead',
  },
  {
    name: 'mend-marks-without-mending',
    file: 'src/node/mend.ts',
    find: 'await mending.write(index, chunk);',
    replace: '',
    why: 'rule 16: clean is proven',
  },
  {
    name: 'burn-mark-not-asked',
    file: 'src/node/local-view.ts',
    find: 'openLayerBurnt: asks &&',
    replace: 'openLayerBurnt: false && asks &&',
    why: 'rule 17: a head that died is started on the same layer again',
  },
  {
    name: 'merge-garbage-deleted-early',
    file: 'src/volume/merge.ts',
    find: "afterEpoch: volume.tail.phase === 'opening' ? volume.epoch - 1 : volume.epoch,",
    replace: 'afterEpoch: 0,',
    why: 'files are deleted under a head that reads them',
  },
  {
    name: 'read-from-unverified',
    file: 'src/node/layer-sources.ts',
    find: "if (replicaOn(layer, worker.context.self.node)?.state === 'clean') {",
    replace: 'if (replicaOn(layer, worker.context.self.node) !== undefined) {',
    why: 'rule 5: an unverified copy is read',
  },
  {
    name: 'detach-keeps-export',
    file: 'src/node/sessions.ts',
    find: 'for (const session of change.remove) await',
    replace: 'for (const session of change.remove.slice(1)) await',
    why: 'rule 15: a detached consumer replays',
  },
  {
    name: 'unready-member-kept',
    file: 'src/node/complete-roll.ts',
    find: 'return ready.every(Boolean);',
    replace: 'return ready.some(Boolean);',
    why: 'an epoch opens with a member that has no file',
  },
  {
    name: 'burn-mark-dropped',
    file: 'src/node/complete-roll.ts',
    find: 'if (!(await engine.layers.burn(layerKey(worker.id, open)))) {',
    replace: 'if (open.epoch < 0) {',
    why: 'rule 17: a layer is opened by one head',
  },
  {
    name: 'merge-copies-believed',
    file: 'src/volume/merge.ts',
    find: "...targets.map((t) => ({ ...t, state: 'copying' as const })),",
    replace: "...targets.map((t) => ({ ...t, state: 'clean' as const })),",
    why: 'rule 16: copies of a merge count before they are proven',
  },
  {
    name: 'merge-into-its-base',
    file: 'src/node/build-merge.ts',
    find: 'const key = { volume: id, layer: into, epoch: mergedEpoch(volume) };',
    replace:
      "const key = { volume: id, layer: inputs[0]?.layer.id ?? '', epoch: mergedEpoch(volume) };",
    why: 'rule 4: the result of a merge takes the place of a sealed layer',
  },
  {
    name: 'dropped-copy-deleted-early',
    file: 'src/volume/copies.ts',
    find: '        afterEpoch: volume.epoch,\n',
    replace: '        afterEpoch: 0,\n',
    why: 'a copy is deleted under a head that reads it',
  },
  {
    name: 'garbage-kept-with-new-copy',
    file: 'src/volume/copies.ts',
    find: 'g.layer === id ? { ...g, holders: g.holders.filter((h) => h.pool !== copy.pool) } : g,',
    replace: 'g,',
    why: 'rule 7: the deletion of an old copy takes the new one',
  },
  {
    name: 'seal-without-sync',
    file: 'src/node/complete-roll.ts',
    find: 'await onOwnDisk(worker, () => engine.layers.sync(layerKey(worker.id, closing)));',
    replace: '',
    why: 'rule 12: sync before seal',
  },
  {
    name: 'fence-without-sync',
    file: 'src/node/fence-here.ts',
    find: 'for (const key of held) if (key.epoch < epoch) await engine.layers.sync(key);',
    replace: '',
    why: 'rule 12: the authority of a take-over is synced before it is believed',
  },
  {
    name: 'close-calls-all-clean',
    slow: true,
    file: 'src/node/perform.ts',
    find: 'const clean = graceful ? layer.members.map((m) => m.node) : [];',
    replace: 'const clean = layer.members.map((m) => m.node);',
    why: 'rule 5: a head that was killed leaves copies that differ',
  },
  {
    name: 'delete-forgets-chain',
    file: 'src/volume/delete.ts',
    find: 'garbage: [...settled.garbage, ...sealed, ...unsealed.map(discarded)],',
    replace: 'garbage: [...settled.garbage, ...sealed.slice(1), ...unsealed.map(discarded)],',
    why: 'deleted volumes leave files',
  },
  {
    name: 'discarded-layer-forgotten',
    file: 'src/volume/roll.ts',
    find: 'garbage: [...volume.garbage, discarded(tail.next)],',
    replace: 'garbage: volume.garbage,',
    why: 'a layer that was prepared in vain leaves files',
  },
  {
    name: 'deletion-asks-no-holder',
    file: 'src/cluster/jobs.ts',
    find: 'isDeletable(volume, g.afterEpoch) && ',
    replace: '',
    why: 'files go while a head may read them',
  },
  {
    name: 'manifest-of-anybody',
    file: 'src/cluster/jobs.ts',
    find: 'return live[0] === node;',
    replace: 'return replicaOn(layer, node) !== undefined;',
    why: 'rule 16: only a clean copy says what is right',
  },
  {
    name: 'export-behind-fence',
    slow: true,
    file: 'src/node/exports.ts',
    find: 'if (writable && key.epoch < fence) continue;',
    replace: '',
    why: 'rule 3: a node that hears late exports again what it has fenced',
  },
  {
    name: 'detach-answered-early',
    file: 'src/node/agent.ts',
    find: 'await worker.waitUntil(() => worker.detached(), signal);',
    replace: '',
    why: 'rule 15: a write of the detached consumer may still land',
  },
  {
    name: 'watchdog-never-kills',
    file: 'src/watchdog/freshness.ts',
    find: "stale && f.known ? 'kill' : 'ask-members'",
    replace: "'ask-members'",
    why: 'rule 14: a cut-off head answers reads for ever',
  },
  {
    name: 'watchdog-asks-first-after-a-pause',
    slow: true,
    file: 'src/watchdog/freshness.ts',
    find: "stale && f.known ? 'kill' : 'ask-members'",
    replace: "stale && f.membersSeen > 0 ? 'kill' : 'ask-members'",
    why: 'rule 14: a head that stood still with its host answers reads while members are asked',
  },
  {
    name: 'merge-built-too-small',
    file: 'src/node/build-merge.ts',
    find: '    top.layer.sizeBytes,\n',
    replace: '    inputs[0]?.layer.sizeBytes ?? 0,\n',
    why: 'extend: what was written behind the end of the older layer is lost',
  },
  {
    name: 'merge-takes-older-size',
    file: 'src/volume/merge.ts',
    find: '    sizeBytes: top.sizeBytes,\n',
    replace: '    sizeBytes: run[0]?.sizeBytes ?? 0,\n',
    why: 'extend: the merged layer is recorded smaller than what is in it',
  },
  {
    name: 'confirm-forgets-size',
    file: 'src/volume/roll.ts',
    find: '    sizeBytes: tail.next.sizeBytes,\n',
    replace: '',
    why: 'extend: the size that is reported is not that of the layer that was prepared',
  },
  {
    name: 'member-made-too-small',
    file: 'src/node/complete-roll.ts',
    find: '.prepareLayer({ ...key, sizeBytes: next.sizeBytes });',
    replace: '.prepareLayer({ ...key, sizeBytes: volume.sizeBytes });',
    why: 'extend: a member has no room for what is written to the new part',
  },
  {
    name: 'gateway-keeps-size',
    slow: true,
    file: 'src/node/peer-calls.ts',
    find: 'if (known?.port === port && known.sizeBytes === sizeBytes)',
    replace: 'if (known?.port === port)',
    why: 'extend: a consumer behind a proxy never sees the new size',
  },
  {
    name: 'copy-made-too-large',
    file: 'src/node/mend.ts',
    find: '  return layer.sizeBytes;',
    replace: '  return worker.volume?.sizeBytes ?? layer.sizeBytes;',
    why: 'extend: copies of an older layer are as long as that layer, or they never are equal',
  },
  ...sharingMutations,
  ...volumeMutations,
];
