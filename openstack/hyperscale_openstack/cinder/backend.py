"""What all parts of the driver need: the way to hscli, and what a volume's type asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from cinder import context as cinder_context
from cinder import exception
from cinder import utils
from cinder.volume import driver
from cinder.volume import qos_specs
from cinder.volume import volume_utils
from os_brick.privileged import rootwrap

from hyperscale_openstack.cinder import options
from hyperscale_openstack.cinder.errors import translated
from hyperscale_openstack.cinder.wishes import Wishes, wishes_of
from hyperscale_openstack.hscli import Hscli, HscliError

options.register()


class Backend(driver.VolumeDriver):
    """A section of cinder.conf: the settings, hscli, the policies of the cluster."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(options.OPTIONS)
        self._policies: Sequence[Mapping[str, Any]] = ()
        self._hscli = Hscli(
            rootwrap.execute,
            program=self._setting('hyperscale_hscli'),
            socket=self._setting('hyperscale_socket'),
            timeout=self._setting('hyperscale_timeout'),
            run_as_root=True,
            root_helper=utils.get_root_helper(),
        )

    def _setting(self, name: str) -> Any:
        return self.configuration.safe_get(name)

    @property
    def _backend_name(self) -> str:
        return self._setting('volume_backend_name') or 'hyperscale'

    @property
    def _pools(self) -> list[str]:
        return [self._known_policy(name) for name in self._setting('hyperscale_pools') or []]

    def _load_policies(self) -> None:
        """:raises VolumeBackendAPIException: nobody answers, or a setting names none of them"""
        with translated():
            self._policies = self._hscli.ask('policy', 'list')['policies']
        self._known_policy(self._setting('hyperscale_policy'))
        _ = self._pools

    def _known_policy(self, name: str) -> str:
        for policy in self._policies:
            if str(policy['name']).lower() == name.lower():
                return str(policy['name'])
        known = ', '.join(str(p['name']) for p in self._policies)
        raise exception.VolumeBackendAPIException(
            data=f'{self._backend_name}: there is no policy "{name}"; there are {known}')

    def _wishes(self, volume_type: Any) -> Wishes:
        """What a type asks for; None asks for nothing."""
        if volume_type is None:
            return Wishes()
        qos: Mapping[str, Any] = {}
        if volume_type.qos_specs_id is not None:
            specs = qos_specs.get_qos_specs(
                cinder_context.get_admin_context(), volume_type.qos_specs_id)
            if specs['consumer'] in ('back-end', 'both'):
                qos = specs['specs'] or {}
        return wishes_of(volume_type.extra_specs or {}, qos, self._policies)

    def _policy_of(self, wishes: Wishes, host: Optional[str]) -> str:
        """The policy that a type names, else that of the pool, else that of the backend."""
        if wishes.policy is not None:
            return wishes.policy
        pool = volume_utils.extract_host(host, level='pool') if host else None
        if pool in self._pools:
            return str(pool)
        return self._known_policy(self._setting('hyperscale_policy'))

    def _options_of(self, volume: Any) -> list[str]:
        """Options of hscli for a new volume."""
        wishes = self._wishes(volume.volume_type)
        policy = self._policy_of(wishes, volume.host)
        return ['--size', f'{volume.size}G', '--policy', policy, *wishes.limits]

    def _show(self, volume: str) -> dict[str, Any]:
        """:raises HscliError: `not-found` and others"""
        return self._hscli.ask('volume', 'show', volume)

    def _found(self, volume: str) -> Optional[dict[str, Any]]:
        try:
            return self._show(volume)
        except HscliError as error:
            if error.code == 'not-found':
                return None
            raise

    def _make(self, volume: Any, *command: str) -> None:
        """Runs what makes a volume of that name; what an earlier try has made is taken.

        :raises HscliError: `exists` when there is something else of that name
        """
        try:
            self._hscli.ask(*command, *self._options_of(volume))
        except HscliError as error:
            if error.code != 'exists':
                raise
            there = self._show(volume.name)
            if not fresh(there, volume.size):
                raise

    def _delete(self, name: str) -> None:
        """Deletes a volume of HyperScale; one that is not there is deleted already."""
        try:
            self._hscli.ask('volume', 'delete', name, '--yes')
        except HscliError as error:
            if error.code != 'not-found':
                raise


def fresh(volume: Mapping[str, Any], size: int) -> bool:
    """True for a volume that was made in that size, and never attached or written since."""
    own = int(volume['layers']) - int(volume['sharedLayers'])
    unused = own == 0 and not volume['attachments'] and not volume['snapshots']
    return bool(unused and volume['role'] == 'volume' and volume['sizeBytes'] == size * 1024 ** 3)
