"""Images of Glance in HyperScale: imported once, cloned at once for each volume."""

from __future__ import annotations

from collections.abc import Mapping
import os
import time
from typing import Any

from cinder import coordination
from cinder import exception
from cinder.image import image_utils
from cinder.volume import volume_utils
from oslo_config import cfg
from oslo_log import log as logging

from hyperscale_openstack.cinder.backend import Backend
from hyperscale_openstack.cinder.errors import cinder_error, translated
from hyperscale_openstack.hscli import HscliError

LOG = logging.getLogger(__name__)

# Glance's formats that hscli takes, and what it calls them.
FORMATS = {'raw': 'raw', 'iso': 'raw', 'qcow2': 'qcow2', 'vmdk': 'vmdk', 'vhd': 'vhd',
           'vhdx': 'vhdx'}
# Then Cinder copies the image into the volume, as without a cache.
WITHOUT_CACHE = ('not-supported', 'no-space', 'not-enough-nodes', 'unavailable', 'not-allowed')
LOOK_SECONDS = 1
LONGEST_IMPORT_SECONDS = 3600


class Images(Backend):
    """Volumes of images, and images of volumes."""

    def clone_image(self, context: Any, volume: Any, image_location: Any,
                    image_meta: Mapping[str, Any],
                    image_service: Any) -> tuple[dict[str, Any], bool]:
        """Makes a volume of an image at once, whatever its size, when it is in the cache.

        :returns: no changes of the volume's record, and whether the volume was made
        :raises ImageUnacceptable: for one that HyperScale refuses, or that is too large
        """
        if not self._setting('hyperscale_image_cache') or not can_be_cached(image_meta):
            return {}, False
        try:
            if self._made_of_cache(volume, image_meta['id']):
                return {}, True
            self._import_image(image_meta['id'], context, image_meta, image_service)
        except HscliError as error:
            if error.code not in WITHOUT_CACHE:
                raise refused(image_meta, error) from error
            LOG.warning('Image %s is not cached: %s', image_meta['id'], error)
            return {}, False
        try:
            made = self._made_of_cache(volume, image_meta['id'])
        except HscliError as error:
            raise refused(image_meta, error) from error
        self._keep_cache_small(image_meta['id'])
        return {}, made

    def _made_of_cache(self, volume: Any, image_id: str) -> bool:
        """One command when the image is there: that is all that most volumes cost.

        :returns: False when it is not, or not yet
        :raises HscliError: as `volume create`
        """
        try:
            self._make(volume, 'volume', 'create', volume.name, '--image', name_in_cache(image_id))
        except HscliError as error:
            if error.code not in ('not-found', 'conflict'):
                raise
            return False
        return True

    @coordination.synchronized('hyperscale-image-{image_id}')
    def _import_image(self, image_id: str, context: Any, image_meta: Mapping[str, Any],
                      image_service: Any) -> None:
        """Returns when the image is in the cache. :raises HscliError: when it cannot be imported"""
        name = name_in_cache(image_id)
        if self._image(name) is None:
            with image_utils.TemporaryImages.fetch(image_service, context, image_id) as path:
                try:
                    self._hscli.ask_long(
                        'image', 'import', path, '--name', name,
                        '--format', FORMATS[image_meta['disk_format']],
                        '--policy', self._known_policy(self._setting('hyperscale_policy')))
                    return
                except HscliError as error:
                    if error.code != 'exists':
                        raise
        # Another service is at it, which has no lock in common with this one.
        self._until_ready(name)

    def _keep_cache_small(self, newest: str) -> None:
        """After it has grown. Which images go is hscli's to say; volumes of them stay as they are."""
        count = self._setting('hyperscale_image_cache_max_count')
        gib = self._setting('hyperscale_image_cache_max_gb')
        bounds = [*(['--max-count', str(count)] if count else []),
                  *(['--max-size', f'{gib}G'] if gib else [])]
        if not bounds:
            return
        try:
            pruned = self._hscli.ask('image', 'prune', '--name', name_in_cache('*'), *bounds,
                                     '--keep', name_in_cache(newest), '--yes')
        except HscliError as error:
            LOG.warning('The cache of images may be larger than it should be: %s', error)
            return
        for image in pruned.get('images', []):
            LOG.info('Image %s was not used for long and left the cache.', image['name'])

    def _until_ready(self, name: str) -> None:
        end = time.monotonic() + LONGEST_IMPORT_SECONDS
        while time.monotonic() < end:
            image = self._image(name)
            if image is None:
                raise HscliError('unavailable', f'the import of image {name} was given up')
            if image['state'] == 'ready':
                return
            time.sleep(LOOK_SECONDS)
        raise HscliError('unavailable', f'image {name} is still being imported')

    def _image(self, name: str) -> Any:
        try:
            return self._hscli.ask('image', 'show', name)
        except HscliError as error:
            if error.code == 'not-found':
                return None
            raise

    def copy_volume_to_image(self, context: Any, volume: Any, image_service: Any,
                             image_meta: Mapping[str, Any]) -> None:
        """Uploads what a volume holds at one moment, also while it is used elsewhere.

        It is not attached for it: an attachment is of a host, and a server of the same host may
        have one, which must not end with the copy.
        """
        with image_utils.temporary_dir() as directory:
            path = os.path.join(directory, 'volume.raw')
            with translated(volume=volume.id):
                self._hscli.ask_long('volume', 'export', volume.name, '--to', path)
            volume_utils.upload_volume(context, image_service, image_meta, path, volume,
                                       compress=True)


def can_be_cached(image_meta: Mapping[str, Any]) -> bool:
    """False for what Cinder must look at itself, and for formats that hscli does not take."""
    properties = image_meta.get('properties') or {}
    signed = any(key.startswith('img_signature') for key in properties)
    checked = cfg.CONF.verify_glance_signatures != 'disabled'
    return (image_meta.get('container_format') == 'bare'
            and image_meta.get('disk_format') in FORMATS
            and not (signed and checked)
            and 'cinder_encryption_key_id' not in properties)


def name_in_cache(image_id: str) -> str:
    return f'glance-{image_id}'


def refused(image_meta: Mapping[str, Any], error: HscliError) -> exception.CinderException:
    if error.code == 'bad-input':
        return exception.ImageUnacceptable(image_id=image_meta['id'], reason=str(error))
    return cinder_error(error)
