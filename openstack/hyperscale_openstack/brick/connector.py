"""The os-brick connector: gives volumes to this host through ``hscli connection``."""

from __future__ import annotations

import json
from typing import Any, Optional

from os_brick import exception
from os_brick.initiator.connectors import base
from os_brick.privileged import rootwrap
from oslo_log import log as logging

from hyperscale_openstack import connection
from hyperscale_openstack.hscli import Hscli, HscliError

LOG = logging.getLogger(__name__)

#: How long one call of hscli may take, in seconds.
_TIMEOUT_SECONDS = 60


class HyperScaleFailed(exception.BrickException):
    """What hscli reported; ``code`` is one of docs/api.md of HyperScale."""

    message = 'HyperScale: %(reason)s (%(code)s)'

    def __init__(self, error: HscliError) -> None:
        super().__init__(reason=str(error), code=error.code)
        self.code = error.code


def ask(root_helper: str, *args: str) -> dict[str, Any]:
    """Run hscli as root, through os-brick's privileged execution."""
    hscli = Hscli(
        rootwrap.execute, timeout=_TIMEOUT_SECONDS, run_as_root=True, root_helper=root_helper
    )
    try:
        return hscli.ask(*args)
    except HscliError as error:
        raise HyperScaleFailed(error) from error


class HyperScaleConnector(base.BaseLinuxConnector):
    """Connects volumes of HyperScale to this host.

    The connection's ``data`` names the ``volume``. Whoever goes through os-brick wants a path, so the
    volume becomes a block device unless ``mode`` is ``network``, which is what Nova's driver asks
    for: then it is an NBD export behind a Unix socket, for QEMU.

    Every call may be repeated. What is decided is decided by hscli's own connector.
    """

    @staticmethod
    def get_connector_properties(root_helper: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """``hyperscale_node``: the name of this host in HyperScale; nothing where it does not run."""
        try:
            node = ask(root_helper, 'connection', 'properties').get('node')
        except HyperScaleFailed as error:
            LOG.debug('No connector properties of HyperScale: %s', error)
            return {}
        return {connection.NODE_PROPERTY: node} if node else {}

    def connect_volume(self, connection_properties: dict[str, Any]) -> dict[str, Any]:
        """Return ``type``, ``path`` and, of a network disk, ``socket`` and ``session``."""
        answer = self._ask('connect', connection_properties)
        data = answer.get('data') or {}
        if data.get('socket'):
            path = f'nbd+unix:///{data["session"]}?socket={data["socket"]}'
            place = {name: data[name] for name in ('socket', 'session')}
            return {'type': 'network', 'path': path, **place}
        if not data.get('device_path'):
            raise exception.VolumeDeviceNotFound(device=connection_properties.get('volume'))
        return {'type': 'block', 'path': data['device_path']}

    def disconnect_volume(
        self,
        connection_properties: dict[str, Any],
        device_info: Optional[dict[str, Any]],
        force: bool = False,
        ignore_errors: bool = False,
    ) -> None:
        """End the use of the volume on this host; what is not connected is no error.

        With ``force`` a device that is still open is taken from its users, who get I/O errors.
        """
        try:
            self._ask('disconnect', connection_properties, *(['--force'] if force else []))
        except HyperScaleFailed:
            if not (force and ignore_errors):
                raise
            LOG.warning('Ignored, as it was asked for', exc_info=True)

    def extend_volume(self, connection_properties: dict[str, Any]) -> int:
        """Return the size of the volume that this host sees, in bytes."""
        return int(self._ask('extend', connection_properties)['sizeBytes'])

    def disk_xml(self, connection_info: dict[str, Any], disk_info: dict[str, Any]) -> str:
        """Return libvirt's ``<disk>`` for a volume that is connected, from hscli's driver."""
        info, disk = json.dumps(connection_info), json.dumps(disk_info)
        answer = ask(self._root_helper, 'connection', 'disk', info, disk)
        return str(answer['xml'])

    def get_volume_paths(self, connection_properties: dict[str, Any]) -> list[str]:
        """Paths of the block device; none when the volume is not connected here, or has none."""
        return list(self._ask('paths', connection_properties).get('paths') or [])

    def get_search_path(self) -> Optional[str]:
        """Devices have links of known names: there is nothing to search."""
        return None

    def get_all_available_volumes(
        self, connection_properties: Optional[dict[str, Any]] = None
    ) -> list[str]:
        """As ``get_volume_paths``."""
        return self.get_volume_paths(connection_properties) if connection_properties else []

    def check_valid_device(self, path: str, run_as_root: bool = True) -> bool:
        """True when something can be read there; a network disk has been looked at by hscli."""
        if str(path).startswith('nbd+unix:'):
            return True
        return super().check_valid_device(path, run_as_root)

    def _ask(self, verb: str, properties: dict[str, Any], *options: str) -> dict[str, Any]:
        return ask(self._root_helper, 'connection', verb, _info(properties), *options)


#: Of the connection's data, what says which volume is meant and how. The rest is Nova's.
_FIELDS = ('volume', 'name', 'export', 'mode', 'access_mode', 'device_path', 'socket', 'session')


def _info(properties: dict[str, Any]) -> str:
    """The connection info that ``hscli connection`` reads."""
    data = {name: properties[name] for name in _FIELDS if properties.get(name) is not None}
    if 'volume' in data:
        data.setdefault('mode', 'block')
    return json.dumps({'driver_volume_type': connection.VOLUME_TYPE, 'data': data})
