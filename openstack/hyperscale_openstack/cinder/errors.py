"""Errors of hscli as those of Cinder, which the manager and the API act on."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from typing import Optional

from cinder import exception

from hyperscale_openstack.hscli import HscliError

# Something else uses, or keeps, what was to go. Cinder then makes it available again.
BUSY = ('in-use', 'not-allowed')
WRONG_INPUT = ('bad-input',)


@contextlib.contextmanager
def translated(volume: Optional[str] = None, snapshot: Optional[str] = None) -> Iterator[None]:
    """Raises as Cinder's what goes wrong with a volume, or with a snapshot of it.

    :raises VolumeIsBusy, SnapshotIsBusy: when something uses it
    :raises VolumeNotFound, SnapshotNotFound: when it is not there
    :raises InvalidInput: for a value that cannot be
    :raises VolumeBackendAPIException: for all else
    """
    try:
        yield
    except HscliError as error:
        raise cinder_error(error, volume, snapshot) from error


def cinder_error(error: HscliError, volume: Optional[str] = None,
                 snapshot: Optional[str] = None) -> exception.CinderException:
    text = f'{error.code}: {error}'
    if error.code in WRONG_INPUT:
        return exception.InvalidInput(reason=str(error))
    if snapshot is not None:
        if error.code in BUSY:
            return exception.SnapshotIsBusy(snapshot_name=f'{snapshot}: {error}')
        if error.code == 'not-found':
            return exception.SnapshotNotFound(snapshot_id=snapshot)
    elif volume is not None:
        if error.code == 'in-use':
            return exception.VolumeIsBusy(volume_name=f'{volume}: {error}')
        if error.code == 'not-found':
            return exception.VolumeNotFound(volume_id=volume)
    return exception.VolumeBackendAPIException(data=text)
