"""A fake hscli, and objects of Cinder, for tests of what the driver says and makes of answers."""

from __future__ import annotations

import json
from typing import Any, Optional, Union
from unittest import mock

from cinder import context
from cinder import objects
from cinder.volume import configuration
from oslo_concurrency import processutils

from hyperscale_openstack.cinder import HyperScaleDriver
from hyperscale_openstack.cinder import options

objects.register_all()

GIB = 1024 ** 3
VOLUME_ID = '1e5177e7-95e5-4a0f-b170-e45f4b469f6a'
OTHER_ID = '8f4b2d52-6a7c-4c63-8d1a-0d6e5a2f3b11'
SNAPSHOT_ID = '4f2e7a52-0b3d-4b5f-9a6e-7a5ad01c23d4'
VOLUME = f'volume-{VOLUME_ID}'
SNAPSHOT = f'snapshot-{SNAPSHOT_ID}'

POLICIES = {'policies': [
    {'name': 'Gold', 'reflections': 2, 'copies': 3, 'maxIops': 30000, 'maxLayers': 8},
    {'name': 'Silver', 'reflections': 1, 'copies': 2, 'maxIops': 20000, 'maxLayers': 8},
    {'name': 'Bronze', 'reflections': 0, 'copies': 1, 'maxIops': 10000, 'maxLayers': 8},
]}
CLUSTER = {
    'id': 'c-1', 'state': 'healthy', 'node': 'ctl', 'storeConnected': True,
    'volumes': {'total': 3}, 'totalBytes': 100 * GIB, 'freeBytes': 60 * GIB,
    'provisionedBytes': 40 * GIB,
}


def shown(name: str = VOLUME, **changes: Any) -> dict[str, Any]:
    """A volume as `hscli volume show` answers."""
    return {
        'id': '0ac731dd-ef53-42da-ac7c-3d5bbf47015e', 'name': name, 'sizeBytes': GIB,
        'policy': POLICIES['policies'][1], 'layers': 0, 'sharedLayers': 0, 'role': 'volume',
        'snapshots': 0, 'attachments': [], **changes,
    }


class Failure:
    """An error as hscli reports it."""

    def __init__(self, code: str, message: str = 'it failed', **values: Any) -> None:
        self.stderr = 'sudo: a word of its own\n' + json.dumps({'error': {
            'code': code, 'message': message, 'hint': 'Look.', 'values': values, 'exit': 1}})


Answer = Union[dict, Failure, list]


class FakeHscli:
    """Answers by the beginning of a command; a list is answered one by one."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.answers: dict[str, Answer] = {
            'policy list': POLICIES, 'cluster status': CLUSTER, 'volume show': shown(),
        }

    def __call__(self, *command: str, **options: Any) -> tuple[str, str]:
        assert options['run_as_root'] is True
        program, *args = command
        assert program == 'hscli'
        assert '--json' in args
        said = args[:args.index('--timeout')]
        self.calls.append(said)
        text = ' '.join(said)
        longest = max((key for key in self.answers if text.startswith(key)), key=len, default='')
        answer = self.answers.get(longest, {})
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Failure):
            raise processutils.ProcessExecutionError(stderr=answer.stderr, exit_code=5)
        return json.dumps(answer), ''

    def changes(self) -> list[str]:
        """What was said, without questions."""
        asked = ('policy list', 'cluster status', 'volume show', 'volume list', 'image show',
                 'snapshot list', 'snapshot show')
        texts = [' '.join(call) for call in self.calls]
        return [text for text in texts if not text.startswith(asked)]


def new_driver(hscli: FakeHscli, **settings: Any) -> HyperScaleDriver:
    """A driver that was set up, with settings of its section of cinder.conf."""
    conf = configuration.Configuration(options.OPTIONS, config_group='hyperscale')
    given = {'volume_backend_name': 'hs', **settings}
    real = conf.safe_get
    conf.safe_get = lambda name: given[name] if name in given else real(name)
    with mock.patch('hyperscale_openstack.cinder.backend.rootwrap.execute', hscli):
        driver = HyperScaleDriver(configuration=conf, host='ctl@hs')
    driver.do_setup(context.get_admin_context())
    driver.check_for_setup_error()
    hscli.calls.clear()
    return driver


def volume_type(extra_specs: Optional[dict] = None) -> objects.VolumeType:
    return objects.VolumeType(id=OTHER_ID, name='t', extra_specs=extra_specs or {},
                              qos_specs_id=None)


def new_volume(id: str = VOLUME_ID, **fields: Any) -> objects.Volume:
    given = {'size': 1, 'host': 'ctl@hs#hs', '_name_id': None, 'volume_type': None,
             'volume_attachment': objects.VolumeAttachmentList(objects=[]),
             'multiattach': False, 'encryption_key_id': None, **fields}
    return objects.Volume(context.get_admin_context(), id=id, **given)


def new_snapshot(id: str = SNAPSHOT_ID, volume: Optional[objects.Volume] = None,
                 **fields: Any) -> objects.Snapshot:
    given = {'provider_id': None, 'volume_size': 1, **fields}
    of = volume or new_volume()
    return objects.Snapshot(context.get_admin_context(), id=id, volume=of, volume_id=of.id,
                            **given)
