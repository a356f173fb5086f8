"""What volumes become: by their type, on another backend, under Cinder's management."""

from __future__ import annotations

from typing import Any, Callable

from cloud import HSCLI, check, hscli, name_of, run, until, write
from steps import POOL, called, cinder, cloud, snapshots, step, volumes

@step
def types_and_qos() -> None:
    """extra specs and QoS specs at creation and by retype, while the volume is used too"""
    gold = cinder.volume_types.create(called('gold'))
    gold.set_keys({'volume_backend_name': 'hyperscale', 'hyperscale:reflections': '2'})
    limited = cinder.volume_types.create(called('limited'))
    limited.set_keys({'volume_backend_name': 'hyperscale', 'hyperscale:policy': 'bronze'})
    qos = cinder.qos_specs.create(called('qos'), {'consumer': 'back-end', 'max_iops': '500',
                                               'max_bandwidth': '20M'})
    cinder.qos_specs.associate(qos, limited.id)
    bad = cinder.volume_types.create(called('bad'))
    bad.set_keys({'volume_backend_name': 'hyperscale', 'hyperscale:policy': 'Lead'})
    try:
        volume = cloud.volume(volume_type=called('limited'))
        now = hscli('volume', 'show', name_of(volume))
        assert now['policy']['name'] == 'Bronze', now
        assert now['limits']['maxIops'] == 500, now
        assert now['limits']['maxBandwidth'] == 20 * 1024 ** 2, now
        clone = cloud.volume(volume_type=called('limited'), source_volid=volume.id)
        assert hscli('volume', 'show', name_of(clone))['limits']['maxIops'] == 500
        write(volume, 4)
        run(HSCLI, 'volume', 'attach', name_of(volume))
        volumes.retype(volume, called('gold'), 'never')
        until(lambda: volumes.get(volume.id).volume_type == called('gold'), 'it is retyped')
        cloud.when(volumes, volume.id)
        run(HSCLI, 'volume', 'detach', name_of(volume))
        now = hscli('volume', 'show', name_of(volume))
        assert (now['policy']['name'], now['limits']['from']) == ('Gold', 'policy'), now
        assert now['limits']['maxBandwidth'] is None, now
        check(volume, 4)
        refused = volumes.create(1, volume_type=called('bad'))
        cloud.when(volumes, refused.id, 'error')
        cloud.delete(volumes, refused, clone, volume)
    finally:
        cinder.qos_specs.disassociate_all(qos)
        for one in (gold, limited, bad):
            until(lambda one=one: dropped(lambda: cinder.volume_types.delete(one)), 'type is free')
        cinder.qos_specs.delete(qos)


def dropped(call: Callable[[], Any]) -> bool:
    try:
        call()
    except Exception as error:
        if getattr(error, 'code', None) not in (400, 404):
            raise
        return getattr(error, 'code', None) == 404
    return True


@step
def retype_between_backends() -> None:
    """to another driver and back: Cinder copies, and the name follows"""
    volume = cloud.volume()
    write(volume, 6)
    volumes.retype(volume, 'trivial', 'on-demand')
    until(lambda: volumes.get(volume.id).volume_type == 'trivial', 'it is trivial')
    cloud.when(volumes, volume.id)
    volumes.retype(volume, 'hyperscale', 'on-demand')
    until(lambda: volumes.get(volume.id).volume_type == 'hyperscale', 'it is back')
    cloud.when(volumes, volume.id)
    check(volume, 6)
    cloud.delete(volumes, volume)


@step
def manage() -> None:
    """volumes and snapshots that were there before Cinder, and back"""
    run(HSCLI, 'volume', 'create', called('old'), '--size', '1500M', '--policy', 'Bronze')
    run(HSCLI, 'snapshot', 'create', called('old'), 'monday')
    listed = volumes.list_manageable(POOL, detailed=True)
    [entry] = [v for v in listed if v.reference == {'source-name': called('old')}]
    assert entry.safe_to_manage and entry.size == 2, entry
    volume = cloud.when(volumes, volumes.manage(
        POOL, {'source-name': called('old')}, volume_type='hyperscale').id)
    assert volume.size == 2
    shown = hscli('volume', 'show', name_of(volume))
    snaps = snapshots.list_manageable(POOL, detailed=True)
    [entry] = [s for s in snaps if s.source_reference == {'source-name': name_of(volume)}]
    snapshot = cloud.when(
        snapshots, snapshots.manage(volume.id, entry.reference, name='monday').id)
    again = snapshots.manage(volume.id, entry.reference)
    cloud.when(snapshots, again.id, 'error')
    snapshots.unmanage(again)
    copy = cloud.volume(2, snapshot_id=snapshot.id)
    cloud.delete(volumes, copy)
    snapshots.unmanage(snapshot)
    until(lambda: len(snapshots.list(search_opts={'volume_id': volume.id})) == 0, 'unmanaged')
    volumes.unmanage(volume)
    until(lambda: not [v for v in volumes.list() if v.id == volume.id], 'unmanaged')
    missing = volumes.manage(POOL, {'source-name': 'no-such'}, volume_type='hyperscale')
    cloud.when(volumes, missing.id, 'error', 'error_managing')
    volumes.unmanage(missing)
    back = cloud.when(volumes, volumes.manage(
        POOL, {'source-id': shown['id']}, volume_type='hyperscale').id)
    run(HSCLI, 'snapshot', 'delete', name_of(back), 'monday')
    cloud.delete(volumes, back)
