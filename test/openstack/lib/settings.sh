# Where everything lies and how it is called. Every value can be set in the environment.
# shellcheck shell=bash

# All state: configuration, logs, databases, the hosts' disks. Removed by `stack wipe`.
BASE=${HS_STACK_DIR:-${TMPDIR:-/tmp}/hs-stack}
# The repository with the driver and the daemon under test.
REPOSITORY=${HS_STACK_REPOSITORY:-$(dirname -- "$(dirname -- "$(dirname -- "$SELF")")")}
HERE=$(dirname -- "$SELF")
# Compute hosts: c1, c2, ... Each has its own network, mount, pid and uts namespace.
NODES=${HS_STACK_NODES:-"c1 c2"}
# First part of the names of the network namespaces.
PREFIX=${HS_STACK_PREFIX:-hs-stack}
# Addresses. They exist in those namespaces only.
NET=${HS_STACK_NET:-10.77.0}
CTL=$NET.1
# Of every user, service and database here.
PW=stack

# A busy machine is no failure: waits end after so many times what an idle one may take.
PATIENCE=${HS_STACK_PATIENCE:-4}

E=$BASE/etc R=$BASE/run L=$BASE/log
# Out-of-tree Python of the services: ours, and the trivial driver to compare with.
P=$REPOSITORY/openstack:$REPOSITORY/openstack/trivial_driver
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

node_ip() { echo "$NET.1${1#c}"; } # c1 -> .11
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
say() { echo "[$(date +%T)] $*"; }

# Until COMMAND succeeds, at most SECONDS, which are those of an idle machine.
until_ok() { # SECONDS COMMAND...
  local end=$((SECONDS + $1 * PATIENCE))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.5
  done
}
