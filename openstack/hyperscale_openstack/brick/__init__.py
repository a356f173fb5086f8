"""The os-brick connector of HyperScale, and its registration with os-brick.

os-brick has no entry points for connectors: a process that attaches volumes calls :func:`register`
before it does. The Cinder driver, the Nova volume driver and the launchers here do so.
"""

#: What Cinder's driver calls the type of its connections, and the original product's name for it.
VOLUME_TYPES = ('hyperscale', 'veritas_hyperscale')

_CONNECTOR = 'hyperscale_openstack.brick.connector.HyperScaleConnector'


def register() -> None:
    """Teach os-brick of this process the volume types of HyperScale. May be repeated."""
    # Not when this package is loaded: launchers load it before the standard library is patched.
    from os_brick.initiator import connector

    mapping = connector.get_connector_mapping()
    for volume_type in VOLUME_TYPES:
        mapping[volume_type.upper()] = _CONNECTOR
    # Who is in this list is asked for the properties of the host.
    if _CONNECTOR not in connector.unix_connector_list:
        connector.unix_connector_list.append(_CONNECTOR)
