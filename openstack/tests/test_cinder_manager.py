"""What becomes of the driver's answers in Cinder: its own manager and records, above a fake hscli."""

import contextlib
import tempfile
import unittest
from unittest import mock

from cinder import exception
from cinder import objects

from hyperscale_openstack.cinder import backend
from tests.cinder_support import Failure, FakeHscli, shown
from tests.manager_support import Cinder, HOST, POOL

IMAGE_ID = '0459bdfb-532d-4b30-b0b3-2e07c7261fa2'
META = {'id': IMAGE_ID, 'name': 'i', 'disk_format': 'raw', 'container_format': 'bare',
        'properties': {}, 'status': 'active', 'size': 1, 'min_disk': 0, 'visibility': 'public',
        'checksum': None, 'virtual_size': None}
LOCATION = {'hyperscale_policy': 'Gold', 'location_info': 'hyperscale:c-1'}

cinder: Cinder


def setUpModule():
    global cinder
    cinder = Cinder()


def tearDownModule():
    cinder.end()


class ManagerTest(unittest.TestCase):
    def setUp(self):
        self.hscli = FakeHscli()
        patch = mock.patch.object(backend.rootwrap, 'execute', self.hscli)
        patch.start()
        self.addCleanup(patch.stop)
        self.addCleanup(self.forget_services)

    def forget_services(self):
        for service in objects.ServiceList.get_all(cinder.context):
            service.destroy()

    def started(self, *args, **kwargs):
        made = cinder.manager(*args, **kwargs)
        self.hscli.calls.clear()
        return made

    def said(self):
        return self.hscli.changes()

    def now(self, volume):
        return objects.Volume.get_by_id(cinder.context, volume.id)

    def create(self, manager, volume, **spec):
        manager.create_volume(cinder.context, volume, request_spec={'volume_id': volume.id, **spec},
                              filter_properties={}, allow_reschedule=False)
        return self.now(volume)

    def test_a_volume_is_created_and_deleted(self):
        manager = self.started()
        volume = self.create(manager, cinder.volume())
        self.assertEqual(volume.status, 'available')
        manager.delete_volume(cinder.context, volume)
        self.assertRaises(exception.VolumeNotFound, self.now, volume)
        self.assertEqual(self.said(), [
            f'volume create {volume.name} --size 1G --policy Silver',
            f'volume delete {volume.name} --yes'])

    def test_a_volume_that_is_used_is_available_again_after_a_refused_deletion(self):
        manager = self.started()
        volume = self.create(manager, cinder.volume())
        self.hscli.answers['volume delete'] = Failure('in-use', 'it is attached on n1')
        volume.update({'status': 'deleting'})
        volume.save()
        manager.delete_volume(cinder.context, volume)
        self.assertEqual(self.now(volume).status, 'available')

    def test_a_migration_within_the_cluster_changes_the_record_and_moves_nothing(self):
        manager = self.started()
        self.started('other@hyperscale')
        there = 'other@hyperscale#Gold'
        volume = self.create(manager, cinder.volume())
        self.hscli.calls.clear()
        manager.migrate_volume(cinder.context, volume, {'host': there, 'capabilities': LOCATION})
        moved = self.now(volume)
        self.assertEqual((moved.host, moved.migration_status, moved.status, moved.name_id),
                         (there, 'success', 'available', volume.id))
        self.assertEqual(self.said(), [f'volume retype {volume.name} --policy Gold',
                                       f'volume qos {volume.name} --policy Gold'])

    def test_a_migration_that_is_refused_leaves_the_volume_where_it_was(self):
        manager = self.started()
        self.started('other@hyperscale')
        volume = self.create(manager, cinder.volume())
        self.hscli.answers['volume retype'] = Failure('not-enough-nodes')
        there = {'host': 'other@hyperscale#Gold', 'capabilities': LOCATION}
        with self.assertRaises(exception.VolumeBackendAPIException):
            manager.migrate_volume(cinder.context, volume, there)
        self.assertEqual((self.now(volume).host, self.now(volume).migration_status),
                         (POOL, 'error'))

    def test_to_another_cluster_cinder_copies(self):
        manager = self.started()
        volume = self.create(manager, cinder.volume())
        there = {'host': 'far@x#x', 'capabilities': {**LOCATION, 'location_info': 'hyperscale:c-2'}}
        with mock.patch.object(manager, '_migrate_volume_generic') as copied:
            manager.migrate_volume(cinder.context, volume, there)
        self.assertEqual(copied.call_args.args[1].id, volume.id)

    def test_services_of_a_cluster_do_each_others_work(self):
        cluster = 'together@hyperscale'
        objects.Cluster(cinder.context, name=cluster, binary='cinder-volume').create()
        first = self.started(HOST, cluster)
        second = self.started('two@hyperscale', cluster)
        volume = self.create(first, cinder.volume(cluster_name=cluster))
        # The other service does it, and takes the record for its own.
        taken = objects.VolumeAttachment(cinder.context, volume_id=volume.id,
                                         attach_status='attached', connector={'host': 'c1'})
        taken.create()
        second.attachment_delete(cinder.context, taken.id, self.now(volume))
        taken.destroy()  # as Cinder's API does
        second.extend_volume(cinder.context, self.now(volume), 2, [])
        self.assertEqual(self.now(volume).size, 2)
        there = {'host': 'two@hyperscale#Gold', 'cluster_name': cluster, 'capabilities': LOCATION}
        first.migrate_volume(cinder.context, self.now(volume), there)
        self.assertEqual(self.now(volume).cluster_name, cluster)
        second.delete_volume(cinder.context, self.now(volume))
        self.assertEqual(self.said(), [
            f'volume create {volume.name} --size 1G --policy Silver',
            f'volume detach {volume.name} --node c1',
            f'volume extend {volume.name} --size 2G',
            f'volume retype {volume.name} --policy Gold',
            f'volume qos {volume.name} --policy Gold',
            f'volume delete {volume.name} --yes'])

    def test_a_forced_detach_without_a_connector_ends_all_attachments(self):
        manager = self.started()
        volume = self.create(manager, cinder.volume())
        self.hscli.calls.clear()
        self.hscli.answers['volume show'] = shown(attachments=[{'host': 'n1'}, {'host': 'n2'}])
        for connector in (None, {}):
            manager.terminate_connection(cinder.context, volume.id, connector, force=True)
            self.assertEqual(self.said(), [f'volume detach {volume.name} --node n1',
                                           f'volume detach {volume.name} --node n2'])
            self.hscli.calls.clear()

    def test_an_attachment_without_a_host_ends_without_a_word(self):
        manager = self.started()
        volume = self.create(manager, cinder.volume())
        self.hscli.calls.clear()
        reserved = objects.VolumeAttachment(cinder.context, volume_id=volume.id,
                                            attach_status='reserved', connector=None)
        reserved.create()
        manager.attachment_delete(cinder.context, reserved.id, self.now(volume))
        self.assertEqual(self.said(), [])

    def of_image(self, manager, volume):
        with tempfile.NamedTemporaryFile() as fetched, mock.patch(
                'cinder.image.image_utils.TemporaryImages.fetch',
                lambda *args, **kwargs: contextlib.nullcontext(fetched.name)):
            fetched.truncate(1 << 20)
            return self.create(manager, volume, image_id=IMAGE_ID)

    def glance(self):
        glance = mock.Mock(**{'show.return_value': META, 'get_location.return_value': (None, None)})
        patch = mock.patch('cinder.image.glance.get_remote_image_service',
                           return_value=(glance, IMAGE_ID))
        patch.start()
        self.addCleanup(patch.stop)
        default = mock.patch('cinder.image.glance.get_default_image_service', return_value=glance)
        default.start()
        self.addCleanup(default.stop)

    def test_a_volume_of_an_image_is_a_clone(self):
        self.glance()
        manager = self.started()
        with mock.patch.object(manager.driver, 'copy_image_to_volume') as copied:
            volume = self.of_image(manager, cinder.volume())
        self.assertEqual((volume.status, volume.bootable), ('available', True))
        copied.assert_not_called()
        self.assertEqual(self.said(), [
            f'volume create {volume.name} --image glance-{IMAGE_ID} --size 1G --policy Silver'])

    def test_an_image_is_copied_into_an_encrypted_volume_by_cinder(self):
        self.glance()
        manager = self.started()
        encrypted = cinder.volume(encryption_key_id='a1e2f4c8-0000-4000-8000-000000000001')
        looked = mock.Mock(virtual_size=1 << 20)
        with mock.patch.object(manager.driver, 'copy_image_to_encrypted_volume') as copied, \
                mock.patch('cinder.image.image_utils.qemu_img_info', return_value=looked):
            volume = self.of_image(manager, encrypted)
        self.assertEqual(volume.status, 'available')
        # No clone: what is in the cache is not encrypted.
        self.assertEqual(self.said(), [f'volume create {volume.name} --size 1G --policy Silver'])
        self.assertEqual(copied.call_args.args[1].id, volume.id)


if __name__ == '__main__':
    unittest.main()
