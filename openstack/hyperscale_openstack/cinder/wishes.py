"""What the type of a volume asks for, as options of hscli.

Extra specs have the prefix `hyperscale:`, QoS specs for the back end have none:

    hyperscale:policy        Gold, Silver, Bronze
    hyperscale:reflections   copies beyond the first; the policy that has so many
    max_iops, max_bandwidth, burst_iops, burst_bandwidth, burst_seconds
                             as the options of `hscli volume qos`; with the prefix also extra specs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from cinder import exception

PREFIX = 'hyperscale:'
LIMITS = {
    'max_iops': '--max-iops',
    'max_bandwidth': '--max-bandwidth',
    'burst_iops': '--burst-iops',
    'burst_bandwidth': '--burst-bandwidth',
    'burst_seconds': '--burst-seconds',
    'min_iops': '--min-iops',
}
PROPERTIES = ('policy', 'reflections', *LIMITS)


@dataclass(frozen=True)
class Wishes:
    """`policy` None: the type names none. `limits`: options of hscli."""

    policy: Optional[str] = None
    limits: tuple[str, ...] = ()


def wishes_of(extra_specs: Mapping[str, Any], qos: Mapping[str, Any],
              policies: Sequence[Mapping[str, Any]]) -> Wishes:
    """Reads a type; limits of the QoS specs come before those of the extra specs.

    :param policies: as `hscli policy list` knows them
    :raises InvalidVolumeType: for a key that means nothing here, or a policy that is not there
    """
    specs = {key[len(PREFIX):]: str(value).strip() for key, value in extra_specs.items()
             if key.startswith(PREFIX)}
    for key in specs:
        if key not in PROPERTIES:
            raise refused(f'"{PREFIX}{key}" is not known; there are {", ".join(PROPERTIES)}')
    for key in qos:
        if key not in LIMITS:
            raise refused(f'"{key}" of its QoS specs is not known; there are {", ".join(LIMITS)}')
    limits = {key: specs[key] for key in LIMITS if key in specs}
    limits.update({key: str(value).strip() for key, value in qos.items()})
    options = [part for key, value in sorted(limits.items()) for part in (LIMITS[key], value)]
    return Wishes(policy_in(specs, policies), tuple(options))


def policy_in(specs: Mapping[str, str],
              policies: Sequence[Mapping[str, Any]]) -> Optional[str]:
    name, reflections = specs.get('policy'), specs.get('reflections')
    found = [p for p in policies
             if (name is None or str(p['name']).lower() == name.lower())
             and (reflections is None or str(p['reflections']) == reflections)]
    if name is None and reflections is None:
        return None
    if not found:
        asked = ' and '.join(
            text for text in (name and f'policy "{name}"',
                              reflections and f'{reflections} reflections') if text)
        known = ', '.join(f'{p["name"]} ({p["reflections"]} reflections)' for p in policies)
        raise refused(f'there is no {asked}; there are {known}')
    return str(found[0]['name'])


def refused(reason: str) -> exception.InvalidVolumeType:
    return exception.InvalidVolumeType(reason=reason)
