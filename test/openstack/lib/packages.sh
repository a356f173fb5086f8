# The Debian packages of everything.
# shellcheck shell=bash

# QEMU and libvirt are left as they are when new enough (docs/libvirt.md); nova-compute-kvm, not
# nova-compute-qemu: the latter wants all architectures' QEMU in Debian's own version.
PKGS="keystone glance-api placement-api nova-api nova-conductor nova-scheduler nova-compute
 nova-compute-kvm neutron-server cinder-api cinder-scheduler cinder-volume cinder-backup
 rabbitmq-server mariadb-server etcd-server python3-openstackclient python3-osc-placement
 libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils uwsgi uwsgi-plugin-python3
 python3-pymysql python3-tempest busybox-static linux-image-cloud-amd64 cpio sudo iproute2
 openssh-server openssh-client syslinux syslinux-common mtools dosfstools cryptsetup-bin genisoimage"

packages() {
  local missing="" p mine=0
  for p in $PKGS; do
    dpkg -s "$p" 2>/dev/null | grep -q '^Status: install ok installed' || missing+=" $p"
  done
  [ -n "$missing" ] || return 0
  # Maintainer scripts start no service.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    mine=1
  fi
  say "installs$missing"
  apt-get update >"$L/apt.log" 2>&1
  # shellcheck disable=SC2086
  apt-get install -y --no-install-recommends $missing >>"$L/apt.log" 2>&1
  [ $mine = 0 ] || rm -f /usr/sbin/policy-rc.d
}
