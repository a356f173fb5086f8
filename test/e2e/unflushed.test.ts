/** Rule 1: an acknowledged write is stable, whether its consumer has flushed or not. */
import { expect, test } from 'vitest';
import { sharedCluster } from './fixture.ts';
import { block, expectPieces } from './fixture-io.ts';

const cluster = sharedCluster({ nodes: ['n1', 'n2', 'n3'] });

const blocks = Array.from({ length: 200 }, (_, number) => block(number));

// Fails with `writethrough: false` in the head's graph, at the first read after the kill; with
// overwrites of what is allocated it would not.
test.each(['Bronze', 'Silver'] as const)(
  'unflushed writes to unallocated blocks survive the death of the head (%s)',
  async (policy) => {
    const volume = await cluster.createVolume(policy);
    const endpoint = await volume.attach('n1');
    const { epoch } = await volume.show('n1');
    const io = cluster.qemuIo(endpoint);
    for (const piece of blocks) await io.write(piece);
    cluster.node('n1').kill('head');
    for (const piece of blocks) await io.read(piece);
    expect((await volume.show('n1')).epoch).toBeGreaterThan(epoch);
    io.kill();
    await volume.detach('n1');
    // The head of the next attachment, on another node, reads all of it from the sealed layers.
    await expectPieces((await volume.attach('n2')).uri, blocks);
  },
);
