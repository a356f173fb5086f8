"""What Cinder tells a host about a volume: the contract of its three sides.

The Cinder driver makes it, the os-brick connector and the Nova driver read it. Nothing in it
depends on the host: which socket or device a volume has there is found out by `hscli volume attach`
when it is connected, and is another one after each detach or reboot.

    {'driver_volume_type': 'hyperscale',
     'data': {'volume': 'volume-UUID',      name or id, as hscli takes it
              'access_mode': 'rw' | 'ro',
              'discard': True}}

Cinder itself adds `qos_specs`, `encrypted` and `cacheable` to the data. A host tells with
`hyperscale_node` in its connector properties which node of HyperScale it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

VOLUME_TYPE = 'hyperscale'
NODE_PROPERTY = 'hyperscale_node'


def connection_info(volume: str, read_only: bool = False) -> dict[str, Any]:
    """The connection info of a volume, by its name in HyperScale."""
    return {
        'driver_volume_type': VOLUME_TYPE,
        'data': {
            'volume': volume,
            'access_mode': 'ro' if read_only else 'rw',
            'discard': True,
        },
    }


def node_of(connector: Mapping[str, Any]) -> Optional[str]:
    """The node of a host; without its own word nodes are taken to be named as hosts."""
    return connector.get(NODE_PROPERTY) or connector.get('host')
