# The control host (network and mount namespace) and the network to the compute hosts.
# shellcheck shell=bash

# The control host: a process that holds its mount namespace, with a /run of its own.
control_up() {
  alive "$R/control.pid" && return 0
  ip netns add "$PREFIX-ctl" 2>/dev/null || :
  ip netns exec "$PREFIX-ctl" setsid unshare --mount "$BASH" -c '
    mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/lock
    mount -t fusectl fusectl /sys/fs/fuse/connections
    exec sleep infinity' </dev/null >>"$L/control.out" 2>&1 &
  echo $! >"$R/control.pid"
  until_ok 10 inctl mountpoint -q /sys/fs/fuse/connections
}

# Runs a command on the control host.
inctl() { nsenter -t "$(cat "$R/control.pid")" -m -n -- "$@"; }

network_up() {
  local n
  control_up
  if ! inctl ip link show br0 >/dev/null 2>&1; then
    inctl ip link set lo up
    inctl ip link add br0 type bridge
    inctl ip addr add "$CTL/24" dev br0
    inctl ip link set br0 up
  fi
  for n in $NODES; do
    [ -e "/run/netns/$PREFIX-$n" ] && continue
    ip netns add "$PREFIX-$n"
    ip -n "$PREFIX-$n" link set lo up
    ip -n "$PREFIX-ctl" link add "v$n" type veth peer name eth0 netns "$PREFIX-$n"
    ip -n "$PREFIX-ctl" link set "v$n" master br0 up
    ip -n "$PREFIX-$n" addr add "$(node_ip "$n")/24" dev eth0
    ip -n "$PREFIX-$n" link set eth0 up
  done
}

# Starts a daemon on the control host, unless it runs.
svc() { # NAME COMMAND...
  local name=$1
  shift
  alive "$R/$name.pid" && return 0
  nsenter -t "$(cat "$R/control.pid")" -m -n -- setsid env PYTHONPATH="$P" PATH="$REPOSITORY/bin:$PATH" "$@" </dev/null >>"$L/$name.out" 2>&1 &
  echo $! >"$R/$name.pid"
}

wait_port() { # PORT [SECONDS]
  until_ok "${2:-120}" inctl bash -c "exec 3<>/dev/tcp/$CTL/$1" 2>/dev/null ||
    { echo "nothing listens at $CTL:$1; see $L" >&2; return 1; }
}

# Ends services of the control host by their pids and waits for them.
svc_stop() { # NAME...
  local n p
  for n in "$@"; do
    alive "$R/$n.pid" || continue
    p=$(cat "$R/$n.pid")
    kill "$p"
    until_ok 20 eval "! kill -0 $p 2>/dev/null" || kill -9 "$p" || :
    rm -f "$R/$n.pid"
  done
}
