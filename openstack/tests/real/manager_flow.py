"""Cinder's own manager, this driver, os-brick and privsep above a real HyperScale, without a cloud.

Run with the OpenStack that is to be tried, as root, where `hscli` finds its daemon:

    tests/epoxy sh -c 'PYTHONPATH=. python3 tests/real/manager_flow.py'

What is written is written through the block device that os-brick connects, and read from there.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from typing import Any
from unittest import mock
import uuid

from tests.manager_support import Cinder, POOL

from cinder import objects
from cinder import utils
from cinder.volume import volume_utils
from oslo_privsep import priv_context

MIB = 1024 ** 2
IMAGE = str(uuid.uuid4())


def hscli(*args: str) -> Any:
    done = subprocess.run(['hscli', *args, '--json'], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


class Flow:
    def __init__(self, cinder: Cinder) -> None:
        self.cinder = cinder
        self.manager = cinder.manager()
        self.driver = self.manager.driver
        self.policies = {name: cinder.type(name, {'hyperscale:policy': name})
                         for name in ('Silver', 'Bronze')}

    def made(self, size: int = 1, **spec: str) -> objects.Volume:
        sources = {name: spec[name] for name in ('snapshot_id', 'source_volid') if name in spec}
        record = self.cinder.volume(size=size, volume_type_id=self.policies['Bronze'].id, **sources)
        self.manager.create_volume(self.cinder.context, record, filter_properties={},
                                   request_spec={'volume_id': record.id, **spec},
                                   allow_reschedule=False)
        volume = self.now(record)
        assert volume.status == 'available', volume.status
        return volume

    def now(self, volume: objects.Volume) -> objects.Volume:
        return objects.Volume.get_by_id(self.cinder.context, volume.id)

    @contextlib.contextmanager
    def device(self, volume: objects.Volume) -> Iterator[str]:
        """The volume as Cinder attaches it on its own host."""
        properties = volume_utils.brick_get_connector_properties()
        assert properties['hyperscale_node'], properties
        attached, _ = self.driver._attach_volume(self.cinder.context, volume, properties)
        try:
            yield attached['device']['path']
        finally:
            self.driver._detach_volume(self.cinder.context, attached, volume, properties,
                                       force=True)
        assert hscli('volume', 'show', volume.name)['attachments'] == []

    def write(self, volume: objects.Volume, letter: bytes) -> None:
        with self.device(volume) as path, open(path, 'r+b') as device:
            device.write(letter * MIB)
            device.flush()
            os.fsync(device.fileno())

    def check(self, volume: objects.Volume, letter: bytes) -> None:
        with self.device(volume) as path, open(path, 'rb') as device:
            assert device.read(MIB) == letter * MIB, f'{volume.name} does not begin with {letter!r}'
            assert device.seek(0, os.SEEK_END) == volume.size * 1024 * MIB

    def snapshot(self, volume: objects.Volume) -> objects.Snapshot:
        made = objects.Snapshot(self.cinder.context, volume_id=volume.id, user_id='user',
                                project_id='project', status='creating', volume_size=volume.size,
                                display_name='s', volume_type_id=volume.volume_type_id)
        made.create()
        self.manager.create_snapshot(self.cinder.context, made)
        assert made.status == 'available', made.status
        return made

    def delete(self, *volumes: objects.Volume) -> None:
        for volume in volumes:
            self.manager.delete_volume(self.cinder.context, self.now(volume))


def life_cycle(flow: Flow) -> None:
    """a volume, its snapshot, volumes of both, a larger one"""
    volume = flow.made()
    flow.write(volume, b'a')
    snapshot = flow.snapshot(volume)
    flow.write(volume, b'b')
    old, clone = flow.made(snapshot_id=snapshot.id), flow.made(source_volid=volume.id, size=2)
    flow.check(old, b'a')
    flow.check(clone, b'b')
    flow.manager.extend_volume(flow.cinder.context, flow.now(volume), 2, [])
    flow.check(flow.now(volume), b'b')
    flow.manager.delete_snapshot(flow.cinder.context, snapshot)
    flow.delete(volume, old, clone)


def retype_and_migration(flow: Flow) -> None:
    """another policy, and back by a migration to another pool of the cluster; nothing is copied"""
    volume = flow.made()
    flow.write(volume, b'c')
    there = {'host': POOL, 'cluster_name': None, 'capabilities': dict(
        flow.driver.get_volume_stats(True)['pools'][0])}
    flow.manager.retype(flow.cinder.context, volume, flow.policies['Silver'].id, there, 'never')
    assert hscli('volume', 'show', volume.name)['policy']['name'] == 'Silver'
    assert flow.now(volume).volume_type_id == flow.policies['Silver'].id
    there['host'] = 'ctl@hyperscale#other'
    flow.manager.migrate_volume(flow.cinder.context, flow.now(volume), there)
    moved = flow.now(volume)
    assert (moved.host, moved.name) == ('ctl@hyperscale#other', volume.name)
    flow.check(moved, b'c')
    flow.delete(moved)


def image(flow: Flow) -> None:
    """of an image that is imported once; the cache stays as small as it is set"""
    meta: dict[str, Any] = {'id': IMAGE, 'name': 'i', 'disk_format': 'raw', 'container_format': 'bare', 'size': MIB,
            'properties': {}, 'status': 'active', 'min_disk': 0, 'checksum': None,
            'virtual_size': None, 'visibility': 'public'}
    glance = mock.Mock(**{'show.return_value': meta, 'get_location.return_value': (None, None)})
    with tempfile.NamedTemporaryFile() as file, \
            mock.patch('cinder.image.glance.get_remote_image_service',
                       return_value=(glance, IMAGE)), \
            mock.patch('cinder.image.glance.get_default_image_service', return_value=glance), \
            mock.patch('cinder.image.image_utils.TemporaryImages.fetch',
                       lambda *args, **kwargs: contextlib.nullcontext(file.name)):
        file.write(b'd' * MIB)
        file.flush()
        first, second = flow.made(image_id=IMAGE), flow.made(image_id=IMAGE)
        names = [one['name'] for one in hscli('image', 'list')['images']]
        assert names == [f'glance-{IMAGE}'], names
        # The setting is one image: the next one takes its place.
        meta['id'] = str(uuid.uuid4())
        third = flow.made(image_id=meta['id'])
        names = [one['name'] for one in hscli('image', 'list')['images']]
        assert names == [f'glance-{meta["id"]}'], names
    for volume in (first, second, third):
        flow.check(volume, b'd')
    flow.delete(first, second, third)
    hscli('image', 'delete', names[0], '--yes')


def forced_detach(flow: Flow) -> None:
    """an attachment of which nobody knows the host any more"""
    volume = flow.made()
    node = hscli('cluster', 'status')['node']
    hscli('volume', 'attach', volume.name, '--node', node)
    flow.manager.terminate_connection(flow.cinder.context, volume.id, None, force=True)
    assert hscli('volume', 'show', volume.name)['attachments'] == []
    flow.delete(volume)


def main() -> int:
    cinder = Cinder(hyperscale_image_cache_max_count='1')
    # As cinder-volume does at its start.
    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    flow = Flow(cinder)
    before = hscli('volume', 'list', '--all')
    try:
        for step in (life_cycle, retype_and_migration, image, forced_detach):
            step(flow)
            print(f'PASS {step.__name__}: {step.__doc__}', flush=True)
        after = hscli('volume', 'list')
        assert after['volumes'] == before['volumes'], after
        print('PASS residue: no volume is left')
    finally:
        cinder.end()
    return 0


if __name__ == '__main__':
    sys.exit(main())
