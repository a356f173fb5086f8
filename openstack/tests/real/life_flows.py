"""Volumes and snapshots, from their making to their end."""

from __future__ import annotations

import functools

from cinderclient.exceptions import BadRequest
from cloud import HSCLI, check, gone, hscli, name_of, run, until, write
from steps import GIB, cinder, cloud, snapshots, step, volumes

@step
def life_cycle() -> None:
    """create, extend, snapshot, clone, volume from snapshot, delete in any order"""
    volume = cloud.volume()
    assert hscli('volume', 'show', name_of(volume))['policy']['name'] == 'Silver'
    write(volume, 1)
    volumes.extend(volume, 2)
    cloud.when(volumes, volume.id)
    assert hscli('volume', 'show', name_of(volume))['sizeBytes'] == 2 * GIB
    snapshot = cloud.snapshot(volume)
    write(volume, 2)
    clone = cloud.volume(2, source_volid=volume.id)
    old = cloud.volume(3, snapshot_id=snapshot.id)
    write(volume, 3)
    check(clone, 2)
    check(old, 1)
    assert hscli('volume', 'show', name_of(old))['sizeBytes'] == 3 * GIB
    cloud.delete(snapshots, snapshot)
    cloud.delete(volumes, volume)
    check(old, 1)
    cloud.delete(volumes, clone, old)


@step
def revert() -> None:
    """revert to the newest snapshot; with a clone made since, Cinder copies"""
    volume = cloud.volume()
    write(volume, 1)
    snapshot = cloud.snapshot(volume)
    write(volume, 2)
    volumes.revert_to_snapshot(volume, snapshot)
    cloud.when(volumes, volume.id)
    check(volume, 1)
    write(volume, 3)
    clone = cloud.volume(source_volid=volume.id)
    volumes.revert_to_snapshot(volume, cloud.when(snapshots, snapshot.id))
    cloud.when(volumes, volume.id)
    check(volume, 1)
    check(clone, 3)
    cloud.delete(snapshots, cloud.when(snapshots, snapshot.id))
    cloud.delete(volumes, volume, clone)


@step
def connections() -> None:
    """attachments of hosts end with those of Cinder, also by force"""
    volume = cloud.volume()
    for force in (False, True):
        attachment = cinder.attachments.create(volume.id, {}, None)
        attachment_id = attachment['id']
        cinder.attachments.update(attachment_id, {'host': 'c1', 'hyperscale_node': 'c1'})
        info = cinder.attachments.show(attachment_id).connection_info
        assert info['volume'] == name_of(volume), info
        run(HSCLI, 'volume', 'attach', name_of(volume), '--node', 'c1')
        if force:
            # As the operator does it when Nova knows nothing of the attachment any more.
            cinder.attachments.complete(attachment_id)
            volumes._action('os-force_detach', volume,
                            {'attachment_id': attachment_id, 'connector': None})
        else:
            cinder.attachments.delete(attachment_id)
        cloud.when(volumes, volume.id)
        assert hscli('volume', 'show', name_of(volume))['attachments'] == []
    cloud.delete(volumes, volume)


@step
def encrypted() -> None:
    """a volume of an encrypted type, empty and of an image"""
    volume = cloud.volume(volume_type='luks')
    clone = cloud.volume(volume_type='luks', source_volid=volume.id)
    cloud.delete(volumes, clone, volume)


@step
def transfer() -> None:
    """another project takes a volume"""
    volume = cloud.volume()
    offer = cinder.transfers.create(volume.id, 'flow')
    cinder.transfers.accept(offer.id, offer.auth_key)
    cloud.when(volumes, volume.id)
    cloud.delete(volumes, volume)


@step
def deleted_in_every_state() -> None:
    """deleted, or refused, in every state that a volume or a snapshot can be in"""
    volume = cloud.volume()
    snapshot = cloud.snapshot(volume)
    # With a snapshot, or while something is done with it: Cinder refuses, and the volume stays.
    for refuse in ('snapshot', 'attaching', 'detaching', 'maintenance'):
        if refuse != 'snapshot':
            volumes.reset_state(volume, refuse)
        try:
            volumes.delete(volume.id)
            raise AssertionError(f'a volume was deleted that is {refuse}')
        except BadRequest:
            pass
        hscli('volume', 'show', name_of(volume))
    volumes.reset_state(volume, 'available')
    for state in ('error', 'error_deleting', 'creating', 'deleting', 'available'):
        snapshots.reset_state(snapshot, state)
        snapshots.delete(snapshot, force=state not in ('error', 'available'))
        until(functools.partial(gone, snapshots, snapshot.id), f'{state}: gone')
        assert hscli('snapshot', 'list', name_of(volume))['snapshots'] == []
        snapshot = cloud.snapshot(volume)
    cloud.delete(snapshots, snapshot)
    for state in ('error', 'error_deleting', 'error_extending', 'error_restoring', 'creating',
                  'attaching', 'uploading', 'backing-up', 'maintenance'):
        volumes.reset_state(volume, state)
        if state in ('error', 'error_extending', 'error_restoring'):
            volumes.delete(volume.id)
        else:
            volumes.force_delete(volume.id)
        until(functools.partial(gone, volumes, volume.id), f'{state}: gone')
        volume = cloud.volume()
    # With all of its snapshots at once.
    cloud.snapshot(volume)
    cloud.snapshot(volume)
    volumes.delete(volume.id, cascade=True)
    until(functools.partial(gone, volumes, volume.id), 'cascade: gone')


@step
def deleted_already() -> None:
    """what HyperScale has deleted, Cinder deletes too"""
    volume = cloud.volume()
    snapshot = cloud.snapshot(volume)
    run(HSCLI, 'volume', 'delete', name_of(volume), '--snapshots', '--yes')
    cloud.delete(snapshots, snapshot)
    cloud.delete(volumes, volume)
