"""The Cinder driver: `volume_driver = hyperscale_openstack.cinder.HyperScaleDriver`."""

from hyperscale_openstack.cinder.driver import HyperScaleDriver

__all__ = ['HyperScaleDriver']
