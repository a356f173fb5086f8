"""Images, groups, managed volumes and migration: what is said to hscli, and what Cinder is told."""

import contextlib
import unittest
from unittest import mock

from cinder import exception

from tests.cinder_support import (Failure, FakeHscli, GIB, OTHER_ID, SNAPSHOT_ID, VOLUME, VOLUME_ID,
                           new_driver, new_snapshot, new_volume, shown, volume_type)

IMAGE_ID = '0459bdfb-532d-4b30-b0b3-2e07c7261fa2'
IMAGE = f'glance-{IMAGE_ID}'
META = {'id': IMAGE_ID, 'disk_format': 'qcow2', 'container_format': 'bare', 'properties': {}}
READY = {'id': 'img-1', 'name': IMAGE, 'state': 'ready', 'sizeBytes': GIB}
OTHER = f'volume-{OTHER_ID}'


class PartsTest(unittest.TestCase):
    def setUp(self):
        self.hscli = FakeHscli()
        self.driver = new_driver(self.hscli)

    def said(self):
        return self.hscli.changes()


class ImagesTest(PartsTest):
    def setUp(self):
        super().setUp()
        fetch = mock.patch(
            'hyperscale_openstack.cinder.images.image_utils.TemporaryImages.fetch',
            lambda service, context, image_id: contextlib.nullcontext('/tmp/fetched'))
        fetch.start()
        self.addCleanup(fetch.stop)
        lock = mock.patch('cinder.coordination.COORDINATOR.get_lock',
                          lambda name: mock.MagicMock())
        lock.start()
        self.addCleanup(lock.stop)

    def clone(self, **meta):
        return self.driver.clone_image(None, new_volume(), None, {**META, **meta}, None)

    def test_an_image_is_imported_once(self):
        self.hscli.answers['image show'] = Failure('not-found')
        self.hscli.answers['volume create'] = [Failure('not-found'), {}, {}]
        self.assertEqual(self.clone(), ({}, True))
        self.assertEqual(self.clone(), ({}, True))
        create = f'volume create {VOLUME} --image {IMAGE} --size 1G --policy Silver'
        self.assertEqual(self.said(), [
            create, f'image import /tmp/fetched --name {IMAGE} --format qcow2 --policy Silver',
            create, f'image prune --name glance-* --max-count 100 --keep {IMAGE} --yes', create])

    def test_the_cache_is_kept_small_when_it_has_grown(self):
        self.hscli.answers['image show'] = Failure('not-found')
        for settings, bounds in (({'count': 5, 'gb': 70}, '--max-count 5 --max-size 70G'),
                                 ({'count': 0, 'gb': 70}, '--max-size 70G'),
                                 ({'count': 0, 'gb': 0}, None)):
            self.driver = new_driver(self.hscli, **{
                f'hyperscale_image_cache_max_{name}': value for name, value in settings.items()})
            self.hscli.answers['volume create'] = [Failure('not-found'), {}]
            self.hscli.answers['image prune'] = {'images': [{'name': 'glance-old'}]}
            self.assertEqual(self.clone(), ({}, True))
            prunes = [text for text in self.said() if text.startswith('image prune')]
            self.assertEqual(prunes, [
                f'image prune --name glance-* {bounds} --keep {IMAGE} --yes'] if bounds else [])

    def test_a_cache_that_cannot_be_made_smaller_fails_no_volume(self):
        self.hscli.answers['image show'] = Failure('not-found')
        self.hscli.answers['volume create'] = [Failure('not-found'), {}]
        self.hscli.answers['image prune'] = Failure('unavailable')
        self.assertEqual(self.clone(), ({}, True))

    def test_the_import_of_another_service_is_waited_for(self):
        self.hscli.answers['volume create'] = [Failure('conflict', 'it is being imported'), {}]
        importing = {**READY, 'state': 'importing'}
        self.hscli.answers['image show'] = [importing, importing, READY]
        with mock.patch('time.sleep') as slept:
            self.assertEqual(self.clone(), ({}, True))
        self.assertEqual(slept.call_count, 1)
        self.hscli.answers['volume create'] = [Failure('not-found'), {}]
        self.hscli.answers['image show'] = [Failure('not-found'), READY]
        self.hscli.answers['image import'] = Failure('exists')
        self.assertEqual(self.clone(), ({}, True))

    def test_cinder_copies_what_is_not_cached(self):
        for meta in ({'disk_format': 'ami'}, {'container_format': 'ovf'},
                     {'properties': {'img_signature': 'x'}},
                     {'properties': {'cinder_encryption_key_id': 'x'}}):
            self.assertEqual(self.clone(**meta), ({}, False))
        off = new_driver(self.hscli, hyperscale_image_cache=False)
        self.assertEqual(off.clone_image(None, new_volume(), None, META, None), ({}, False))
        self.assertEqual(self.said(), [])
        self.hscli.answers['volume create'] = Failure('not-found')
        self.hscli.answers['image show'] = Failure('not-found')
        for code in ('no-space', 'not-supported', 'unavailable'):
            self.hscli.answers['image import'] = Failure(code)
            self.assertEqual(self.clone(), ({}, False))

    def test_an_image_that_cannot_be_is_unacceptable(self):
        self.hscli.answers['volume create'] = Failure('bad-input', 'it is larger')
        with self.assertRaisesRegex(exception.ImageUnacceptable, 'it is larger'):
            self.clone()
        self.hscli.answers['volume create'] = [Failure('not-found'), Failure('bad-input', 'large')]
        self.hscli.answers['image show'] = Failure('not-found')
        with self.assertRaisesRegex(exception.ImageUnacceptable, 'large'):
            self.clone()
        self.hscli.answers['volume create'] = Failure('not-found')
        self.hscli.answers['image import'] = Failure('bad-input', 'it names another file')
        with self.assertRaisesRegex(exception.ImageUnacceptable, 'names another file'):
            self.clone()

    def test_a_volume_is_uploaded_from_an_export(self):
        with mock.patch('cinder.volume.volume_utils.upload_volume') as upload:
            self.driver.copy_volume_to_image(None, new_volume(), 'glance', META)
        [export] = self.said()
        self.assertRegex(export, f'^volume export {VOLUME} --to /.*/volume.raw$')
        self.assertEqual(upload.call_args.args[3], export.split()[-1])


class GroupsTest(PartsTest):
    def setUp(self):
        super().setUp()
        kind = mock.patch('cinder.volume.volume_utils.is_group_a_cg_snapshot_type',
                          lambda group: group.consistent)
        kind.start()
        self.addCleanup(kind.stop)
        self.group = mock.Mock(id='g-1', consistent=True)
        self.pair = [new_volume(), new_volume(OTHER_ID)]

    def test_other_groups_are_left_to_cinder(self):
        plain = mock.Mock(consistent=False)
        for call in (lambda: self.driver.create_group(None, plain),
                     lambda: self.driver.create_group_snapshot(None, plain, []),
                     lambda: self.driver.delete_group(None, plain, [])):
            with self.assertRaises(NotImplementedError):
                call()

    def test_a_group_snapshot_is_one_command_and_found_again_by_id(self):
        self.hscli.answers['snapshot create-group'] = {
            'heldMs': 5, 'snapshots': [{'id': 'a' * 32}, {'id': 'b' * 32}]}
        snapshots = [new_snapshot(SNAPSHOT_ID, self.pair[0]), new_snapshot(OTHER_ID, self.pair[1])]
        _, updates = self.driver.create_group_snapshot(None, self.group, snapshots)
        self.assertEqual(self.said(), [
            f'snapshot create-group {VOLUME} {OTHER} --name group-snapshot-g-1'])
        self.assertEqual([(u['id'], u['provider_id'], u['status']) for u in updates], [
            (SNAPSHOT_ID, 'a' * 32, 'available'), (OTHER_ID, 'b' * 32, 'available')])

    def test_a_group_is_cloned_at_one_instant(self):
        new = [new_volume(SNAPSHOT_ID)]
        self.hscli.answers['volume clone'] = Failure('no-space')
        with self.assertRaises(exception.VolumeBackendAPIException):
            self.driver.create_group_from_src(None, self.group, new, source_group=mock.Mock(),
                                              source_vols=self.pair[:1])
        self.assertEqual(self.said(), [
            f'snapshot create-group {VOLUME} --name group-g-1',
            f'volume clone {VOLUME}@group-g-1 volume-{SNAPSHOT_ID} --size 1G --policy Silver',
            f'snapshot delete {VOLUME} group-g-1'])

    def test_what_is_busy_does_not_keep_the_rest_of_a_group(self):
        self.hscli.answers['volume delete'] = [Failure('in-use'), {}]
        model, updates = self.driver.delete_group(None, self.group, self.pair)
        self.assertEqual(model, {'status': 'error_deleting'})
        self.assertEqual([u['status'] for u in updates], ['error_deleting', 'deleted'])


class ManagementTest(PartsTest):
    def test_a_volume_is_renamed_and_becomes_what_its_type_says(self):
        self.hscli.answers['volume show'] = shown('old', sizeBytes=GIB + 1)
        volume = new_volume(volume_type=volume_type({'hyperscale:policy': 'gold',
                                                     'hyperscale:max_iops': '10'}))
        reference = {'source-name': 'old'}
        self.assertEqual(self.driver.manage_existing_get_size(volume, reference), 2)
        self.driver.manage_existing(volume, reference)
        id = shown()['id']
        self.assertEqual(self.said(), [f'volume retype {id} --policy Gold',
                                       f'volume qos {id} --max-iops 10',
                                       f'volume rename {id} {VOLUME}'])

    def test_references_that_cannot_be(self):
        for reference, there in (({'source-name': 'x'}, Failure('not-found')),
                                 ({}, shown()), ({'source-name': '--yes'}, shown()),
                                 ({'source-name': 7}, shown()),
                                 ({'source-id': 'x'}, shown(role='image')),
                                 ({'source-id': 'x'}, shown(attachments=[{'host': 'n1'}]))):
            self.hscli.answers['volume show'] = there
            with self.assertRaises(exception.ManageExistingInvalidReference):
                self.driver.manage_existing(new_volume(), reference)
        self.assertEqual(self.said(), [])

    def test_a_volume_of_cinder_is_not_taken_twice(self):
        with mock.patch('cinder.objects.Volume.exists', return_value=True):
            with self.assertRaises(exception.ManageExistingAlreadyManaged):
                self.driver.manage_existing(new_volume(OTHER_ID), {'source-name': VOLUME})

    def test_what_can_be_managed_is_listed(self):
        self.hscli.answers['volume list'] = {'volumes': [
            shown('free', sizeBytes=5), shown(), shown('used', attachments=[{'host': 'n1'}])]}
        entries = self.driver.get_manageable_volumes(
            [new_volume()], None, 10, 0, ['size', 'reference'], ['asc', 'asc'])
        self.assertEqual([(e['reference']['source-name'], e['size'], e['safe_to_manage'],
                           e['cinder_id']) for e in entries], [
            ('free', 1, True, None), ('used', 1, False, None), (VOLUME, 1, False, VOLUME_ID)])

    def test_a_snapshot_keeps_its_name_and_is_known_by_its_id(self):
        found = {'id': 'c' * 32, 'name': 'monday', 'sizeBytes': GIB}
        self.hscli.answers['snapshot show'] = found
        snapshot, other = new_snapshot(), new_snapshot(OTHER_ID)
        with mock.patch('cinder.objects.SnapshotList.get_all_for_volume') as others:
            others.return_value = [snapshot, other]
            update = self.driver.manage_existing_snapshot(snapshot, {'source-name': 'monday'})
            self.assertEqual(update, {'provider_id': 'c' * 32})
            other.provider_id = 'c' * 32
            with self.assertRaises(exception.ManageExistingAlreadyManaged):
                self.driver.manage_existing_snapshot(snapshot, {'source-name': 'monday'})


class MigrationTest(PartsTest):
    here = {'host': 'ctl@other#other', 'capabilities': {
        'location_info': 'hyperscale:c-1', 'hyperscale_policy': 'Bronze'}}
    elsewhere = {'host': 'ctl@x#x', 'capabilities': {'location_info': 'hyperscale:c-2'}}

    def retype(self, specs, host=here, **diff):
        return self.driver.retype(None, new_volume(), volume_type(specs), diff, host)

    def test_a_retype_changes_policy_and_limits(self):
        self.assertTrue(self.retype({'hyperscale:policy': 'Gold', 'hyperscale:max_iops': '10'}))
        self.assertTrue(self.retype({}))
        self.assertEqual(self.said(), [
            f'volume retype {VOLUME} --policy Gold',
            f'volume qos {VOLUME} --policy Gold --max-iops 10',
            f'volume retype {VOLUME} --policy Bronze', f'volume qos {VOLUME} --policy Bronze'])

    def test_cinder_copies_for_another_encryption_or_cluster(self):
        self.assertFalse(self.retype({}, encryption={'cipher': (None, 'aes')}))
        self.assertFalse(self.retype({}, host=self.elsewhere))
        self.assertFalse(self.retype({}, host={'host': 'a@b#c', 'capabilities': {}}))
        self.assertEqual(self.driver.migrate_volume(None, new_volume(), self.elsewhere),
                         (False, None))
        nowhere = {'host': 'a@b#c', 'capabilities': {}}
        for answer in ({'storeConnected': True}, Failure('unavailable')):
            self.hscli.answers['cluster status'] = answer
            self.assertFalse(self.retype({}, host=nowhere))
            self.assertFalse(self.retype({}))
        self.assertEqual(self.said(), [])

    def test_a_volume_stays_where_it_is_for_another_backend_of_the_cluster(self):
        self.assertEqual(self.driver.migrate_volume(None, new_volume(), self.here), (True, None))
        typed = new_volume(volume_type=volume_type({'hyperscale:policy': 'Silver'}))
        self.assertEqual(self.driver.migrate_volume(None, typed, self.here), (True, None))
        self.assertEqual(self.said(), [f'volume retype {VOLUME} --policy Bronze',
                                       f'volume qos {VOLUME} --policy Bronze'])

    def test_what_was_copied_gets_the_name_unless_it_is_taken(self):
        copied = new_volume(OTHER_ID, provider_location=None)
        update = self.driver.update_migrated_volume(None, new_volume(), copied, 'available')
        self.assertEqual(update, {'_name_id': None, 'provider_location': None})
        self.assertEqual(self.said(), [f'volume rename {OTHER} {VOLUME}'])
        self.hscli.answers['volume rename'] = Failure('exists')
        update = self.driver.update_migrated_volume(None, new_volume(), copied, 'available')
        self.assertEqual(update, {'_name_id': OTHER_ID, 'provider_location': None})


class QosTest(PartsTest):
    def test_limits_of_the_back_end_come_before_those_of_extra_specs(self):
        kind = volume_type({'hyperscale:max_iops': '10', 'hyperscale:burst_iops': '20'})
        kind.qos_specs_id = 'q-1'
        for consumer, expected in (('back-end', '--burst-iops 20 --max-iops 99'),
                                   ('both', '--burst-iops 20 --max-iops 99'),
                                   ('front-end', '--burst-iops 20 --max-iops 10')):
            self.hscli.calls.clear()
            with mock.patch('cinder.volume.qos_specs.get_qos_specs', return_value={
                    'consumer': consumer, 'specs': {'max_iops': '99'}}):
                self.driver.create_volume(new_volume(volume_type=kind))
            self.assertEqual(self.said(), [
                f'volume create {VOLUME} --size 1G --policy Silver {expected}'])

    def test_an_unknown_limit_is_refused(self):
        kind = volume_type()
        kind.qos_specs_id = 'q-1'
        with mock.patch('cinder.volume.qos_specs.get_qos_specs', return_value={
                'consumer': 'back-end', 'specs': {'maxIOPS': '99'}}):
            with self.assertRaisesRegex(exception.InvalidVolumeType, 'maxIOPS'):
                self.driver.create_volume(new_volume(volume_type=kind))



if __name__ == '__main__':
    unittest.main()
