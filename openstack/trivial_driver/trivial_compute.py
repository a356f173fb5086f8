"""Starts nova-compute with the trivial driver beside that of HyperScale."""


def main():
    from nova.cmd import compute  # noqa: F401 - first: it patches the standard library

    import trivial_nova
    from hyperscale_openstack.nova import compute as launcher

    trivial_nova.register()
    launcher.main()


if __name__ == '__main__':
    main()
