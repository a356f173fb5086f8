"""Throwaway out-of-tree Cinder driver: one raw file per volume."""
import os
import shutil

from oslo_config import cfg
from cinder import exception
from cinder.volume import configuration, driver
import trivial_brick

trivial_brick.register()          # cinder-volume itself attaches for image copy
OPTS = [cfg.StrOpt('trivial_dir', default='.'),
        cfg.StrOpt('trivial_ip', default='127.0.0.1')]
cfg.CONF.register_opts(OPTS, group=configuration.SHARED_CONF_GROUP)


class FileDriver(driver.VolumeDriver):
    VERSION = '0.1'

    def __init__(self, *a, **kw):
        super().__init__(*a, **kw)
        self.configuration.append_config_values(OPTS)

    def _p(self, v):
        return os.path.join(self.configuration.trivial_dir, v['name'])

    def check_for_setup_error(self):
        os.makedirs(self.configuration.trivial_dir, exist_ok=True)

    def create_volume(self, v):
        with open(self._p(v), 'wb') as f:
            f.truncate(v['size'] << 30)

    def delete_volume(self, v):
        if os.path.exists(self._p(v)):
            os.unlink(self._p(v))

    def _copy(self, src, v):
        self._execute('cp', '--sparse=always', src, self._p(v))
        os.truncate(self._p(v), v['size'] << 30)

    def copy_image_to_volume(self, ctx, v, *a, **kw):
        super().copy_image_to_volume(ctx, v, *a, **kw)   # via our connector
        os.truncate(self._p(v), v['size'] << 30)         # qemu-img shrank it

    def create_snapshot(self, s):
        self._execute('cp', '--sparse=always', self._p(s['volume']), self._p(s))

    def delete_snapshot(self, s):
        self.delete_volume(s)

    def create_volume_from_snapshot(self, v, s):
        self._copy(self._p(s), v)

    def create_cloned_volume(self, v, src):
        self._copy(self._p(src), v)

    def extend_volume(self, v, size):
        os.truncate(self._p(v), size << 30)

    def ensure_export(self, ctx, v):
        pass

    def create_export(self, ctx, v, connector):
        pass

    def remove_export(self, ctx, v):
        pass

    # how qemu gets it: volume property mode=file|loop|nbd (default loop)
    def initialize_connection(self, v, connector):
        mode = v.metadata.get('mode', 'loop')
        data = {'file': self._p(v), 'volume_id': v['id'], 'mode': mode,
                'seen_connector': connector.get('trivial', 'missing')}
        # not for cinder's own image copy: qemu-nbd would hold the write lock
        if mode == 'nbd' and connector.get('ip') != self.configuration.trivial_ip:
            data['host'], data['port'] = self.configuration.trivial_ip, self._nbd(v)
        return {'driver_volume_type': 'trivial_file', 'data': data}

    def _nbd(self, v):
        pidf = self._p(v) + '.nbd'
        port = 20000 + int(v['id'][:4], 16) % 10000
        try:
            os.kill(int(open(pidf).read()), 0)
        except (OSError, ValueError):
            self._execute('qemu-nbd', '--fork', '--persistent', '--shared=8',
                          '-f', 'raw', '-b', self.configuration.trivial_ip, '-p',
                          str(port), '-x', 'vol', '--pid-file', pidf, self._p(v))
        return port

    def terminate_connection(self, v, connector, **kw):
        pidf = self._p(v) + '.nbd'
        others = [a for a in v.volume_attachment if a.attach_status != 'detached']
        if len(others) <= 1 and os.path.exists(pidf):
            try:
                os.kill(int(open(pidf).read()), 15)
            except OSError:
                pass
            os.unlink(pidf)

    def _update_volume_stats(self):
        u = shutil.disk_usage(self.configuration.trivial_dir)
        self._stats = {'volume_backend_name':
                       self.configuration.safe_get('volume_backend_name'),
                       'vendor_name': 'trivial', 'driver_version': '0.1',
                       'storage_protocol': 'trivial_file',
                       'total_capacity_gb': u.total >> 30,
                       'free_capacity_gb': u.free >> 30,
                       'multiattach': False}
