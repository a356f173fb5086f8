"""Throwaway out-of-tree libvirt volume driver + its registration."""
from os_brick.initiator import connector
from nova import utils
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt.volume import volume
import trivial_brick


def register():
    trivial_brick.register()
    libvirt_driver.VOLUME_DRIVERS['trivial_file'] = \
        'trivial_nova.TrivialVolumeDriver'


class TrivialVolumeDriver(volume.LibvirtBaseVolumeDriver):
    def __init__(self, host):
        super().__init__(host, is_block_dev=False)
        self.connector = connector.InitiatorConnector.factory(
            'trivial_file', utils.get_root_helper())

    def get_config(self, connection_info, disk_info):
        conf = super().get_config(connection_info, disk_info)
        d = connection_info['data']
        if d['mode'] == 'nbd':
            conf.source_type, conf.source_protocol = 'network', 'nbd'
            conf.source_name = 'vol'
            conf.source_hosts, conf.source_ports = [d['host']], [str(d['port'])]
        else:
            conf.source_type = 'block' if d['mode'] == 'loop' else 'file'
            conf.source_path = d['device_path']
        return conf

    def connect_volume(self, connection_info, instance):
        info = self.connector.connect_volume(connection_info['data'])
        connection_info['data']['device_path'] = info['path']

    def disconnect_volume(self, connection_info, instance, force=False):
        self.connector.disconnect_volume(connection_info['data'], None,
                                         force=force)

    def extend_volume(self, connection_info, instance, requested_size):
        return self.connector.extend_volume(connection_info['data'])
