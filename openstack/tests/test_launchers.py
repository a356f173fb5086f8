"""The launchers, each in a process of its own: what is registered by the time the service begins."""

import json
import os
import subprocess
import sys
import unittest

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONNECTOR = 'hyperscale_openstack.brick.connector.HyperScaleConnector'
NOVA = 'hyperscale_openstack.nova.volume.LibvirtHyperScaleVolumeDriver'
# In place of the service's own main: tells what it would find.
LAUNCH = """
import json, sys
from {service} import {module} as service
def main():
    from os_brick.initiator import connector
    mapping = connector.get_connector_mapping()
    told = {{'program': sys.argv[0], 'options': sys.argv[1:],
            'connectors': [mapping.get(name) for name in ('HYPERSCALE', 'VERITAS_HYPERSCALE')],
            'asked': '{connector}' in connector.unix_connector_list}}
    {more}
    print(json.dumps(told))
service.main = main
from {launcher} import main as launch
launch()
"""
# Nova's own driver finds ours for a connection, as it does when it attaches a volume.
FIND = """
    from unittest import mock
    from nova.virt.libvirt import driver
    made = driver.LibvirtDriver(mock.Mock())
    def found(kind):
        driver = made._get_volume_driver({'driver_volume_type': kind})
        return f'{type(driver).__module__}.{type(driver).__name__}'
    told['drivers'] = [found(kind) for kind in ('hyperscale', 'veritas_hyperscale')]
"""


def run(*command):
    environment = {**os.environ, 'PYTHONPATH': PACKAGE, 'PYTHONDONTWRITEBYTECODE': '1'}
    done = subprocess.run([sys.executable, '-W', 'ignore', *command], env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=1200)
    return done


class LaunchersTest(unittest.TestCase):
    def launched(self, launcher, service, module, more=''):
        code = LAUNCH.format(launcher=launcher, service=service, module=module, more=more,
                             connector=CONNECTOR)
        done = run('-c', code, '--debug')
        self.assertEqual(done.returncode, 0, done.stderr)
        told = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(told['connectors'], [CONNECTOR, CONNECTOR])
        self.assertTrue(told['asked'])
        self.assertEqual(told['options'], ['--debug'])
        return told

    def test_nova_compute_finds_the_volume_driver(self):
        told = self.launched('hyperscale_openstack.nova.compute', 'nova.cmd', 'compute', FIND)
        self.assertEqual(told['program'], 'nova-compute')
        self.assertEqual(told['drivers'], [NOVA, NOVA])

    def test_cinder_volume_and_cinder_backup_have_the_connector(self):
        for module in ('volume', 'backup'):
            told = self.launched(f'hyperscale_openstack.brick.{module}', 'cinder.cmd', module)
            self.assertEqual(told['program'], f'cinder-{module}')

    def test_the_real_programs_begin(self):
        for launcher in ('nova.compute', 'brick.volume', 'brick.backup'):
            done = run('-m', f'hyperscale_openstack.{launcher}', '--version')
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout + done.stderr, r'\d+\.\d+')


if __name__ == '__main__':
    unittest.main()
