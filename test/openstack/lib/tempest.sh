# Tempest, with its workspace in $BASE/tempest.
# shellcheck shell=bash

tempest_conf(){
  local img; img=$($BASE/os image show tiny -f value -c id)
  mkdir -p $BASE/tempest
  ( cd $BASE/tempest && [ -d .stestr ] || /usr/bin/tempest init . >/dev/null 2>&1 ) || :
  cat >$BASE/tempest/etc/tempest.conf <<X
[DEFAULT]
log_file = $L/tempest.log
[oslo_concurrency]
lock_path = $BASE/locks
[auth]
use_dynamic_credentials = true
create_isolated_networks = false
admin_username = admin
admin_password = $PW
admin_project_name = admin
admin_domain_name = Default
[identity]
auth_version = v3
uri_v3 = http://$CTL:5000/v3
region = RegionOne
[service_available]
neutron = false
swift = false
horizon = false
[compute]
image_ref = $img
image_ref_alt = $img
flavor_ref = 2
flavor_ref_alt = 3
min_compute_nodes = 2
max_microversion = 2.90
[compute-feature-enabled]
live_migration = true
volume_backed_live_migration = true
[validation]
run_validation = false
[volume]
max_microversion = 3.70
storage_protocol = hyperscale
vendor_name = HyperScale
catalog_type = volumev3
manage_volume_ref = source-name,volume-%s
manage_snapshot_ref = source-name,snapshot-%s
build_timeout = 120
[volume-feature-enabled]
backup = true
revert_to_snapshot = true
extend_attached_volume = true
manage_volume = true
manage_snapshot = true
[image]
disk_formats = raw
X
}
# Runs the tests whose names match; more arguments are those of `tempest run`.
tempest(){ tempest_conf
  inctl env -C "$BASE/tempest" /usr/bin/tempest run --serial --regex "$@"; }
# Asks a real Cinder for everything that the driver can do: all steps, or those that are named.
volume_flows(){ # shellcheck source=/dev/null
  . "$BASE/openrc"
  inctl env PYTHONDONTWRITEBYTECODE=1 HSCLI="$REPOSITORY/bin/hscli" /usr/bin/python3 \
    "$REPOSITORY/openstack/tests/real/volume_flows.py" "$@"; }
