"""The Cinder driver of HyperScale: what Cinder asks for, said to hscli."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from cinder import exception
from cinder import interface
from oslo_log import log as logging

from hyperscale_openstack import brick
from hyperscale_openstack import connection
from hyperscale_openstack.cinder import options
from hyperscale_openstack.cinder import stats
from hyperscale_openstack.cinder.errors import translated
from hyperscale_openstack.cinder.groups import Groups
from hyperscale_openstack.cinder.images import Images
from hyperscale_openstack.cinder.manage import Management
from hyperscale_openstack.cinder.migrate import Migration
from hyperscale_openstack.cinder.wishes import LIMITS, PREFIX
from hyperscale_openstack.hscli import HscliError

LOG = logging.getLogger(__name__)
# Cinder attaches volumes itself, to copy images and for backups.
brick.register()


@interface.volumedriver
class HyperScaleDriver(Images, Groups, Management, Migration):
    """Volumes of HyperScale.

    Nothing is kept in this process: each call says all to the cluster, in which every change is
    made once. So any number of services may be active for one backend.
    """

    VERSION = '0.1.0'
    SUPPORTS_ACTIVE_ACTIVE = True

    @staticmethod
    def get_driver_options() -> list[Any]:
        return options.OPTIONS

    def do_setup(self, context: Any) -> None:
        self._load_policies()

    def check_for_setup_error(self) -> None:
        with translated():
            self._hscli.ask('cluster', 'status')

    # Statistics

    def _update_volume_stats(self) -> None:
        cluster: Optional[Mapping[str, Any]] = None
        try:
            cluster = self._hscli.ask('cluster', 'status')
        except HscliError as error:
            LOG.warning('%s cannot be asked for its state: %s', self._backend_name, error)
        settings = stats.Settings(
            backend_name=self._backend_name,
            version=self.VERSION,
            policy=self._known_policy(self._setting('hyperscale_policy')),
            pools=self._pools,
            over_subscription=self._setting('max_over_subscription_ratio'),
            reserved=int(self._setting('reserved_percentage') or 0),
            filter_function=self.get_filter_function(),
            goodness_function=self.get_goodness_function(),
        )
        self._stats = stats.stats_of(cluster, self._policies, settings)

    def get_pool(self, volume: Any) -> str:
        """Of a volume whose host names no pool, as one from before there were pools."""
        if not self._pools:
            return self._backend_name
        with translated(volume=volume.id):
            policy = str(self._show(volume.name)['policy']['name'])
        return policy if policy in self._pools else self._pools[0]

    def _init_vendor_properties(self) -> tuple[dict[str, Any], str]:
        properties: dict[str, Any] = {}
        names = [str(policy['name']) for policy in self._policies]
        self._set_property(properties, f'{PREFIX}policy', 'Policy',
                           'How many copies there are, and the limits.', 'string', enum=names)
        self._set_property(properties, f'{PREFIX}reflections', 'Reflections',
                           'Copies beyond the first.', 'integer', minimum=0, maximum=2)
        for key in LIMITS:
            if key != 'min_iops':
                self._set_property(properties, f'{PREFIX}{key}', key,
                                   'A limit of all consumers of a volume together.', 'string')
        return properties, PREFIX.rstrip(':')

    # Volumes and snapshots

    def create_volume(self, volume: Any) -> None:
        with translated():
            self._make(volume, 'volume', 'create', volume.name)

    def delete_volume(self, volume: Any) -> None:
        with translated(volume=volume.id):
            self._delete(volume.name)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        source = f'{snapshot.volume.name}@{snapshot_reference(snapshot)}'
        with translated():
            self._make(volume, 'volume', 'clone', source, volume.name)

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        with translated():
            self._make(volume, 'volume', 'clone', src_vref.name, volume.name)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        with translated(volume=volume.id):
            grown = self._hscli.ask('volume', 'extend', volume.name, '--size', f'{new_size}G')
        for consumer in grown.get('consumers', []):
            if consumer.get('problem'):
                LOG.warning('%s of %s does not show that %s has grown yet: %s', consumer['name'],
                            consumer['node'], volume.name, consumer['problem'])

    def create_snapshot(self, snapshot: Any) -> None:
        with translated(volume=snapshot.volume_id):
            try:
                self._hscli.ask('snapshot', 'create', snapshot.volume.name, snapshot.name)
            except HscliError as error:
                # Its name has its id in it: an earlier try has made it.
                if error.code != 'exists':
                    raise

    def delete_snapshot(self, snapshot: Any) -> None:
        with translated(snapshot=snapshot.id):
            try:
                self._hscli.ask('snapshot', 'delete', snapshot.volume.name,
                                snapshot_reference(snapshot))
            except HscliError as error:
                if error.code != 'not-found':
                    raise

    def revert_to_snapshot(self, context: Any, volume: Any, snapshot: Any) -> None:
        """:raises NotImplementedError: while clones or other snapshots keep what would go: Cinder
        then copies the snapshot into the volume"""
        reference = snapshot_reference(snapshot)
        try:
            with translated(volume=volume.id):
                reverted = self._hscli.ask('snapshot', 'revert', volume.name, reference, '--yes')
        except exception.VolumeIsBusy as busy:
            cause = busy.__cause__
            if isinstance(cause, HscliError) and not cause.values.get('hosts'):
                raise NotImplementedError from busy
            raise
        # A snapshot has the size that its volume had; Cinder wants that of the volume kept.
        if reverted['sizeBytes'] < volume.size * stats.GIB:
            self.extend_volume(volume, volume.size)

    def snapshot_revert_use_temp_snapshot(self) -> bool:
        # A revert is one change of the record: it is done, or nothing is changed.
        return False

    # Connections: a host attaches by itself, when it connects (connection.py)

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        pass

    def ensure_export(self, context: Any, volume: Any) -> None:
        pass

    def remove_export(self, context: Any, volume: Any) -> None:
        pass

    def initialize_connection(self, volume: Any, connector: Any, **kwargs: Any) -> dict[str, Any]:
        return connection.connection_info(volume.name)

    def terminate_connection(self, volume: Any, connector: Optional[Mapping[str, Any]],
                             **kwargs: Any) -> bool:
        """Ends the attachment of a host, dead or alive; without a connector those of all.

        :returns: True when something else on that host uses the volume, which then stays attached
        """
        if not connector:
            with translated(volume=volume.id):
                for attachment in (self._found(volume.name) or {}).get('attachments', []):
                    self._detach(volume.name, attachment['host'], force=True)
            return False
        if shared_on_host(volume, connector):
            return True
        node = connection.node_of(connector)
        if node:
            with translated(volume=volume.id):
                self._detach(volume.name, node, force=bool(kwargs.get('force')))
        return False

    def _detach(self, name: str, node: str, force: bool = False) -> None:
        """Detaches in order, and revokes where that is not possible or `force` says so."""
        command = ('volume', 'detach', name, '--node', node)
        try:
            self._hscli.ask(*command)
        except HscliError as error:
            if error.code == 'not-found':
                return  # no such volume or node: nothing is attached
            if not force and error.code not in ('node-down', 'unavailable', 'timeout'):
                raise
            LOG.warning('%s is revoked on %s: %s', name, node, error)
            self._hscli.ask(*command, '--force')

    # A snapshot is read through a clone of it, which costs nothing and is gone afterwards.

    def create_export_snapshot(self, context: Any, snapshot: Any, connector: Any) -> None:
        source = f'{snapshot.volume.name}@{snapshot_reference(snapshot)}'
        with translated(snapshot=snapshot.id):
            try:
                self._hscli.ask('volume', 'clone', source, clone_to_read(snapshot))
            except HscliError as error:
                if error.code != 'exists':
                    raise

    def initialize_connection_snapshot(self, snapshot: Any, connector: Any,
                                       **kwargs: Any) -> dict[str, Any]:
        return connection.connection_info(clone_to_read(snapshot), read_only=True)

    def terminate_connection_snapshot(self, snapshot: Any, connector: Any,
                                      **kwargs: Any) -> None:
        with translated(snapshot=snapshot.id):
            for attachment in (self._found(clone_to_read(snapshot)) or {}).get('attachments', []):
                self._detach(clone_to_read(snapshot), attachment['host'], force=True)

    def remove_export_snapshot(self, context: Any, snapshot: Any) -> None:
        with translated(snapshot=snapshot.id):
            self._delete(clone_to_read(snapshot))


def snapshot_reference(snapshot: Any) -> str:
    """What hscli knows it by: those of groups, and managed ones, have names of their own."""
    return snapshot.provider_id or snapshot.name


def clone_to_read(snapshot: Any) -> str:
    return f'{snapshot.name}-read'


def shared_on_host(volume: Any, connector: Mapping[str, Any]) -> bool:
    """True when two or more servers of one host use a volume: attachments are of hosts."""
    host = connector.get('host')
    if host is None or not volume.multiattach:
        return False
    here = [a for a in volume.volume_attachment or []
            if (a.connector or {}).get('host', a.attached_host) == host]
    return len(here) > 1



