"""Lets Nova's own model of a disk carry what our disks have beyond it.

Nova reads disks from a domain and writes them again (to detach one, for example). Of an NBD disk it
knows hosts with names and ports; one behind a Unix socket it reads as a host without a name, and then
fails when it writes that (``TypeError``). Nor does it know ``<reconnect>`` and ``error_policy``.
So its two functions get a word to say for such disks; all others go through unchanged.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

from lxml import etree
from nova.virt.libvirt import config as vconfig

#: The element of the disk that is kept as it is, and the attributes of its driver.
_SOURCE = 'hyperscale_source'
_DRIVER = 'hyperscale_driver'


def install() -> None:
    """Wrap reading and writing in ``LibvirtConfigGuestDisk``. May be repeated."""
    disk = vconfig.LibvirtConfigGuestDisk
    if getattr(disk, '_hyperscale_installed', False):
        return
    disk.parse_dom = _parsing(disk.parse_dom)
    disk.format_dom = _formatting(disk.format_dom)
    disk._hyperscale_installed = True


def prescribe(conf: vconfig.LibvirtConfigGuestDisk, xml: str) -> None:
    """Let a disk have the source and the driver's attributes of this ``<disk>``."""
    disk = etree.fromstring(xml)
    conf.source_type = disk.get('type')
    driver = disk.find('driver')
    if driver is not None:
        setattr(conf, _DRIVER, dict(driver.attrib))
        conf.driver_cache = driver.get('cache')
        conf.driver_io = driver.get('io')
    source = disk.find('source')
    if conf.source_type == 'block':
        conf.source_path = source.get('dev')
        return
    conf.source_protocol = source.get('protocol')
    conf.source_name = source.get('name')
    conf.source_hosts, conf.source_ports = [], []
    setattr(conf, _SOURCE, copy.deepcopy(source))


def _parsing(original: Any) -> Any:
    @functools.wraps(original)
    def parse_dom(self: Any, xmldoc: Any) -> None:
        original(self, xmldoc)
        host = xmldoc.find("source[@protocol='nbd']/host[@transport='unix']")
        if host is None:
            return
        self.source_hosts, self.source_ports = [], []
        setattr(self, _SOURCE, copy.deepcopy(host.getparent()))
        driver = xmldoc.find('driver')
        if driver is not None:
            setattr(self, _DRIVER, dict(driver.attrib))

    return parse_dom


def _formatting(original: Any) -> Any:
    @functools.wraps(original)
    def format_dom(self: Any) -> Any:
        disk = original(self)
        wanted = getattr(self, _DRIVER, None)
        driver = disk.find('driver')
        if wanted is not None and driver is not None:
            driver.attrib.update(wanted)
        source = getattr(self, _SOURCE, None)
        if source is not None:
            old = disk.find('source')
            disk.replace(old, copy.deepcopy(source))
        return disk

    return format_dom
