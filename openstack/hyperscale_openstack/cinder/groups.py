"""Generic groups whose snapshots show one instant of all their volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from cinder import exception
from cinder.objects import fields
from cinder.volume import volume_utils
from oslo_log import log as logging

from hyperscale_openstack.cinder.backend import Backend
from hyperscale_openstack.cinder.errors import translated

LOG = logging.getLogger(__name__)

Update = dict[str, Any]
Updates = list[dict[str, Any]]


class Groups(Backend):
    """Groups of a type with `consistent_group_snapshot_enabled`; for others Cinder has a way."""

    def create_group(self, context: Any, group: Any) -> Update:
        only_consistent(group)
        return {'status': fields.GroupStatus.AVAILABLE}

    def update_group(self, context: Any, group: Any, add_volumes: Optional[Sequence[Any]] = None,
                     remove_volumes: Optional[Sequence[Any]] = None) -> tuple[None, None, None]:
        only_consistent(group)
        return None, None, None

    def delete_group(self, context: Any, group: Any,
                     volumes: Sequence[Any]) -> tuple[Update, Updates]:
        only_consistent(group)
        return each_deleted(volumes, self.delete_volume, fields.GroupStatus.DELETED,
                            fields.GroupStatus.ERROR_DELETING)

    def create_group_from_src(self, context: Any, group: Any, volumes: Sequence[Any],
                              group_snapshot: Any = None,
                              snapshots: Optional[Sequence[Any]] = None,
                              source_group: Any = None,
                              source_vols: Optional[Sequence[Any]] = None
                              ) -> tuple[None, Optional[Updates]]:
        only_consistent(group)
        if group_snapshot is not None and snapshots is not None:
            for volume, snapshot in zip(volumes, snapshots):
                self.create_volume_from_snapshot(volume, snapshot)
            return None, None
        if source_group is None or source_vols is None:
            raise exception.InvalidInput(reason='a group is made of a group or of its snapshot')
        self._clone_at_one_instant(group, volumes, source_vols)
        return None, None

    def _clone_at_one_instant(self, group: Any, volumes: Sequence[Any],
                              sources: Sequence[Any]) -> None:
        """Clones a snapshot of the group that is made for it: clones one by one differ in time."""
        if not sources:
            return
        name = f'group-{group.id}'
        with translated():
            self._hscli.ask('snapshot', 'create-group', *(s.name for s in sources), '--name', name)
            try:
                for volume, source in zip(volumes, sources):
                    self._make(volume, 'volume', 'clone', f'{source.name}@{name}', volume.name)
            finally:
                for source in sources:
                    self._hscli.ask('snapshot', 'delete', source.name, name)

    def create_group_snapshot(self, context: Any, group_snapshot: Any,
                              snapshots: Sequence[Any]) -> tuple[None, Updates]:
        only_consistent(group_snapshot)
        if not snapshots:
            return None, []
        volumes = [snapshot.volume.name for snapshot in snapshots]
        with translated():
            made = self._hscli.ask('snapshot', 'create-group', *volumes,
                                   '--name', f'group-snapshot-{group_snapshot.id}')
        LOG.info('Group snapshot %s: writes were held for %s ms.', group_snapshot.id,
                 made['heldMs'])
        # They all have one name there; Cinder finds each by its id.
        return None, [
            {'id': snapshot.id, 'provider_id': one['id'],
             'status': fields.SnapshotStatus.AVAILABLE}
            for snapshot, one in zip(snapshots, made['snapshots'])]

    def delete_group_snapshot(self, context: Any, group_snapshot: Any,
                              snapshots: Sequence[Any]) -> tuple[Update, Updates]:
        only_consistent(group_snapshot)
        return each_deleted(snapshots, self.delete_snapshot, fields.SnapshotStatus.DELETED,
                            fields.SnapshotStatus.ERROR_DELETING)


def only_consistent(group: Any) -> None:
    """:raises NotImplementedError: for groups that Cinder looks after without the driver"""
    if not volume_utils.is_group_a_cg_snapshot_type(group):
        raise NotImplementedError()


def each_deleted(things: Sequence[Any], delete: Any, deleted: str,
                 failed: str) -> tuple[Update, Updates]:
    """Deletes one after the other, and goes on after one that cannot be deleted."""
    updates: Updates = []
    status = deleted
    for thing in things:
        try:
            delete(thing)
            updates.append({'id': thing.id, 'status': deleted})
        except exception.CinderException as error:
            LOG.error('%s of a group is not deleted: %s', thing.name, error)
            updates.append({'id': thing.id, 'status': failed})
            status = failed
    return {'status': status}, updates
