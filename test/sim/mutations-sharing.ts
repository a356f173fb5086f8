import type { Mutation } from './mutations.ts';

/** Breakages of what snapshots, clones and reverts stand on. */
export const sharingMutations: readonly Mutation[] = [
  {
    name: 'clone-without-its-note',
    file: 'src/node/snapshots.ts',
    find: 'return (await store.createWith(volume, { previous, next }))?.value;',
    replace: `const made = (await store.create(volume)).value;
    await this.#agent.worker(next.id).change((v) =>
      addClone(v, { volume: volume.id, layer: parent.layer }),
    );
    return made;`,
    why: 'rule 4: between the two steps nobody knows that the layers are needed',
  },
  {
    name: 'clone-of-an-older-record',
    slow: true,
    file: 'src/store/etcd-transactions.ts',
    find: '...(other ? [atRevision(other.key, parent.previous.revision)] : []),',
    replace: '',
    why: 'rule 4: what the clone goes on from was merged or deleted meanwhile',
  },
  {
    name: 'merge-under-a-clone',
    file: 'src/volume/marks.ts',
    find: 'of volume.chain.slice(sharedUpTo(volume) + 1)',
    replace: 'of volume.chain',
    why: 'rule 4: what a clone sees is not merged',
  },
  {
    name: 'merge-across-a-snapshot',
    file: 'src/volume/marks.ts',
    find: 'if (!marked.has(layer.id)) continue;',
    replace: 'if (marked !== null) continue;',
    why: 'rule 4: what a snapshot ends at is not merged with newer layers',
  },
  {
    name: 'merge-leaves-a-snapshot-behind',
    file: 'src/volume/merge.ts',
    find: '(s.layer === top.id ? { ...s, layer: into } : s)',
    replace: '(s.layer === into ? { ...s, layer: top.id } : s)',
    why: 'rule 4: a snapshot moves with the layer that it ends at',
  },
  {
    name: 'shared-copy-deleted-under-its-reader',
    file: 'src/cluster/jobs.ts',
    find: ' && !held.has(g.layer)',
    replace: '',
    why: 'a copy is deleted that the head of a clone reads',
  },
  {
    name: 'reader-of-a-shared-copy-not-asked',
    file: 'src/node/shared-readers.ts',
    find: 'return head?.sealed.every((s) => s.layer !== layer || s.from !== self.node) === true;',
    replace: 'return head !== undefined;',
    why: 'a copy is deleted that the head of a clone reads',
  },
  {
    name: 'snapshot-without-seal',
    file: 'src/node/sealed-point.ts',
    find: 'if (settled && now !== null && now === open) await',
    replace: 'if (settled && now !== null && now === undefined) await',
    why: 'a snapshot or a clone lacks what was acknowledged before it was asked for',
  },
  {
    name: 'snapshot-deleted-by-the-cache',
    theme: 'late news',
    file: 'src/node/snapshots.ts',
    find: 'return (await store.readVolume(value.id))?.value ?? value;',
    replace: 'return value;',
    why: 'the deletion of a snapshot is answered, and it is there',
  },
  {
    name: 'base-deleted-with-clones',
    file: 'src/volume/delete.ts',
    find: 'const kept = sharedUpTo(settled) + 1;',
    replace: 'const kept = 0;',
    why: 'rule 4: what clones see of a deleted volume stays',
  },
  {
    name: 'base-kept-for-nobody',
    file: 'src/volume/delete.ts',
    find: "return volume.role === 'base' && volume.tail.phase === 'idle' && clonesOf(volume).length === 0;",
    replace: 'return volume.tail.phase === undefined;',
    why: 'what clones needed goes with the last of them',
  },
  {
    name: 'gone-clone-decided-by-the-cache',
    slow: true,
    file: 'src/node/background.ts',
    find: 'if (!goesOnFrom(now?.value, volume.id)) gone.push(clone.volume);',
    replace: 'if (now !== null) gone.push(clone.volume);',
    why: 'rule 8: a cache may know of the note and not yet of the clone',
  },
  {
    name: 'revert-under-a-consumer',
    file: 'src/volume/snapshots.ts',
    find: '  if (attachment !== undefined) {\n',
    replace:
      "  if (attachment !== undefined) {\n    return revertTo({ ...volume, attachments: [], tail: { phase: 'idle' } }, id);\n",
    why: 'a volume is reverted only when nobody uses it',
  },
  {
    name: 'revert-keeps-newer-layers',
    file: 'src/volume/snapshots.ts',
    find: 'chain: settled.chain.slice(0, place + 1),',
    replace: 'chain: settled.chain.slice(0, Math.max(1, place + 1)),',
    why: 'a reverted volume shows what its snapshot shows',
  },
  {
    name: 'clone-shows-newer-layers',
    file: 'src/volume/lineage.ts',
    find: 'parts.unshift(home.chain.slice(0, place + 1).map(',
    replace: 'parts.unshift(home.chain.slice(0, place + 2).map(',
    why: 'a clone shows its ancestor up to where it goes on, and nothing that came later',
  },
  {
    name: 'flattened-clone-never-forgotten',
    theme: 'clones',
    file: 'src/node/kin.ts',
    find: ' ?? this.#parents.get(id);',
    replace: ';',
    why: 'what a clone went on from is kept for ever: nobody looks when the clone needs it no more',
  },
  {
    name: 'flattened-clone-forgotten-early',
    theme: 'clones',
    file: 'src/volume/flatten.ts',
    find: 'return volume.leaving !== undefined && isDeletable(volume, volume.leaving.afterEpoch);',
    replace: 'return volume.leaving !== undefined;',
    why: 'the head of a flattened clone reads the layers of its former parent until the next roll',
  },
];
