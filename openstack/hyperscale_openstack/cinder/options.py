"""Settings of a backend section in cinder.conf."""

from cinder.volume import configuration
from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt('hyperscale_policy', default='Silver',
               help='Policy of volumes whose type names none: Gold has 3 copies, Silver 2, '
                    'Bronze 1. Capacities are reported in units of it.'),
    cfg.ListOpt('hyperscale_pools', default=[],
                help='Policies that are pools of this backend of their own, such as '
                     'Gold,Silver. Empty: one pool for volumes of all policies.'),
    cfg.BoolOpt('hyperscale_image_cache', default=True,
                help='Import an image into HyperScale when the first volume is made of it, and '
                     'clone it for all others.'),
    cfg.IntOpt('hyperscale_image_cache_max_count', default=100, min=0,
               help='So many images stay in the cache at most; those go first that were not used '
                    'for the longest time. 0: any number.'),
    cfg.IntOpt('hyperscale_image_cache_max_gb', default=0, min=0,
               help='What one copy of each image in the cache takes is together at most so many '
                    'GiB. 0: as much as there is.'),
    cfg.StrOpt('hyperscale_hscli', default='hscli',
               help='The program hscli on this host.'),
    cfg.StrOpt('hyperscale_socket',
               help='Socket of hyperscaled on this host, where it is not the default one.'),
    cfg.IntOpt('hyperscale_timeout', default=120, min=1,
               help='Seconds to wait for an answer of hyperscaled; copies have no limit.'),
]


def register() -> None:
    cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)
