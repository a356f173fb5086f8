"""Starts cinder-backup with the connector of HyperScale.

cinder-backup reads volumes through os-brick in a process of its own, into which it loads no volume
driver. Installed as ``hyperscale-cinder-backup``; takes the options of ``cinder-backup``.
"""

import sys


def main() -> None:
    """Run cinder-backup."""
    from cinder.cmd import backup  # first: it patches the standard library

    from hyperscale_openstack import brick

    brick.register()
    sys.argv[0] = 'cinder-backup'  # so it finds its configuration files
    backup.main()


if __name__ == '__main__':
    main()
