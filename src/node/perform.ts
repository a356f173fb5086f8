import { detach } from '../volume/attach.ts';
import { takeOverEpoch } from '../volume/fence.ts';
import { limitsText } from '../volume/limits-text.ts';
import { unsealedLayer } from '../volume/queries.ts';
import { abandonOpening, close } from '../volume/roll.ts';
import type { NodeLease, UnsealedLayer, Volume } from '../volume/types.ts';
import { completeRoll, startConfirmedHead } from './complete-roll.ts';
import type { Duty } from './duties.ts';
import { giveUpVolume } from './give-up.ts';
import { layerKey } from './layer-key.ts';
import { letOtherOpen } from './let-other-open.ts';
import { prepare } from './prepare-roll.ts';
import { syncSessions } from './sessions.ts';
import { completeTakeOver } from './take-over.ts';
import type { VolumeWorker } from './volume-worker.ts';
import { whileAttached } from './while-attached.ts';

/** A graceful end of a head that takes longer than this is not waited for. */
const closeTimeoutMs = 5_000;
/** Short, because the head's node may just have died: a take-over must not wait behind it. */
const gatewayTimeoutMs = 1_000;
/**
 * Hosts that do not reach each other for longer may have given connections up that the other one still
 * waits on. Less than for what Linux tells a peer again that a process has ended (100 s and more).
 */
const believedMs = 60_000;

/** Carries one duty out. @throws whatever keeps it from being done; the worker tries again. */
export async function performDuty(worker: VolumeWorker, duty: Duty): Promise<void> {
  const { self, events } = worker.context;
  const name = worker.volume?.name ?? worker.id;
  switch (duty.kind) {
    case 'kill-head':
      await worker.killHead();
      events.emit(
        'head.killed',
        `The head of volume ${name} on ${self.node} was ended: ${duty.why}.`,
        {
          volume: worker.id,
        },
      );
      return dropSocketWhenUnused(worker);
    case 'stop-proxy': {
      const { proxy } = worker;
      worker.listensFor(null);
      worker.setProxy(null);
      await proxy?.handle.kill();
      return dropSocketWhenUnused(worker);
    }
    case 'stop-gateway': {
      const gateway = worker.gateways.get(duty.session);
      worker.gateways.delete(duty.session);
      return gateway?.kill();
    }
    case 'drop-attachment':
      await worker.change((v) => detach(v, duty.host));
      return;
    case 'open':
      await prepare(worker, null);
      return;
    case 'stand-in':
      return letOtherOpen(worker);
    case 'roll':
      await prepare(worker, duty.reason, duty.sizeBytes);
      return;
    case 'complete-roll':
      return completeRoll(worker);
    case 'abandon-opening':
      await worker.change((v) => abandonOpening(v, duty.layer));
      return;
    case 'start-head':
      return startConfirmedHead(worker);
    case 'hand-over':
      return giveUpVolume(worker, duty.to);
    case 'close':
      return closeVolume(worker);
    case 'set-limits':
      await worker.gate.run(async () => worker.head?.setLimits(duty.limits));
      events.emit('volume.limits', `Volume ${name} may do ${limitsText(duty.limits)} now.`, {
        volume: worker.id,
        values: duty.limits,
      });
      return;
    case 'sync-sessions':
      return syncSessions(worker, duty);
    case 'start-proxy':
      return startProxy(worker, duty);
    case 'begin-fencing': {
      const gone = duty.writer === self.node || (await hasRebooted(worker, duty));
      await worker.change(
        (v) => takeOverEpoch(v, self.node, duty),
        gone ? {} : { leaseGone: duty.writer },
      );
      events.emit(
        'volume.take-over',
        `${self.node} takes volume ${name} over from ${duty.writer}.`,
        {
          volume: worker.id,
        },
      );
      return;
    }
    case 'complete-fencing':
      return completeTakeOver(worker);
  }
}

/** Nobody here uses the volume: ends the head in good order and seals what it wrote. */
async function closeVolume(worker: VolumeWorker): Promise<void> {
  const { volume } = worker;
  const { engine, self } = worker.context;
  const tail = volume?.tail;
  if (tail?.phase !== 'open') return;
  const graceful = await worker.endHead(closeTimeoutMs);
  const { layer } = tail;
  await engine.layers.sync(layerKey(worker.id, layer));
  const clean = graceful ? layer.members.map((m) => m.node) : [];
  await worker.change((v) => close(v, layer.id, self, clean));
  await dropSocketWhenUnused(worker);
}

/**
 * Forwards to the head's gateway, which is asked for while the first proxy gets ready.
 *
 * A proxy that is there may go on with a gateway that came back on its port, as QEMU connects again when
 * it hears that a connection is gone. Of a host that lost its power it hears nothing, unless it has
 * something to send: with all requests sent and none answered it would wait for ever.
 */
async function startProxy(
  worker: VolumeWorker,
  duty: { headNode: string; session: string; epoch: number },
): Promise<void> {
  const { peers, engine } = worker.context;
  const { headNode, session, epoch } = duty;
  const address = worker.context.nodes().find((n) => n.name === headNode)?.address ?? '';
  const { proxy } = worker;
  const before = proxy?.handle.spec.address === address ? proxy.handle.spec.port : null;
  const where = peers
    .of(headNode, { timeoutMs: gatewayTimeoutMs })
    .openGateway({ volume: worker.id, session, port: before })
    .then((gateway) => ({
      ...{ volume: worker.id, session, address, headNode, ...gateway },
      ...worker.shownAs,
    }));
  if (proxy !== null) {
    const { port, sizeBytes, boot } = await where;
    const { spec } = proxy.handle;
    const same = port === before && sizeBytes === spec.sizeBytes && boot === spec.boot;
    const believed = worker.context.environment.monotonic() - proxy.rightAt < believedMs;
    if (worker.proxy === proxy && same && believed) {
      worker.proxyIsRight(epoch);
      return;
    }
    worker.setProxy(null);
    await proxy.handle.kill();
  }
  const listens = () => worker.listensFor(session);
  const handle = await whileAttached(worker, session, (signal) =>
    engine.startProxy(worker.id, where, listens, signal),
  );
  const rightAt = worker.context.environment.monotonic();
  worker.setProxy({ handle, headNode, session, epoch, rightAt });
  worker.proxyIsRight(epoch);
}

async function dropSocketWhenUnused(worker: VolumeWorker): Promise<void> {
  if (!worker.isAttached()) await worker.context.engine.removeAttachSocket(worker.id);
}

/**
 * True when the writer's node is up again in another boot: its old head is gone for sure. The cache
 * may still have the lease of the boot before that of the record.
 */
async function hasRebooted(
  { volume, context }: VolumeWorker,
  { writer, epoch }: { writer: string; epoch: number },
): Promise<boolean> {
  if (volume?.epoch !== epoch) return false;
  const layer = unsealedLayer(volume) ?? openingLayer(volume);
  const member = layer?.members.find((m) => m.node === writer);
  const isOther = (lease: NodeLease | null) =>
    lease !== null && member !== undefined && lease.boot !== member.boot;
  const cached = context.nodes().find((n) => n.name === writer)?.lease ?? null;
  return isOther(cached) && isOther(await context.store.readLease(writer));
}

function openingLayer({ tail }: Volume): UnsealedLayer | null {
  return tail.phase === 'opening' ? tail.next : null;
}
