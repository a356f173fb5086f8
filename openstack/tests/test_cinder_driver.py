"""What the driver says to hscli, and which of Cinder's errors an error of hscli becomes."""

import inspect
import unittest

from cinder import exception
from cinder import objects
from cinder.interface import volume_driver
from cinder.interface import volume_group_driver
from cinder.interface import volume_manageable_driver
from cinder.interface import volume_snapshot_revert
from cinder.interface import volume_snapshotmanagement_driver
from cinder.volume import driver

from hyperscale_openstack.cinder import HyperScaleDriver
from tests.cinder_support import (Failure, FakeHscli, GIB, SNAPSHOT, VOLUME, VOLUME_ID, new_driver,
                           new_snapshot, new_volume, shown, volume_type)


def can_be_called_as(mine, theirs):
    """Why a method cannot be called with the arguments of another one; nothing when it can.

    What may be left out is given by its name, as Cinder does.
    """
    given = [p for p in inspect.signature(theirs).parameters.values()
             if p.kind is p.POSITIONAL_OR_KEYWORD]
    needed = [p for p in given if p.default is p.empty]
    optional = {p.name: None for p in given if p.default is not p.empty}
    called = inspect.signature(mine)
    try:
        called.bind(*needed, **optional)
    except TypeError as error:
        return f'{called} is not called as {inspect.signature(theirs)}: {error}'
    return ''


class DriverTest(unittest.TestCase):
    def setUp(self):
        self.hscli = FakeHscli()
        self.driver = new_driver(self.hscli)

    def said(self):
        return self.hscli.changes()

    def test_it_has_the_methods_of_cinders_interfaces(self):
        for interface in (volume_driver.VolumeDriverCore,
                          volume_group_driver.VolumeGroupDriver,
                          volume_snapshot_revert.VolumeSnapshotRevertDriver,
                          volume_manageable_driver.VolumeListManageableDriver,
                          volume_snapshotmanagement_driver.VolumeSnapshotManagementDriver):
            self.assertTrue(issubclass(HyperScaleDriver, interface), interface)
            for name, theirs in inspect.getmembers(interface, inspect.isfunction):
                if name.startswith('_') or isinstance(getattr(HyperScaleDriver, name), property):
                    continue
                with self.subTest(interface=interface.__name__, method=name):
                    self.assertEqual(can_be_called_as(getattr(HyperScaleDriver, name), theirs), '')
        self.assertTrue(HyperScaleDriver.SUPPORTS_ACTIVE_ACTIVE)

    def test_what_it_overrides_can_be_called_as_before(self):
        base = driver.VolumeDriver
        for name, mine in inspect.getmembers(HyperScaleDriver, inspect.isfunction):
            theirs = getattr(base, name, None)
            if theirs is None or mine is theirs or name == '__init__':
                continue
            with self.subTest(method=name):
                self.assertEqual(can_be_called_as(mine, theirs), '')

    def test_a_volume_gets_the_policy_of_the_backend(self):
        self.driver.create_volume(new_volume(size=3))
        self.assertEqual(self.said(), [f'volume create {VOLUME} --size 3G --policy Silver'])

    def test_a_volume_gets_what_its_type_asks_for(self):
        specs = {'hyperscale:reflections': '2', 'hyperscale:max_iops': '500', 'other': 'x'}
        self.driver.create_volume(new_volume(volume_type=volume_type(specs)))
        self.assertEqual(self.said(), [
            f'volume create {VOLUME} --size 1G --policy Gold --max-iops 500'])

    def test_an_unknown_extra_spec_is_refused(self):
        for specs in ({'hyperscale:reflection': '2'}, {'hyperscale:policy': 'Platinum'},
                      {'hyperscale:reflections': '5'},
                      {'hyperscale:policy': 'Gold', 'hyperscale:reflections': '0'}):
            with self.assertRaises(exception.InvalidVolumeType):
                self.driver.create_volume(new_volume(volume_type=volume_type(specs)))
        self.assertEqual(self.said(), [])

    def test_a_volume_that_an_earlier_try_has_made_is_taken(self):
        self.hscli.answers['volume create'] = Failure('exists')
        self.driver.create_volume(new_volume())

    def test_a_volume_that_is_used_is_not_taken_for_a_new_one(self):
        self.hscli.answers['volume create'] = Failure('exists')
        for there in (shown(layers=1), shown(sizeBytes=2 * GIB), shown(snapshots=1),
                      shown(attachments=[{'host': 'n1'}]), shown(role='image')):
            self.hscli.answers['volume show'] = there
            with self.assertRaises(exception.VolumeBackendAPIException):
                self.driver.create_volume(new_volume())

    def test_pools_are_policies_when_the_operator_wants_it(self):
        driver = new_driver(self.hscli, hyperscale_pools=['gold', 'Bronze'])
        driver.create_volume(new_volume(host='ctl@hs#Bronze'))
        self.assertEqual(self.said(), [f'volume create {VOLUME} --size 1G --policy Bronze'])
        pools = driver.get_volume_stats(True)['pools']
        self.assertEqual([(p['pool_name'], round(p['free_capacity_gb'])) for p in pools],
                         [('Gold', 20), ('Bronze', 60)])
        self.assertEqual(driver.get_pool(new_volume()), 'Gold')

    def test_a_setting_that_names_no_policy_is_told_at_the_start(self):
        for setting in ({'hyperscale_policy': 'Lead'}, {'hyperscale_pools': ['Gold', 'Lead']}):
            with self.assertRaisesRegex(exception.VolumeBackendAPIException, 'Lead'):
                new_driver(self.hscli, **setting)

    def test_statistics_are_in_gib_of_volumes(self):
        told = self.driver.get_volume_stats(True)
        [pool] = told['pools']
        self.assertEqual(told['backend_state'], 'up')
        self.assertEqual(told['location_info'], 'hyperscale:c-1')
        self.assertEqual(
            (pool['pool_name'], pool['total_capacity_gb'], pool['free_capacity_gb'],
             pool['provisioned_capacity_gb'], pool['max_over_subscription_ratio']),
            ('hs', 50, 30, 20, '20.0'))
        for capability in ('thin_provisioning_support', 'multiattach', 'QoS_support',
                           'online_extend_support', 'consistent_group_snapshot_enabled'):
            self.assertIs(pool[capability], True)

    def test_a_backend_that_does_not_answer_is_told_to_be_down(self):
        self.hscli.answers['cluster status'] = Failure('unavailable')
        told = self.driver.get_volume_stats(True)
        self.assertEqual(told['backend_state'], 'down')
        self.assertEqual(told['pools'][0]['free_capacity_gb'], 0)

    def test_what_is_not_there_is_deleted(self):
        self.hscli.answers['volume delete'] = Failure('not-found')
        self.hscli.answers['snapshot delete'] = Failure('not-found')
        self.driver.delete_volume(new_volume())
        self.driver.delete_snapshot(new_snapshot())
        self.assertEqual(self.said(), [f'volume delete {VOLUME} --yes',
                                       f'snapshot delete {VOLUME} {SNAPSHOT}'])

    def test_what_is_used_is_busy(self):
        self.hscli.answers['volume delete'] = Failure('in-use', 'it is attached on n1')
        self.hscli.answers['snapshot delete'] = Failure('not-allowed', 'it is protected')
        with self.assertRaisesRegex(exception.VolumeIsBusy, 'attached on n1'):
            self.driver.delete_volume(new_volume())
        with self.assertRaisesRegex(exception.SnapshotIsBusy, 'protected'):
            self.driver.delete_snapshot(new_snapshot())

    def test_errors_are_those_of_cinder(self):
        for code, expected in (('no-space', exception.VolumeBackendAPIException),
                               ('quarantined', exception.VolumeBackendAPIException),
                               ('not-found', exception.VolumeNotFound),
                               ('bad-input', exception.InvalidInput),
                               ('in-use', exception.VolumeIsBusy)):
            self.hscli.answers['volume extend'] = Failure(code)
            with self.assertRaises(expected):
                self.driver.extend_volume(new_volume(), 2)

    def test_a_program_that_cannot_be_run_is_a_backend_error(self):
        def missing(*command, **options):
            raise OSError('no such file')
        self.driver._hscli._execute = missing
        with self.assertRaisesRegex(exception.VolumeBackendAPIException, 'no such file'):
            self.driver.create_volume(new_volume())

    def test_clones_and_snapshots(self):
        source = new_volume('8f4b2d52-6a7c-4c63-8d1a-0d6e5a2f3b11')
        self.driver.create_cloned_volume(new_volume(size=2), source)
        self.driver.create_volume_from_snapshot(new_volume(), new_snapshot(volume=source))
        self.driver.create_volume_from_snapshot(
            new_volume(), new_snapshot(volume=source, provider_id='5' * 32))
        self.driver.create_snapshot(new_snapshot())
        name = source.name
        self.assertEqual(self.said(), [
            f'volume clone {name} {VOLUME} --size 2G --policy Silver',
            f'volume clone {name}@{SNAPSHOT} {VOLUME} --size 1G --policy Silver',
            f'volume clone {name}@{"5" * 32} {VOLUME} --size 1G --policy Silver',
            f'snapshot create {VOLUME} {SNAPSHOT}'])

    def test_a_volume_that_was_migrated_keeps_its_name(self):
        other = '8f4b2d52-6a7c-4c63-8d1a-0d6e5a2f3b11'
        self.driver.delete_volume(new_volume(_name_id=other))
        self.assertEqual(self.said(), [f'volume delete volume-{other} --yes'])

    def test_a_revert_keeps_the_size(self):
        self.hscli.answers['snapshot revert'] = shown(sizeBytes=GIB)
        self.driver.revert_to_snapshot(None, new_volume(size=2), new_snapshot())
        self.assertEqual(self.said(), [f'snapshot revert {VOLUME} {SNAPSHOT} --yes',
                                       f'volume extend {VOLUME} --size 2G'])
        self.assertFalse(self.driver.snapshot_revert_use_temp_snapshot())

    def test_cinder_copies_what_cannot_be_reverted_because_of_clones(self):
        self.hscli.answers['snapshot revert'] = Failure('in-use', 'a clone needs it')
        with self.assertRaises(NotImplementedError):
            self.driver.revert_to_snapshot(None, new_volume(), new_snapshot())
        self.hscli.answers['snapshot revert'] = Failure('in-use', 'attached', hosts=['n1'])
        with self.assertRaises(exception.VolumeIsBusy):
            self.driver.revert_to_snapshot(None, new_volume(), new_snapshot())

    def test_a_connection_names_the_volume(self):
        self.assertEqual(self.driver.initialize_connection(new_volume(), {'host': 'c1'}), {
            'driver_volume_type': 'hyperscale',
            'data': {'volume': VOLUME, 'access_mode': 'rw', 'discard': True}})
        self.assertEqual(self.said(), [])

    def test_a_connection_ends_on_its_node(self):
        self.driver.terminate_connection(new_volume(), {'host': 'c1', 'hyperscale_node': 'n1'})
        self.driver.terminate_connection(new_volume(), {'host': 'c1'})
        self.assertEqual(self.said(), [f'volume detach {VOLUME} --node n1',
                                       f'volume detach {VOLUME} --node c1'])

    def test_a_node_that_does_not_answer_is_revoked(self):
        self.hscli.answers['volume detach'] = [Failure('timeout'), {}]
        self.driver.terminate_connection(new_volume(), {'host': 'c1'})
        self.assertEqual(self.said()[-1], f'volume detach {VOLUME} --node c1 --force')

    def test_a_device_that_is_open_is_not_taken_away_unless_forced(self):
        self.hscli.answers['volume detach'] = Failure('in-use')
        with self.assertRaises(exception.VolumeIsBusy):
            self.driver.terminate_connection(new_volume(), {'host': 'c1'})
        self.assertEqual(self.said(), [f'volume detach {VOLUME} --node c1'])
        self.hscli.answers['volume detach'] = [Failure('in-use'), {}]
        self.driver.terminate_connection(new_volume(), {'host': 'c1'}, force=True)
        self.assertEqual(self.said()[-1], f'volume detach {VOLUME} --node c1 --force')

    def test_without_a_connector_all_attachments_end(self):
        self.hscli.answers['volume show'] = shown(attachments=[{'host': 'n1'}, {'host': 'n2'}])
        self.driver.terminate_connection(new_volume(), None, force=True)
        self.assertEqual(self.said(), [f'volume detach {VOLUME} --node n1',
                                       f'volume detach {VOLUME} --node n2'])
        self.hscli.calls.clear()
        self.driver.terminate_connection(new_volume(), {}, force=True)
        self.assertEqual(len(self.said()), 2)
        self.hscli.answers['volume show'] = Failure('not-found')
        self.driver.terminate_connection(new_volume(), None)

    def test_two_servers_of_a_host_share_its_attachment(self):
        here = [objects.VolumeAttachment(id=VOLUME_ID, attached_host='c1', connector={'host': 'c1'})
                for _ in range(2)]
        elsewhere = objects.VolumeAttachment(id=VOLUME_ID, attached_host='c2', connector=None)
        volume = new_volume(multiattach=True, volume_attachment=objects.VolumeAttachmentList(
            objects=[*here, elsewhere]))
        self.assertTrue(self.driver.terminate_connection(volume, {'host': 'c1'}))
        self.assertEqual(self.said(), [])
        self.assertFalse(self.driver.terminate_connection(volume, {'host': 'c2'}))
        self.assertEqual(self.said(), [f'volume detach {VOLUME} --node c2'])

    def test_a_snapshot_is_read_through_a_clone(self):
        snapshot = new_snapshot()
        self.driver.create_export_snapshot(None, snapshot, {})
        info = self.driver.initialize_connection_snapshot(snapshot, {'host': 'c1'})
        self.assertEqual(info['data'], {
            'volume': f'{SNAPSHOT}-read', 'access_mode': 'ro', 'discard': True})
        self.hscli.answers['volume show'] = shown(attachments=[{'host': 'n1'}])
        self.driver.terminate_connection_snapshot(snapshot, {'host': 'c1'})
        self.driver.remove_export_snapshot(None, snapshot)
        self.assertEqual(self.said(), [
            f'volume clone {VOLUME}@{SNAPSHOT} {SNAPSHOT}-read',
            f'volume detach {SNAPSHOT}-read --node n1',
            f'volume delete {SNAPSHOT}-read --yes'])

    def test_capabilities_name_the_extra_specs(self):
        self.driver.init_capabilities()
        properties = self.driver.capabilities['properties']
        self.assertEqual(properties['hyperscale:policy']['enum'], ['Gold', 'Silver', 'Bronze'])
        self.assertIn('hyperscale:max_iops', properties)


if __name__ == '__main__':
    unittest.main()
