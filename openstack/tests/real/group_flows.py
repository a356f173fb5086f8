"""Several volumes at once, and backups."""

from __future__ import annotations

from typing import Any

from cloud import check, until, write
from steps import called, cinder, cloud, ids, snapshots, step, volumes

@step
def groups() -> None:
    """generic groups with consistent snapshots, groups of these, and of groups"""
    kind = cinder.group_types.create(called('consistent'))
    kind.set_keys({'consistent_group_snapshot_enabled': '<is> True'})
    volume_type = next(t for t in cinder.volume_types.list() if t.name == 'hyperscale')
    group = cinder.groups.create(kind.id, volume_type.id, name='flow')
    cloud.when(cinder.groups, group.id)
    first, second = (cloud.volume(group_id=group.id) for _ in range(2))
    write(first, 7)
    write(second, 8)
    snapshot = cinder.group_snapshots.create(group.id, name='flow')
    cloud.when(cinder.group_snapshots, snapshot.id)
    write(first, 9)
    of_snapshot = cinder.groups.create_from_src(snapshot.id, None, name='of-snapshot')
    of_group = cinder.groups.create_from_src(None, group.id, name='of-group')
    for one, expected in ((of_snapshot, {7, 8}), (of_group, {9, 8})):
        cloud.when(cinder.groups, one['id'])
        found = [v for v in volumes.list() if getattr(v, 'group_id', None) == one['id']]
        assert len(found) == 2
        assert {pattern_of(v) for v in found} == expected
    outside = cloud.volume()
    cinder.groups.update(group.id, add_volumes=outside.id)
    cloud.when(cinder.groups, group.id)
    cinder.groups.update(group.id, remove_volumes=outside.id)
    cloud.when(cinder.groups, group.id)
    cinder.group_snapshots.delete(snapshot.id)
    until(lambda: snapshot.id not in ids(cinder.group_snapshots), 'it is gone')
    made = {of_snapshot['id'], of_group['id'], group.id}
    for id in made:
        cinder.groups.delete(id, delete_volumes=True)
    until(lambda: not made & ids(cinder.groups), 'groups are gone')
    cloud.delete(volumes, outside)
    cinder.group_types.delete(kind.id)


def pattern_of(volume: Any) -> int:
    for pattern in (7, 8, 9):
        try:
            check(volume, pattern)
            return pattern
        except AssertionError:
            continue
    raise AssertionError(f'{volume.id} holds something else')


@step
def backup() -> None:
    """backup of a volume and of a snapshot, restored to a new volume and over the old one"""
    volume = cloud.volume()
    write(volume, 3)
    snapshot = cloud.snapshot(volume)
    write(volume, 4)
    whole = cinder.backups.create(volume.id, name='flow')
    cloud.when(cinder.backups, whole.id)
    cloud.when(volumes, volume.id)
    of_snapshot = cinder.backups.create(volume.id, snapshot_id=snapshot.id, name='flow-snapshot')
    cloud.when(cinder.backups, of_snapshot.id)
    cloud.when(snapshots, snapshot.id)
    restored = cinder.restores.restore(of_snapshot.id)
    new = cloud.when(volumes, restored.volume_id)
    check(new, 3)
    cloud.when(cinder.backups, of_snapshot.id)
    write(volume, 5)
    cinder.restores.restore(whole.id, volume.id)
    cloud.when(volumes, volume.id)
    check(volume, 4)
    cloud.when(cinder.backups, whole.id)
    cloud.delete(cinder.backups, whole, of_snapshot)
    cloud.delete(snapshots, snapshot)
    cloud.delete(volumes, volume, new)
