"""What the scheduler is told of a backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

GIB = 1024 ** 3
LOCATION_PREFIX = 'hyperscale:'


@dataclass(frozen=True)
class Settings:
    """Of the backend section in cinder.conf. `over_subscription` and `reserved` as Cinder's."""

    backend_name: str
    version: str
    policy: str
    pools: Sequence[str]
    over_subscription: Any
    reserved: int
    filter_function: Optional[str]
    goodness_function: Optional[str]


def stats_of(cluster: Optional[Mapping[str, Any]], policies: Sequence[Mapping[str, Any]],
             settings: Settings) -> dict[str, Any]:
    """Statistics of a backend.

    Capacities are in GiB of volumes: a volume of a policy with two copies takes twice its data, so
    half of what the pools of all nodes have is told, and so is half of what is provisioned.

    :param cluster: as `hscli cluster status` answers; None when nobody answers
    """
    copies = {str(p['name']): int(p['copies']) for p in policies}
    pools = [(name, name) for name in settings.pools] or [
        (settings.backend_name, settings.policy)]
    return {
        'volume_backend_name': settings.backend_name,
        'vendor_name': 'HyperScale',
        'driver_version': settings.version,
        'storage_protocol': 'hyperscale',
        'location_info': location_of(cluster),
        'sparse_copy_volume': True,
        'replication_enabled': False,
        'backend_state': 'up' if usable(cluster) else 'down',
        'pools': [pool_stats(cluster, name, policy, copies.get(policy, 1), settings)
                  for name, policy in pools],
    }


def pool_stats(cluster: Optional[Mapping[str, Any]], name: str, policy: str, copies: int,
               settings: Settings) -> dict[str, Any]:
    known = cluster or {}

    def gib(field: str) -> float:
        return round(int(known.get(field) or 0) / copies / GIB, 2)

    volumes = known.get('volumes') or {}
    return {
        'pool_name': name,
        'total_capacity_gb': gib('totalBytes'),
        'free_capacity_gb': gib('freeBytes'),
        'provisioned_capacity_gb': gib('provisionedBytes'),
        'total_volumes': int(volumes.get('total') or 0),
        'reserved_percentage': settings.reserved,
        'max_over_subscription_ratio': settings.over_subscription,
        'thin_provisioning_support': True,
        'thick_provisioning_support': False,
        'multiattach': True,
        'QoS_support': True,
        'online_extend_support': True,
        'clone_across_pools': True,
        'consistent_group_snapshot_enabled': True,
        'location_info': location_of(cluster),
        'hyperscale_policy': policy,
        'hyperscale_copies': copies,
        'filter_function': settings.filter_function,
        'goodness_function': settings.goodness_function,
    }


def location_of(cluster: Optional[Mapping[str, Any]]) -> Optional[str]:
    """Equal for two backends when their volumes are in one cluster."""
    identity = (cluster or {}).get('id')
    return f'{LOCATION_PREFIX}{identity}' if identity else None


def usable(cluster: Optional[Mapping[str, Any]]) -> bool:
    return cluster is not None and bool(cluster.get('storeConnected'))
