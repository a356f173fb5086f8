"""Volumes and snapshots that exist in HyperScale already, taken under Cinder's management."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from cinder import context as cinder_context
from cinder import exception
from cinder import objects
from cinder.volume import volume_utils

from hyperscale_openstack.cinder.backend import Backend
from hyperscale_openstack.cinder.errors import translated
from hyperscale_openstack.cinder.stats import GIB
from hyperscale_openstack.hscli import HscliError

NAME = 'source-name'
ID = 'source-id'


class Management(Backend):
    """A reference is `{'source-name': NAME}` or `{'source-id': ID}`, as hscli knows them.

    A volume is renamed to Cinder's name; a snapshot keeps its own, and Cinder notes its id.
    """

    def manage_existing_get_size(self, volume: Any, existing_ref: Mapping[str, Any]) -> int:
        return gib(self._manageable(existing_ref)['sizeBytes'])

    def manage_existing(self, volume: Any, existing_ref: Mapping[str, Any]) -> None:
        """:raises ManageExistingAlreadyManaged, ManageExistingInvalidReference"""
        found = self._manageable(existing_ref)
        managed = volume_utils.extract_id_from_volume_name(found['name'])
        if volume_utils.check_already_managed_volume(managed):
            raise exception.ManageExistingAlreadyManaged(volume_ref=found['name'])
        wishes = self._wishes(volume.volume_type)
        with translated():
            # By its id: what has the name by now may be something else.
            if wishes.policy is not None and wishes.policy != found['policy']['name']:
                self._hscli.ask('volume', 'retype', found['id'], '--policy', wishes.policy)
            if wishes.limits:
                self._hscli.ask('volume', 'qos', found['id'], *wishes.limits)
            if found['name'] != volume.name:
                self._hscli.ask('volume', 'rename', found['id'], volume.name)

    def _manageable(self, existing_ref: Mapping[str, Any]) -> dict[str, Any]:
        reference = reference_in(existing_ref)
        try:
            found = self._show(reference)
        except HscliError as error:
            raise invalid(existing_ref, str(error)) from error
        if found['role'] != 'volume':
            raise invalid(existing_ref, f'it is no volume but an {found["role"]}')
        if found['attachments']:
            hosts = ', '.join(a['host'] for a in found['attachments'])
            raise invalid(existing_ref, f'it is attached on {hosts}')
        return found

    def unmanage(self, volume: Any) -> None:
        """It stays as it is, under the name that Cinder gave it."""

    def get_manageable_volumes(self, cinder_volumes: Sequence[Any], marker: Any, limit: int,
                               offset: int, sort_keys: list[str],
                               sort_dirs: list[str]) -> list[dict[str, Any]]:
        managed = {volume['name']: volume['id'] for volume in cinder_volumes}
        with translated():
            volumes = self._hscli.ask('volume', 'list')['volumes']
        entries = []
        for volume in volumes:
            why: Optional[str] = None
            if volume['name'] in managed:
                why = 'already managed'
            elif volume['attachments']:
                why = 'it is attached'
            entries.append({
                'reference': {NAME: volume['name']},
                'size': gib(volume['sizeBytes']),
                'safe_to_manage': why is None,
                'reason_not_safe': why,
                'cinder_id': managed.get(volume['name']),
                'extra_info': {'id': volume['id'], 'policy': volume['policy']['name']},
            })
        return volume_utils.paginate_entries_list(
            entries, marker, limit, offset, sort_keys, sort_dirs)

    def manage_existing_snapshot_get_size(self, snapshot: Any,
                                          existing_ref: Mapping[str, Any]) -> int:
        return gib(self._manageable_snapshot(snapshot, existing_ref)['sizeBytes'])

    def manage_existing_snapshot(self, snapshot: Any,
                                 existing_ref: Mapping[str, Any]) -> dict[str, Any]:
        """:raises ManageExistingAlreadyManaged, ManageExistingInvalidReference"""
        found = self._manageable_snapshot(snapshot, existing_ref)
        others = objects.SnapshotList.get_all_for_volume(
            cinder_context.get_admin_context(), snapshot.volume_id)
        if any(other.id != snapshot.id and known_as(other, found) for other in others):
            raise exception.ManageExistingAlreadyManaged(volume_ref=found['name'])
        return {'provider_id': found['id']}

    def _manageable_snapshot(self, snapshot: Any,
                             existing_ref: Mapping[str, Any]) -> dict[str, Any]:
        reference = reference_in(existing_ref)
        try:
            return self._hscli.ask('snapshot', 'show', snapshot.volume.name, reference)
        except HscliError as error:
            raise invalid(existing_ref, str(error)) from error

    def unmanage_snapshot(self, snapshot: Any) -> None:
        """It stays as it is."""

    def get_manageable_snapshots(self, cinder_snapshots: Sequence[Any], marker: Any, limit: int,
                                 offset: int, sort_keys: list[str],
                                 sort_dirs: list[str]) -> list[dict[str, Any]]:
        with translated():
            volumes = self._hscli.ask('volume', 'list')['volumes']
            entries = [
                snapshot_entry(volume, snapshot, cinder_snapshots)
                for volume in volumes if volume['snapshots']
                for snapshot in self._hscli.ask('snapshot', 'list', volume['id'])['snapshots']]
        return volume_utils.paginate_entries_list(
            entries, marker, limit, offset, sort_keys, sort_dirs)


def snapshot_entry(volume: Mapping[str, Any], snapshot: Mapping[str, Any],
                   cinder_snapshots: Sequence[Any]) -> dict[str, Any]:
    managed = next((s['id'] for s in cinder_snapshots if known_as(s, snapshot)), None)
    return {
        # Names of snapshots are unique only in their volume.
        'reference': {ID: snapshot['id']},
        'size': gib(snapshot['sizeBytes']),
        'safe_to_manage': managed is None,
        'reason_not_safe': None if managed is None else 'already managed',
        'cinder_id': managed,
        'extra_info': {'name': snapshot['name']},
        'source_reference': {NAME: volume['name']},
    }


def known_as(snapshot: Any, found: Mapping[str, Any]) -> bool:
    """True when a snapshot of Cinder is that of HyperScale."""
    return found['id'] == snapshot.provider_id or found['name'] == snapshot.name


def reference_in(existing_ref: Mapping[str, Any]) -> str:
    reference = existing_ref.get(NAME) or existing_ref.get(ID)
    if not isinstance(reference, str):
        raise invalid(existing_ref, f'it has no {NAME} or {ID}')
    # No option of hscli, and no place of a file system, is a name.
    if reference.startswith('-'):
        raise invalid(existing_ref, 'no name begins with a dash')
    return reference


def invalid(existing_ref: Mapping[str, Any], reason: str) -> exception.CinderException:
    return exception.ManageExistingInvalidReference(existing_ref=existing_ref, reason=reason)


def gib(size: int) -> int:
    """Whole GiB, rounded up."""
    return -(-size // GIB)
