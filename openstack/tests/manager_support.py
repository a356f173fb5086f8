"""Cinder's own manager of volumes above the driver, with a database and messages of this process.

One for each process: the settings of Cinder are global.
"""

from __future__ import annotations

import logging
import os
import tempfile
from typing import Any, Optional

from cinder import context
from cinder import coordination
from cinder import objects
from cinder import rpc
from cinder.common import config  # noqa: F401 - registers the settings
from cinder.db import migration
from oslo_config import cfg

objects.register_all()  # before what follows is loaded, which names them
from cinder.volume import manager  # noqa: E402
from cinder.volume import volume_types  # noqa: E402

# What goes wrong on purpose is no news.
logging.disable(logging.ERROR)

BACKEND = 'hyperscale'
HOST = f'ctl@{BACKEND}'
POOL = f'{HOST}#hs'
CONFIGURATION = """
[DEFAULT]
host = ctl
state_path = {directory}
image_conversion_dir = {directory}/conversion
transport_url = fake://
enabled_backends = {backend}
rootwrap_config = /etc/cinder/rootwrap.conf
[database]
connection = sqlite:///{directory}/cinder.db
[oslo_concurrency]
lock_path = {directory}/locks
[coordination]
backend_url = file://{directory}/coordination
[key_manager]
backend = cinder.keymgr.conf_key_mgr.ConfKeyManager
fixed_key = 0123456789abcdef
[{backend}]
volume_driver = hyperscale_openstack.cinder.HyperScaleDriver
volume_backend_name = hs
{settings}
"""


class Cinder:
    """Cinder without its API and scheduler: what they would ask of a manager is asked by the test."""

    def __init__(self, **settings: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix='hs-cinder-')
        directory = self._directory.name
        for name in ('conversion', 'locks', 'coordination'):
            os.mkdir(os.path.join(directory, name))
        file = os.path.join(directory, 'cinder.conf')
        lines = '\n'.join(f'{name} = {value}' for name, value in settings.items())
        with open(file, 'w', encoding='utf-8') as made:
            made.write(CONFIGURATION.format(directory=directory, backend=BACKEND, settings=lines))
        cfg.CONF([], project='cinder', default_config_files=[file])
        migration.db_sync()
        rpc.init(cfg.CONF)
        coordination.COORDINATOR.start()
        self.context = context.get_admin_context()
        self.context.user_id, self.context.project_id = 'user', 'project'
        self.volume_type = self.type('plain', {})

    def end(self) -> None:
        coordination.COORDINATOR.stop()
        rpc.cleanup()
        self._directory.cleanup()

    def type(self, name: str, extra_specs: dict[str, str]) -> Any:
        made = volume_types.create(self.context, name, extra_specs)
        return objects.VolumeType.get_by_id(self.context, made.id)

    def manager(self, host: str = HOST, cluster: Optional[str] = None) -> manager.VolumeManager:
        """A manager of the backend on one host, started and with a record of its service."""
        fields = {'cluster_name': cluster} if cluster else {}
        objects.Service(self.context, host=host, binary='cinder-volume', topic='cinder-volume',
                        report_count=0, availability_zone='nova', **fields).create()
        made = manager.VolumeManager(service_name=BACKEND, host=host, cluster=cluster)
        made.init_host(added_to_cluster=None, service_id=None)
        assert made.driver.initialized
        return made

    def volume(self, **fields: Any) -> objects.Volume:
        """The record of a volume as the scheduler leaves it."""
        given = {'size': 1, 'host': POOL, 'status': 'creating', 'display_name': 'v',
                 'volume_type_id': self.volume_type.id, 'availability_zone': 'nova',
                 'user_id': 'user', 'project_id': 'project', 'attach_status': 'detached',
                 **fields}
        made = objects.Volume(self.context, **given)
        made.create()
        return objects.Volume.get_by_id(self.context, made.id)
