# etcd, and hyperscaled on every host. Uses etcd and the daemon's usual paths on each of them.
# shellcheck shell=bash

# The daemon's configuration on a host.
hyperscale_conf() { # HOST ADDRESS DIRECTORY
  mkdir -p "$3/pool" "$3/log" "$3/dev"
  cat >"$3/hyperscaled.yaml" <<Y
node: $1
address: $2
pool: $3/pool
logDirectory: $3/log
# /dev belongs to the machine, that is to all hosts of the testbed at once.
deviceDirectory: $3/dev
secretFile: $BASE/etc/hyperscale.secret
etcd: [ 'http://$CTL:2379' ]
# A host that is cut off is given up soon, and comes back soon.
repairDelaySeconds: 60
bootIdFile: $3/boot_id
libvirt:
  uri: qemu:///system
  migrationUri: 'qemu+tcp://{address}/system'
Y
  [ -s "$BASE/etc/hyperscale.secret" ] ||
    (umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$BASE/etc/hyperscale.secret")
}

etcd_up() {
  svc etcd etcd --name stack --data-dir "$BASE/etcd" \
    --listen-client-urls "http://$CTL:2379" --advertise-client-urls "http://$CTL:2379" \
    --listen-peer-urls "http://$CTL:2380" --initial-advertise-peer-urls "http://$CTL:2380" \
    --initial-cluster "stack=http://$CTL:2380"
  wait_port 2379 30
}

# Makes the pool the first time. To be run on the host itself.
hyperscale_init() { # DIRECTORY
  cat /proc/sys/kernel/random/uuid >"$1/boot_id"
  [ -e "$1/pool/hyperscale-pool.json" ] ||
    "$REPOSITORY/bin/hyperscaled" init-pool --config "$1/hyperscaled.yaml"
}

# The daemon of the control host: cinder-volume and cinder-backup attach volumes there.
hyperscale_up() {
  alive "$R/hyperscaled.pid" && return 0
  inctl "$SELF" hyperscale_init "$BASE/hyperscale"
  svc hyperscaled "$REPOSITORY/bin/hyperscaled" --config "$BASE/hyperscale/hyperscaled.yaml"
  until_ok 60 inctl "$REPOSITORY/bin/hscli" cluster status >/dev/null 2>&1
}
