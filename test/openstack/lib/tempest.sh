# Tempest, with its workspace in $BASE/tempest.
# shellcheck shell=bash

# What `stack tempest` runs: everything that deals with volumes. ../tempest-excluded.txt has what cannot
# be run here, and why.
TEMPEST_TESTS='^tempest\.api\.volume\.|^tempest\.api\.compute\..*([vV]olume|test_live_migration)|^tempest\.scenario\.'

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
build_timeout = 900
min_compute_nodes = 2
max_microversion = 2.90
[compute-feature-enabled]
resize = true
live_migration = true
volume_backed_live_migration = true
block_migration_for_live_migration = true
block_migrate_cinder_iscsi = true
# Nova puts a network interface back, which servers here have none of.
interface_attach = false
[validation]
run_validation = false
[volume]
max_microversion = 3.70
storage_protocol = hyperscale
vendor_name = HyperScale
catalog_type = volumev3
manage_volume_ref = source-name,volume-%s
manage_snapshot_ref = source-name,snapshot-%s
build_timeout = 600
backend_names = hyperscale,trivial
[volume-feature-enabled]
multi_backend = true
backup = true
revert_to_snapshot = true
extend_attached_volume = true
manage_volume = true
manage_snapshot = true
[image]
disk_formats = raw
X
}
# Every line that Tempest prints about a test is kept, so that a run that was cut off counts too.
tempest_log() { tee -a "$BASE/tempest/results.log"; }

# Runs the tests whose names match, or all of TEMPEST_TESTS; more arguments are those of `tempest run`.
# Then prints how many of all that were run so far have passed.
tempest() { # [REGEX [ARGS]]
  local regex=${1:-$TEMPEST_TESTS} status=0
  shift || :
  tempest_conf
  inctl env -C "$BASE/tempest" PYTHONWARNINGS=ignore /usr/bin/tempest run --concurrency 1 --regex "$regex" \
    --exclude-list "$HERE/tempest-excluded.txt" "$@" 2>&1 | tempest_log || status=$?
  tempest_rate || status=1
  return $status
}

# Runs those of TEMPEST_TESTS that have neither passed nor been skipped yet.
tempest_rest() {
  local rest=$BASE/tempest/rest
  tempest_conf
  inctl env -C "$BASE/tempest" PYTHONWARNINGS=ignore /usr/bin/tempest run --list-tests --regex "$TEMPEST_TESTS" \
    --exclude-list "$HERE/tempest-excluded.txt" | grep '^tempest\.' | sed 's/\[.*//' | sort >"$rest.all"
  tempest_states | awk '$1 != "FAILED" { print $2 }' | sort >"$rest.done"
  comm -23 "$rest.all" "$rest.done" >"$rest"
  # A skipped class is told of as a whole.
  awk 'NR == FNR { if (/^setUpClass/) skipped[$2] = 1; next }
    { class = $0; sub(/\.[^.]*$/, "", class); if (!(class in skipped)) print }' \
    <(tempest_states class) "$rest" | sed 's/\./\\./g; s/^/^/; s/$/\\[/' >"$rest.list"
  say "$(wc -l <"$rest.list") tests of Tempest are to be run"
  [ ! -s "$rest.list" ] || tempest . --include-list "$rest.list"
}
# Asks a real Cinder for everything that the driver can do: all steps, or those that are named.
volume_flows(){ # shellcheck source=/dev/null
  . "$BASE/openrc"
  inctl env PYTHONDONTWRITEBYTECODE=1 HSCLI="$REPOSITORY/bin/hscli" /usr/bin/python3 \
    "$REPOSITORY/openstack/tests/real/volume_flows.py" "$@"; }

# The last word on each test, "STATE NAME [REASON]", or on each skipped class.
tempest_states() { # [class]
  [ -s "$BASE/tempest/results.log" ] || return 0
  awk -v classes="${1:-}" '
    match($0, / \.\.\. (ok|FAILED|SKIPPED.*)$/) && /^\{[0-9]+\} / {
      state = substr($0, RSTART + 5)
      reason = state
      sub(/:.*/, "", state)
      if (!sub(/^SKIPPED: /, "", reason)) reason = ""
      name = $2
      if (name ~ /^(setUp|tearDown)Class/) { name = $2 " " $3; gsub(/[()]/, "", name) }
      else {
        # A test that was run again: its class can be set up now.
        class = name
        sub(/\.[^.]*$/, "", class)
        delete last["setUpClass " class]
      }
      last[name] = state
      why[name] = reason
    }
    END {
      for (name in last) {
        of_class = name ~ /^(setUp|tearDown)Class/
        if (classes == "" && !of_class) print last[name], name, why[name]
        if (classes == "" && of_class && last[name] != "ok") print last[name], name, why[name]
        if (classes != "" && of_class && last[name] == "SKIPPED") print name
      }
    }' "$BASE/tempest/results.log"
}

# How many of the tests run so far passed; which were skipped or failed, and why.
tempest_rate() {
  tempest_states | sort | awk '
    { count[$1]++ }
    $1 != "ok" { print }
    END {
      ran = count["ok"] + count["FAILED"]
      printf "Tempest: %d of %d passed (%.1f %%), %d skipped\n", count["ok"], ran,
        ran ? 100 * count["ok"] / ran : 0, count["SKIPPED"]
      exit count["FAILED"] > 0 || ran == 0
    }'
}

# The same for tools/count-tests.ts.
tempest_report() {
  tempest_states | awk '
    { count[$1]++ }
    $1 == "FAILED" {
      failed = failed (failed == "" ? "" : ",") \
        "{\"status\":\"failed\",\"fullName\":\"" $2 " " $3 "\",\"failureMessages\":[]}"
    }
    END {
      printf "{\"numPassedTests\":%d,\"numFailedTests\":%d,\"numPendingTests\":%d,", count["ok"],
        count["FAILED"], count["SKIPPED"]
      printf "\"numTodoTests\":0,\"testResults\":[{\"name\":\"tempest\",\"message\":\"\","
      printf "\"assertionResults\":[%s]}]}\n", failed
    }'
}
