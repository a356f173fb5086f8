"""Nova's libvirt volume driver for HyperScale, and its registration with Nova."""

from hyperscale_openstack import brick

_DRIVER = 'hyperscale_openstack.nova.volume.LibvirtHyperScaleVolumeDriver'


def register() -> None:
    """Teach Nova and os-brick of this process the volume types of HyperScale. May be repeated."""
    # Not when this package is loaded: launchers load it before the standard library is patched.
    from nova.virt.libvirt import driver

    from hyperscale_openstack.nova import disk_config

    brick.register()
    disk_config.install()
    for volume_type in brick.VOLUME_TYPES:
        driver.VOLUME_DRIVERS[volume_type] = _DRIVER
