"""Clients of a real OpenStack, and what lies below its volumes, for volume_flows.py."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import time
from typing import Any, Callable

from cinderclient import client as cinder_client
from glanceclient import client as glance_client
from keystoneauth1 import loading
from keystoneauth1 import session as keystone_session

HSCLI = os.environ.get('HSCLI', 'hscli')
# A busy machine is no failure.
LONGEST_SECONDS = 400


class Cloud:
    """The credentials are those of the environment, as those of the openstack client."""

    def __init__(self) -> None:
        env = os.environ
        auth: Any = loading.get_plugin_loader('password').load_from_options(
            auth_url=env['OS_AUTH_URL'], username=env['OS_USERNAME'],
            password=env['OS_PASSWORD'], project_name=env['OS_PROJECT_NAME'],
            user_domain_name=env['OS_USER_DOMAIN_NAME'],
            project_domain_name=env['OS_PROJECT_DOMAIN_NAME'])
        session = keystone_session.Session(auth=auth)
        self.cinder = cinder_client.Client('3.66', session=session)
        self.glance = glance_client.Client('2', session=session)

    def volume(self, size: int = 1, **options: Any) -> Any:
        """A new volume that is ready."""
        options.setdefault('volume_type', 'hyperscale')
        made = self.cinder.volumes.create(size, **options)
        return self.when(self.cinder.volumes, made.id)

    def snapshot(self, volume: Any, **options: Any) -> Any:
        made = self.cinder.volume_snapshots.create(volume.id, **options)
        return self.when(self.cinder.volume_snapshots, made.id)

    def when(self, kind: Any, id: str, *states: str) -> Any:
        """Waits until something has one of some states; `available` when none is given."""
        wanted = states or ('available',)

        def look() -> Any:
            now = kind.get(id)
            if now.status not in wanted and now.status.startswith('error'):
                raise AssertionError(f'{id} is {now.status}: {self.why(id)}')
            return now if now.status in wanted else None

        return until(look, f'{id} is {wanted}')

    def why(self, id: str) -> str:
        told = [m.user_message for m in self.cinder.messages.list() if m.resource_uuid == id]
        return '; '.join(told) or 'no message'

    def delete(self, kind: Any, *things: Any) -> None:
        """Deletes, and waits until they are gone."""
        for thing in things:
            kind.delete(thing.id)
        for thing in things:
            until(functools.partial(gone, kind, thing.id), f'{thing.id} is gone')


def gone(kind: Any, id: str) -> bool:
    try:
        now = kind.get(id)
    except Exception as error:
        if getattr(error, 'code', None) == 404:
            return True
        raise
    if now.status.startswith('error') or now.status == 'available':
        raise AssertionError(f'{id} was not deleted: {now.status}')
    return False


def until(look: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f'not in {LONGEST_SECONDS} s: {what}')


def hscli(*args: str) -> dict[str, Any]:
    return json.loads(run(HSCLI, *args, '--json'))


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f'{" ".join(command)}: {done.stderr or done.stdout}')
    return done.stdout


def io(name: str, *commands: str) -> None:
    """Writes to, or checks, a volume: commands of qemu-io such as `write -P 7 0 1M`."""
    uri = hscli('volume', 'attach', name)['uri']
    try:
        said = run('qemu-io', '-f', 'raw', *(part for c in commands for part in ('-c', c)), uri)
        if 'Pattern verification failed' in said or 'failed' in said:
            raise AssertionError(f'{name}: {said}')
    finally:
        run(HSCLI, 'volume', 'detach', name)


def name_of(volume: Any) -> str:
    return f'volume-{volume.id}'


def write(volume: Any, pattern: int, offset: str = '0') -> None:
    io(name_of(volume), f'write -P {pattern} {offset} 1M', 'flush')


def check(volume: Any, pattern: int, offset: str = '0') -> None:
    io(name_of(volume), f'read -P {pattern} {offset} 1M')
