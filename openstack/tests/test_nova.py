"""What Nova's volume driver makes of a connection, and what Nova makes of its disks.

Not beside the tests of the Cinder driver: the options of both services cannot be in one process.
"""

import unittest
from unittest import mock

from lxml import etree
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import driver as libvirt_driver

from hyperscale_openstack import nova

nova.register()
from hyperscale_openstack.nova import volume  # noqa: E402 - once it is registered

XML = """<disk type="network" device="disk">
  <driver name="qemu" type="raw" cache="none" error_policy="stop" discard="unmap"/>
  <source protocol="nbd" name="s1">
    <host transport="unix" socket="/run/hyperscale/attach/v.sock"/>
    <reconnect delay="5"/>
  </source>
  <target dev="vdb" bus="virtio"/>
  <serial>v</serial>
</disk>"""
BLOCK = """<disk type="block" device="disk">
  <driver name="qemu" type="raw" cache="none" io="native"/>
  <source dev="/dev/hyperscale-1"/>
</disk>"""


def disk(conf):
    return etree.fromstring(conf.to_xml())


class VolumeDriverTest(unittest.TestCase):
    def setUp(self):
        self.host = mock.Mock(**{'find_secret.return_value': None})
        self.driver = volume.LibvirtHyperScaleVolumeDriver(self.host)
        self.driver.connector = mock.Mock(**{'disk_xml.return_value': XML})
        self.info = {'serial': 'v', 'data': {'volume': 'volume-v', 'socket': '/old', 'session': 'old',
                                             'qos_specs': {'total_iops_sec': '9'}}}
        self.disk_info = {'type': 'disk', 'dev': 'vdb', 'bus': 'virtio', 'boot_index': '1'}

    def test_nova_knows_the_driver_under_both_names(self):
        nova.register()
        for name in ('hyperscale', 'veritas_hyperscale'):
            self.assertEqual('hyperscale_openstack.nova.volume.LibvirtHyperScaleVolumeDriver',
                             libvirt_driver.VOLUME_DRIVERS[name])

    def connected(self, **device):
        self.driver.connector.connect_volume.return_value = device
        self.driver.connect_volume(self.info, None)
        return self.driver.connector.connect_volume.call_args.args[0]

    def test_a_connection_forgets_where_the_volume_was(self):
        asked = self.connected(type='network', socket='/s', session='new')
        self.assertEqual('network', asked['mode'])
        self.assertEqual(('/s', 'new'), (self.info['data']['socket'], self.info['data']['session']))
        self.info['data'].update(encrypted=True)
        asked = self.connected(type='block', path='/dev/x')
        self.assertEqual('block', asked['mode'])
        self.assertEqual('/dev/x', self.info['data']['device_path'])
        self.assertNotIn('socket', self.info['data'])

    def test_a_connection_of_the_original_product_stays_one(self):
        self.info['data'] = {'export': 'hyperscale-sv:/hyperscale', 'name': '{v}'}
        self.assertNotIn('mode', self.connected(type='block', path='/dev/v'))

    def test_the_disk_is_what_hscli_says_and_the_rest_is_novas(self):
        made = disk(self.driver.get_config(self.info, self.disk_info))
        self.assertEqual('5', made.find('source/reconnect').get('delay'))
        self.assertEqual('unix', made.find('source/host').get('transport'))
        self.assertEqual('stop', made.find('driver').get('error_policy'))
        self.assertEqual('9', made.findtext('iotune/total_iops_sec'))
        self.assertEqual(('vdb', 'v'), (made.find('target').get('dev'), made.findtext('serial')))
        info, asked = self.driver.connector.disk_xml.call_args.args
        self.assertEqual(({'dev': 'vdb', 'bus': 'virtio'}, 'v'), (asked, info['serial']))

    def test_no_setting_of_nova_lets_the_host_cache(self):
        conf = self.driver.get_config(self.info, self.disk_info)
        conf.driver_cache = 'writeback'
        self.assertEqual('none', disk(conf).find('driver').get('cache'))

    def test_a_block_device(self):
        self.driver.connector.disk_xml.return_value = BLOCK
        made = disk(self.driver.get_config(self.info, self.disk_info))
        self.assertEqual(('block', '/dev/hyperscale-1'),
                         (made.get('type'), made.find('source').get('dev')))
        self.assertEqual('native', made.find('driver').get('io'))

    def test_a_disk_of_a_domain_is_written_as_it_was_read(self):
        conf = vconfig.LibvirtConfigGuestDisk()
        conf.parse_str(XML)
        made = disk(conf)
        self.assertEqual(etree.tostring(etree.fromstring(XML).find('source'), method='c14n'),
                         etree.tostring(made.find('source'), method='c14n'))

    def test_disks_of_others_are_untouched(self):
        for source in ("<source protocol='rbd' name='p/i'><host name='a' port='1'/></source>",
                       "<source protocol='nbd' name='x'><host name='a' port='1'/></source>"):
            conf = vconfig.LibvirtConfigGuestDisk()
            conf.parse_str(f"<disk type='network' device='disk'><driver name='qemu' type='raw' "
                           f"error_policy='stop'/>{source}<target dev='vda' bus='virtio'/></disk>")
            self.assertEqual('a', disk(conf).find('source/host').get('name'))
            self.assertIsNone(disk(conf).find('driver').get('error_policy'))

    def test_what_is_no_disk_is_refused(self):
        self.disk_info['type'] = 'cdrom'
        with self.assertRaisesRegex(Exception, 'cannot be a cdrom'):
            self.driver.get_config(self.info, self.disk_info)
