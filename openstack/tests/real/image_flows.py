"""Volumes of images, and images of volumes."""

from __future__ import annotations

import os
import tempfile
import time

from cinderclient.exceptions import BadRequest
from cloud import check, run, until
from steps import cloud, delete_images, glance, step, volumes

@step
def images() -> None:
    """volumes of raw and qcow2 images, the second at once; a volume as an image"""
    with tempfile.TemporaryDirectory() as directory:
        raw = os.path.join(directory, 'raw')
        run('qemu-img', 'create', '-q', '-f', 'raw', raw, '64M')
        run('qemu-io', '-f', 'raw', '-c', 'write -P 5 1M 1M', raw)
        qcow2 = os.path.join(directory, 'qcow2')
        run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2)
        made = []
        for form, path in (('raw', raw), ('qcow2', qcow2)):
            image = glance.images.create(name=f'flow-{form}', disk_format=form,
                                         container_format='bare')
            with open(path, 'rb') as file:
                glance.images.upload(image.id, file)
            made.append(image)
            seconds = []
            for _ in range(2):
                began = time.monotonic()
                volume = cloud.volume(imageRef=image.id)
                seconds.append(f'{time.monotonic() - began:.1f} s')
                check(volume, 5, '1M')
                cloud.delete(volumes, volume)
            print(f'    {form}: first {seconds[0]}, second {seconds[1]} until it is available')
        volume = cloud.volume(imageRef=made[0].id)
        for form in ('raw', 'qcow2'):
            told = volumes.upload_to_image(volume, False, f'up-{form}', 'bare', form,
                                           'private', False)
            image_id = told[1]['os-volume_upload_image']['image_id']
            until(lambda: glance.images.get(image_id).status == 'active', 'the image is uploaded')
            cloud.when(volumes, volume.id)
            path = os.path.join(directory, f'up-{form}')
            with open(path, 'wb') as file:
                for piece in glance.images.data(image_id):
                    file.write(piece)
            said = run('qemu-io', '-f', form, '-c', 'read -P 5 1M 1M', '-c', 'length', path)
            assert 'verification failed' not in said and '1 GiB' in said, said
            made.append(glance.images.get(image_id))
        cloud.delete(volumes, volume)
        delete_images(*made)


@step
def image_copied_by_cinder() -> None:
    """an image that the driver does not cache: Cinder writes it, through the connector"""
    with tempfile.TemporaryDirectory() as directory:
        raw = os.path.join(directory, 'raw')
        run('qemu-img', 'create', '-q', '-f', 'raw', raw, '16M')
        run('qemu-io', '-f', 'raw', '-c', 'write -P 6 1M 1M', raw)
        image = glance.images.create(name='flow-ovf', disk_format='raw', container_format='ovf')
        with open(raw, 'rb') as file:
            glance.images.upload(image.id, file)
    volume = cloud.volume(imageRef=image.id)
    check(volume, 6, '1M')
    cloud.delete(volumes, volume)
    delete_images(image)


@step
def images_refused() -> None:
    """an image that names another file, and one that is larger than the volume"""
    with tempfile.TemporaryDirectory() as directory:
        backed = os.path.join(directory, 'backed')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/passwd', '-F', 'raw',
            backed, '1M')
        large = os.path.join(directory, 'large')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', large, '2G')
        for path in (backed, large):
            image = glance.images.create(name='flow-refused', disk_format='qcow2',
                                         container_format='bare')
            with open(path, 'rb') as file:
                glance.images.upload(image.id, file)
            try:
                volume = volumes.create(1, imageRef=image.id, volume_type='hyperscale')
            except BadRequest:  # Glance has told Cinder how large it is
                assert path == large
            else:
                cloud.when(volumes, volume.id, 'error')
                cloud.delete(volumes, volume)
            delete_images(image)
