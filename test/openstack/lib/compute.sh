# Compute hosts: own net, uts, pid and mount namespace. Pid 1 of each is `stack node-init`, so that
# killing it ends libvirtd, nova-compute, hyperscaled and all guests at once, as a power cut does.
# shellcheck shell=bash

node_up() { # HOST
  local n=$1 D=$BASE/nodes/$1
  alive "$R/node-$n.pid" && return 0
  ip netns exec "$PREFIX-$n" setsid unshare --mount --uts --pid --fork --kill-child \
    "$BASH" "$SELF" node-init "$n" </dev/null >>"$D/log/init.out" 2>&1 &
  echo $! >"$R/node-$n.pid"
}

# Pid 1 of a compute host.
node_init() { # HOST
  local n=$1 D=$BASE/nodes/$1 d
  hostname "$n"
  mount --make-rprivate /
  mount -t proc proc /proc
  mount -t fusectl fusectl /sys/fs/fuse/connections
  mount -t tmpfs tmpfs /run
  mkdir -p /run/lock /run/sshd /run/stack
  mount --bind "$D/etc/libvirt" /etc/libvirt
  mount --bind "$D/etc/hosts" /etc/hosts
  mount --bind "$D/etc/hostname" /etc/hostname
  mount --bind "$D/nova" /var/lib/nova
  mkdir -p /var/lib/nova/instances
  mount --bind "$D/etc/ssh" /etc/ssh
  for d in lib cache log; do mount --bind "$D/var/$d/libvirt" "/var/$d/libvirt"; done
  # TCG only: KVM within a virtual machine may hang.
  : >"$D/etc/nokvm"
  [ ! -e /dev/kvm ] || mount --bind "$D/etc/nokvm" /dev/kvm
  /usr/sbin/sshd # Nova's cold migration copies by it
  hyperscale_init "$D/hyperscale"
  for d in libvirtd hyperscaled nova-compute; do node_svc $d; done
  trap 'exit 0' TERM
  while :; do
    sleep 1 &
    wait $! || :
  done # bash reaps what is left to pid 1
}

# (Re)starts one service, inside the host.
node_svc() { # libvirtd|hyperscaled|nova-compute
  local D pid=/run/stack/$1.pid
  D=$BASE/nodes/$(hostname)
  export PATH=$REPOSITORY/bin:$PATH HYPERSCALE_DEVICES=$D/hyperscale/dev
  if [ -s "$pid" ] && kill "$(cat "$pid")" 2>/dev/null; then
    until_ok 30 eval "! kill -0 $(cat "$pid") 2>/dev/null"
  fi
  case $1 in
    libvirtd) set -- libvirtd --listen ;;
    hyperscaled) set -- hyperscaled --config "$D/hyperscale/hyperscaled.yaml" ;;
    nova-compute)
      # The launcher that pyproject.toml installs as hyperscale-nova-compute (docs/openstack.md), and the
      # trivial driver's own before it.
      set -- /usr/bin/python3 -m trivial_compute --config-file "$D/etc/nova.conf" \
        --log-file "$D/log/nova-compute.log"
      until_ok 60 hscli cluster status >/dev/null 2>&1 ;;
  esac
  PYTHONPATH=$P setsid "$@" </dev/null >>"$D/log/$(basename "$pid" .pid).out" 2>&1 &
  echo $! >"$pid"
  [ "$1" != libvirtd ] || until_ok 30 virsh -c qemu:///system uri >/dev/null 2>&1
}

# The pid, as this machine sees it, of pid 1 of a host.
node_pid1() {
  local p
  p=$(cat "$R/node-$1.pid")
  awk '{ print $1 }' "/proc/$p/task/$p/children"
}

# Runs a command on a compute host.
node_exec() { # HOST COMMAND...
  local n=$1
  shift
  nsenter -t "$(node_pid1 "$n")" -m -u -n -p -- env PATH="$REPOSITORY/bin:$PATH" "$@"
}

# Loop devices of a host: unlike those of a real one they outlive it. The names of the files below them
# are random, so that a file which is there on that host is its own.
loops_of() { # inctl | node_exec HOST
  losetup -n -O NAME,BACK-FILE | while read -r device file; do
    case $file in
      /run/hyperscale/disks/*) "$@" test -e "$file" && echo "$device" || : ;;
    esac
  done
}

# Those of the trivial driver.
trivial_loops() { # HOST
  node_exec "$1" sh -c "readlink /run/trivial-loop-$1/* 2>/dev/null || :"
}

# Power cut.
node_kill() { # HOST
  local d loops
  if alive "$R/node-$1.pid"; then
    loops="$(loops_of node_exec "$1") $(trivial_loops "$1")"
    kill -9 "$(node_pid1 "$1")"
    until_ok 10 eval "! kill -0 $(cat "$R/node-$1.pid") 2>/dev/null"
    for d in $loops; do losetup -d "$d" || :; done
  fi
  rm -f "$R/node-$1.pid"
}
