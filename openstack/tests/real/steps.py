"""The steps of volume_flows.py, by name, and what they share."""

from __future__ import annotations

import os
import subprocess
from typing import Any, Callable
import uuid

from cloud import HSCLI, Cloud

GIB = 1024 ** 3
# Back end and pool of test/openstack.
POOL = os.environ.get('POOL', 'ctl@hyperscale#hyperscale')
RUN = uuid.uuid4().hex[:6]

cloud = Cloud()
cinder, glance = cloud.cinder, cloud.glance
volumes, snapshots = cinder.volumes, cinder.volume_snapshots

Step = Callable[[], None]
steps: dict[str, Step] = {}


def step(function: Step) -> Step:
    """Its docstring says what it shows."""
    steps[function.__name__] = function
    return function


def called(what: str) -> str:
    """A name that no other run has."""
    return f'flow-{what}-{RUN}'


def ids(kind: Any) -> set[str]:
    return {one.id for one in kind.list()}


def delete_images(*images: Any) -> None:
    """From Glance, and from the cache of HyperScale."""
    for image in images:
        glance.images.delete(image.id)
        subprocess.run([HSCLI, 'image', 'delete', f'glance-{image.id}', '--yes'],
                       capture_output=True, check=False)
