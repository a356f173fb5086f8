"""Throwaway out-of-tree os-brick connector + its registration."""
import os
import subprocess

from os_brick.initiator import connector
from os_brick.initiator.connectors import base

PATH = 'trivial_brick.TrivialConnector'


def register():
    connector.get_connector_mapping()['TRIVIAL_FILE'] = PATH   # factory()
    if PATH not in connector.unix_connector_list:
        connector.unix_connector_list.append(PATH)           # properties


class TrivialConnector(base.BaseLinuxConnector):
    @staticmethod
    def get_connector_properties(root_helper, *a, **kw):
        return {'trivial': os.uname().nodename}

    def get_volume_paths(self, props):
        return []

    def get_search_path(self):
        return None

    def get_all_available_volumes(self, props=None):
        return []

    # one loop device per "host" and volume, remembered in the host's own /run
    def _mark(self, props):
        d = '/run/trivial-loop-%s' % os.uname().nodename
        os.makedirs(d, exist_ok=True)
        return os.path.join(d, props['volume_id'])

    def connect_volume(self, props):
        if props['mode'] == 'nbd' and 'port' in props:
            return {'type': 'nbd', 'path': props['file']}   # path: image copy only
        path = props['file']
        if props['mode'] == 'loop':
            m = self._mark(props)
            if not os.path.islink(m):
                path = subprocess.check_output(
                    ['losetup', '--show', '-f', props['file']], text=True).strip()
                os.symlink(path, m)
            path = os.readlink(m)
        return {'type': 'trivial_file', 'path': path}

    def disconnect_volume(self, props, info, force=False, ignore_errors=False):
        m = self._mark(props)
        if os.path.islink(m):
            subprocess.check_call(['losetup', '-d', os.readlink(m)])
            os.unlink(m)

    def extend_volume(self, props):
        m = self._mark(props)
        if os.path.islink(m):
            subprocess.check_call(['losetup', '-c', os.readlink(m)])
        return os.path.getsize(props['file'])
