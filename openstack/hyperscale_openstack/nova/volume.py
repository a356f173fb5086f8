"""Nova's libvirt volume driver for volumes of HyperScale."""

from __future__ import annotations

from typing import Any

import nova.conf
from nova import exception
from nova import utils
from nova.virt.libvirt.volume import volume as libvirt_volume
from os_brick.initiator import connector
from oslo_log import log as logging

from hyperscale_openstack.brick.connector import HyperScaleFailed
from hyperscale_openstack.nova import disk_config

LOG = logging.getLogger(__name__)
CONF = nova.conf.CONF

#: Where a volume is on this host: only true there, and not beyond its reboot.
_PLACE = ('socket', 'session', 'device_path')


class LibvirtHyperScaleVolumeDriver(libvirt_volume.LibvirtBaseVolumeDriver):
    """Attaches volumes through ``hscli``, which also says what the disk looks like for libvirt.

    A volume is an NBD export behind a Unix socket, and QEMU waits for it when it is away. An
    encrypted one is a block device, because Nova formats it by its path when it is first used; so is
    one that was attached by the drivers of the original product (``name`` without ``volume``).
    """

    def __init__(self, host: Any) -> None:
        super().__init__(host, is_block_dev=False)
        self.connector = connector.InitiatorConnector.factory(
            'hyperscale', utils.get_root_helper()
        )

    def connect_volume(self, connection_info: dict[str, Any], instance: Any) -> None:
        """Attach the volume on this host, and note in ``connection_info`` where it is."""
        data = connection_info['data']
        # What was true on another host, or before this one was booted anew.
        for name in _PLACE:
            data.pop(name, None)
        if 'volume' in data:
            data['mode'] = 'block' if data.get('encrypted') else 'network'
        device = self.connector.connect_volume(data)
        if device['type'] == 'network':
            data['socket'], data['session'] = device['socket'], device['session']
        else:
            data['device_path'] = device['path']

    def disconnect_volume(
        self, connection_info: dict[str, Any], instance: Any, force: bool = False
    ) -> None:
        """End the use of the volume on this host."""
        self.connector.disconnect_volume(connection_info['data'], None, force=force)

    def get_config(self, connection_info: dict[str, Any], disk_info: dict[str, Any]) -> Any:
        """Return Nova's model of the disk, with the source and driver that hscli prescribes."""
        conf = super().get_config(connection_info, disk_info)
        if disk_info['type'] != 'disk':
            raise exception.InternalError(
                f'a volume of HyperScale cannot be a {disk_info["type"]}, only a disk'
            )
        info = {
            'driver_volume_type': 'hyperscale',
            'serial': conf.serial,
            'data': {k: v for k, v in connection_info['data'].items() if k in _KEPT},
        }
        disk = {name: disk_info[name] for name in ('dev', 'bus')}
        disk_config.prescribe(conf, self.connector.disk_xml(info, disk))
        return conf

    def extend_volume(
        self, connection_info: dict[str, Any], instance: Any, requested_size: int
    ) -> int:
        """Return the size that this host sees, in bytes."""
        try:
            return self.connector.extend_volume(connection_info['data'])
        except HyperScaleFailed as error:
            LOG.error('Volume was not extended on this host: %s', error, instance=instance)
            raise


#: What hscli reads of the connection's data; limits, access mode and the like are Nova's own.
_KEPT = ('volume', 'name', 'export', 'mode', 'discard', *_PLACE)
