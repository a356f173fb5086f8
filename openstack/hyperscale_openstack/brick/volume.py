"""Starts cinder-volume with the connector of HyperScale in the processes of all its backends.

To move a volume here from another backend, the process of that one attaches the new volume; it is
forked before our driver is loaded, unless HyperScale is the first of `enabled_backends`. Installed as
`hyperscale-cinder-volume`; takes the options of `cinder-volume`.
"""

import sys


def main() -> None:
    """Run cinder-volume."""
    from cinder.cmd import volume  # first: it patches the standard library

    from hyperscale_openstack import brick

    brick.register()
    sys.argv[0] = 'cinder-volume'  # names the log file
    volume.main()


if __name__ == '__main__':
    main()
