"""What the os-brick connector says to hscli, and what it makes of the answers."""

import json
import unittest
from unittest import mock

from os_brick import exception
from os_brick.initiator import connector as brick_connector
from oslo_concurrency import processutils

from hyperscale_openstack import brick
from hyperscale_openstack.brick.connector import HyperScaleConnector, HyperScaleFailed

DATA = {'volume': 'volume-1', 'access_mode': 'rw', 'qos_specs': {'total_iops_sec': '5'}}


def failure(code):
    said = json.dumps({'error': {'code': code, 'message': 'no'}})
    return processutils.ProcessExecutionError(stderr=f'sudo: a word\n{said}\n', exit_code=3)


class ConnectorTest(unittest.TestCase):
    def setUp(self):
        patcher = mock.patch('os_brick.privileged.rootwrap.execute')
        self.execute = patcher.start()
        self.addCleanup(patcher.stop)
        brick.register()
        self.connector = brick_connector.InitiatorConnector.factory('hyperscale', 'sudo')

    def answers(self, answer):
        self.execute.return_value = (json.dumps(answer), '')

    def said(self):
        """Verb and info of the last call, and its other arguments."""
        (program, noun, verb, *rest), options = self.execute.call_args
        self.assertEqual(('hscli', 'connection'), (program, noun))
        self.assertTrue(options['run_as_root'])
        return verb, json.loads(rest[0]) if rest[0].startswith('{') else None, rest[1:]

    def test_both_types_have_the_connector(self):
        brick.register()
        for volume_type in ('HYPERSCALE', 'veritas_hyperscale'):
            made = brick_connector.InitiatorConnector.factory(volume_type, 'sudo')
            self.assertIsInstance(made, HyperScaleConnector)
        name = 'hyperscale_openstack.brick.connector.HyperScaleConnector'
        self.assertEqual(1, brick_connector.unix_connector_list.count(name))

    def test_without_a_mode_a_volume_is_a_block_device(self):
        self.answers({'data': {'device_path': '/dev/hyperscale-volume-1'}})
        made = self.connector.connect_volume(DATA)
        self.assertEqual({'type': 'block', 'path': '/dev/hyperscale-volume-1'}, made)
        verb, info, _rest = self.said()
        self.assertEqual('connect', verb)
        data = {'volume': 'volume-1', 'access_mode': 'rw', 'mode': 'block'}
        self.assertEqual({'driver_volume_type': 'hyperscale', 'data': data}, info)

    def test_a_network_disk_has_a_socket(self):
        self.answers({'data': {'socket': '/run/s', 'session': 'x'}})
        made = self.connector.connect_volume({**DATA, 'mode': 'network'})
        self.assertEqual(
            {'type': 'network', 'path': 'nbd+unix:///x?socket=/run/s', 'socket': '/run/s',
             'session': 'x'}, made)
        self.assertTrue(self.connector.check_valid_device(made['path']))

    def test_an_answer_without_a_place_is_an_error(self):
        self.answers({'data': {}})
        self.assertRaises(exception.VolumeDeviceNotFound, self.connector.connect_volume, DATA)

    def test_a_disconnection_is_forced_only_when_asked(self):
        self.answers({})
        self.connector.disconnect_volume(DATA, None)
        self.assertNotIn('--force', self.said()[2])
        self.connector.disconnect_volume(DATA, None, force=True)
        self.assertIn('--force', self.said()[2])

    def test_errors_are_ignored_only_with_force(self):
        self.execute.side_effect = failure('in-use')
        for options in ({}, {'force': True}, {'ignore_errors': True}):
            with self.assertRaises(HyperScaleFailed) as caught:
                self.connector.disconnect_volume(DATA, None, **options)
            self.assertEqual('in-use', caught.exception.code)
        self.connector.disconnect_volume(DATA, None, force=True, ignore_errors=True)

    def test_the_size_is_in_bytes(self):
        self.answers({'sizeBytes': 4096})
        self.assertEqual(4096, self.connector.extend_volume(DATA))

    def test_a_host_tells_its_node_and_nothing_without_the_daemon(self):
        self.answers({'node': 'n1', 'host': 'h'})
        properties = HyperScaleConnector.get_connector_properties('sudo', multipath=False)
        self.assertEqual({'hyperscale_node': 'n1'}, properties)
        for answer in (failure('unavailable'), OSError('no hscli')):
            self.execute.side_effect = answer
            self.assertEqual({}, HyperScaleConnector.get_connector_properties('sudo'))

    def test_what_is_no_error_of_hscli_is_quoted(self):
        self.execute.side_effect = processutils.ProcessExecutionError(stderr='no such program')
        with self.assertRaisesRegex(exception.BrickException, 'no such program'):
            self.connector.connect_volume(DATA)
