"""Starts nova-compute with the volume driver of HyperScale.

Nova finds its libvirt volume drivers in a table of its own that nothing outside can add to, so
something must do that in its process before a volume is attached. This works alike in every release
and changes no installed file. Installed as ``hyperscale-nova-compute``; takes the options of
``nova-compute``; ``compute_driver`` stays ``libvirt.LibvirtDriver``.
"""

import sys


def main() -> None:
    """Run nova-compute."""
    from nova.cmd import compute  # first: it patches the standard library

    from hyperscale_openstack import nova

    nova.register()
    sys.argv[0] = 'nova-compute'  # so it finds its configuration files
    compute.main()


if __name__ == '__main__':
    main()
