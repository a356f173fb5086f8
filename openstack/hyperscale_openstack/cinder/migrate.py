"""Other types, and other backends of the same cluster, for volumes that stay where they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from oslo_config import cfg
from oslo_log import log as logging

from hyperscale_openstack.cinder import stats
from hyperscale_openstack.cinder.backend import Backend
from hyperscale_openstack.cinder.errors import translated
from hyperscale_openstack.cinder.wishes import Wishes
from hyperscale_openstack.hscli import HscliError

LOG = logging.getLogger(__name__)


class Migration(Backend):
    """Changes that need no copy by Cinder: HyperScale makes and drops copies by itself."""

    def retype(self, context: Any, volume: Any, new_type: Any, diff: Mapping[str, Any],
               host: Mapping[str, Any]) -> bool:
        """Changes policy and limits, while the volume is used too.

        :returns: False when Cinder must copy: for another encryption, or another cluster
        """
        if encryption_changes(diff) or not self._same_cluster(host):
            return False
        wishes = self._wishes(new_type)
        with translated(volume=volume.id):
            self._become(volume.name, self._policy_there(wishes, host), wishes)
        return True

    def migrate_volume(self, context: Any, volume: Any,
                       host: Mapping[str, Any]) -> tuple[bool, Optional[dict[str, Any]]]:
        """To a pool or a backend of the same cluster: a change of policy at most."""
        if not self._same_cluster(host):
            return False, None
        wishes = self._wishes(volume.volume_type)
        policy = self._policy_there(wishes, host)
        with translated(volume=volume.id):
            if self._show(volume.name)['policy']['name'] != policy:
                self._become(volume.name, policy, wishes)
        return True, None

    def _become(self, name: str, policy: str, wishes: Wishes) -> None:
        self._hscli.ask('volume', 'retype', name, '--policy', policy)
        # Those of the policy first: limits of the old type must not stay.
        self._hscli.ask('volume', 'qos', name, '--policy', policy, *wishes.limits)

    def _same_cluster(self, host: Mapping[str, Any]) -> bool:
        there = (host.get('capabilities') or {}).get('location_info')
        try:
            here = stats.location_of(self._hscli.ask('cluster', 'status'))
        except HscliError as error:
            LOG.warning('%s cannot be asked which cluster it is: %s', self._backend_name, error)
            return False
        return here is not None and here == there

    def _policy_there(self, wishes: Wishes, host: Mapping[str, Any]) -> str:
        """The policy of a volume of a type on another pool or backend."""
        told = (host.get('capabilities') or {}).get('hyperscale_policy')
        if wishes.policy is None and isinstance(told, str):
            return self._known_policy(told)
        return self._policy_of(wishes, host.get('host'))

    def update_migrated_volume(self, ctxt: Any, volume: Any, new_volume: Any,
                               original_volume_status: str) -> dict[str, Any]:
        """Gives what Cinder has copied the name of the volume that it takes the place of."""
        wanted = cfg.CONF.volume_name_template % volume.id
        try:
            self._hscli.ask('volume', 'rename', new_volume.name, wanted)
        except HscliError as error:
            # Within one cluster the old one still has its name, until Cinder deletes it.
            LOG.info('%s keeps its name: %s', new_volume.name, error)
            return {'_name_id': new_volume.name_id,
                    'provider_location': new_volume.provider_location}
        return {'_name_id': None, 'provider_location': new_volume.provider_location}


def encryption_changes(diff: Mapping[str, Any]) -> bool:
    """`diff['encryption']` has pairs of old and new values."""
    return any(old != new for old, new in (diff.get('encryption') or {}).values())


