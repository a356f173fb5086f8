# The configuration files of all services, written anew at each start.
# shellcheck shell=bash

authtoken(){ cat <<X
[keystone_authtoken]
www_authenticate_uri = http://$CTL:5000
auth_url = http://$CTL:5000
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = $1
password = $PW
region_name = RegionOne
service_token_roles = service
service_token_roles_required = true
X
}
client(){ cat <<X     # client SECTION USER
[$1]
auth_url = http://$CTL:5000
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = $2
password = $PW
region_name = RegionOne
X
}
db(){ echo "mysql+pymysql://root:$PW@$CTL/$1?charset=utf8"; }
MQ=rabbit://guest:guest@$CTL:5672/

config(){
  mkdir -p $E $R $L $BASE/{volumes,glance,locks,nodes,backups,hyperscale}
  for s in keystone glance nova placement neutron cinder; do mkdir -p $E/$s $BASE/state/$s; done
  cat >$E/keystone/keystone.conf <<X
[DEFAULT]
log_file = $L/keystone.log
[database]
connection = $(db keystone)
[token]
provider = fernet
[fernet_tokens]
key_repository = $E/keystone/fernet
[credential]
key_repository = $E/keystone/credential
# Every command of the client authenticates anew: make that cheap. (There is one process of Keystone.)
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
X
  cat >$E/glance/glance-api.conf <<X
[DEFAULT]
bind_host = $CTL
workers = 0
log_file = $L/glance.log
node_staging_uri = file://$BASE/state/glance/staging
enabled_backends = file:file
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = $BASE/glance
[os_glance_staging_store]
filesystem_store_datadir = $BASE/state/glance/staging
[os_glance_tasks_store]
filesystem_store_datadir = $BASE/state/glance/tasks
[database]
connection = $(db glance)
[paste_deploy]
flavor = keystone
config_file = /etc/glance/glance-api-paste.ini
[oslo_concurrency]
lock_path = $BASE/locks
$(authtoken glance)
X
  mkdir -p $BASE/state/glance/{staging,tasks}
  cat >$E/placement/placement.conf <<X
[DEFAULT]
log_file = $L/placement.log
[api]
auth_strategy = keystone
[placement_database]
connection = $(db placement)
$(authtoken placement)
X
  cat >$E/neutron/neutron.conf <<X
[DEFAULT]
bind_host = $CTL
core_plugin = ml2
service_plugins =
api_workers = 1
rpc_workers = 0
state_path = $BASE/state/neutron
transport_url = $MQ
log_file = $L/neutron.log
api_paste_config = /etc/neutron/api-paste.ini
auth_strategy = keystone
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
[ml2]
type_drivers = local,flat
tenant_network_types = local
mechanism_drivers =
[database]
connection = $(db neutron)
[oslo_concurrency]
lock_path = $BASE/locks
$(authtoken neutron)
X
  cat >$E/cinder/cinder.conf <<X
[DEFAULT]
my_ip = $CTL
host = ctl
osapi_volume_listen = $CTL
osapi_volume_workers = 1
transport_url = $MQ
auth_strategy = keystone
glance_api_servers = http://$CTL:9292
enabled_backends = trivial,hyperscale
default_volume_type = hyperscale
state_path = $BASE/state/cinder
image_conversion_dir = $BASE/state/cinder/conversion
rootwrap_config = /etc/cinder/rootwrap.conf
api_paste_config = /etc/cinder/api-paste.ini
resource_query_filters_file = /etc/cinder/resource_filters.json
quota_volumes = -1
quota_snapshots = -1
quota_gigabytes = -1
backup_driver = cinder.backup.drivers.posix.PosixBackupDriver
backup_posix_path = $BASE/backups
backup_workers = 1
backup_file_size = 52428800
backup_sha_block_size_bytes = 32768
allowed_direct_url_schemes = cinder
# A busy machine is no failure.
report_interval = 10
service_down_time = 120
rpc_response_timeout = 240
periodic_interval = 15
[trivial]
volume_driver = trivial_cinder.FileDriver
volume_backend_name = trivial
trivial_dir = $BASE/volumes
trivial_ip = $CTL
[hyperscale]
volume_driver = hyperscale_openstack.cinder.HyperScaleDriver
volume_backend_name = hyperscale
image_upload_use_cinder_backend = false
[key_manager]
backend = cinder.keymgr.conf_key_mgr.ConfKeyManager
fixed_key = 0000000000000000000000000000000000000000000000000000000000000001
[backend_defaults]
[database]
connection = $(db cinder)
[oslo_concurrency]
lock_path = $BASE/locks
[privsep_osbrick]
helper_command = privsep-helper --config-file $E/cinder/cinder.conf
[cinder_sys_admin]
helper_command = privsep-helper --config-file $E/cinder/cinder.conf
$(client nova nova)
$(client service_user cinder)
send_service_user_token = true
$(authtoken cinder)
X
  nova_conf ctl $CTL $BASE/state/nova $L >$E/nova/nova.conf
  for n in $NODES; do
    local D=$BASE/nodes/$n; mkdir -p $D/{etc/ssh,log,nova,var/lib/libvirt,var/cache/libvirt,var/log/libvirt}
    # same path on every host (nova requires it); node-init bind-mounts it
    nova_conf $n $(node_ip $n) /var/lib/nova $D/log /var/lib/nova/instances >$D/etc/nova.conf
    libvirt_conf $n
  done
  cat >$BASE/openrc <<X
export OS_AUTH_URL=http://$CTL:5000/v3 OS_USERNAME=admin OS_PASSWORD=$PW
export OS_PROJECT_NAME=admin OS_USER_DOMAIN_NAME=Default OS_PROJECT_DOMAIN_NAME=Default
export OS_IDENTITY_API_VERSION=3 OS_REGION_NAME=RegionOne
export OS_COMPUTE_API_VERSION=2.90 OS_VOLUME_API_VERSION=3.70
X
  hyperscale_conf ctl $CTL $BASE/hyperscale
  for n in $NODES; do hyperscale_conf $n $(node_ip $n) $BASE/nodes/$n/hyperscale; done
  printf '#!/bin/bash\n# The openstack client, on the control host.\n. %s/openrc\nexec nsenter -t "$(cat %s/control.pid)" -m -n -- openstack "$@"\n' $BASE $R >$BASE/os
  chmod +x $BASE/os
}

nova_conf(){ # HOST IP STATE LOGDIR [INSTANCES]
cat <<X
[DEFAULT]
host = $1
my_ip = $2
state_path = $3
log_dir = $4
transport_url = $MQ
enabled_apis = osapi_compute
osapi_compute_listen = $CTL
osapi_compute_workers = 1
api_paste_config = /etc/nova/api-paste.ini
rootwrap_config = /etc/nova/rootwrap.conf
${5:+instances_path = $5}
# The launcher registers the volume drivers with it.
compute_driver = libvirt.LibvirtDriver
# Guests here do not listen to ACPI: do not wait for them to shut down.
shutdown_timeout = 2
reserved_host_memory_mb = 0
reserved_host_disk_mb = 0
force_config_drive = false
# A busy machine is no failure; who cuts a host's power tells Nova (node-kill).
report_interval = 10
service_down_time = 120
rpc_response_timeout = 240
long_rpc_timeout = 900
$([ -n "${5:-}" ] || printf '[api_database]\nconnection = %s\n[database]\nconnection = %s' "$(db nova_api)" "$(db nova)")
[quota]
instances = -1
cores = -1
ram = -1
[conductor]
workers = 1
[key_manager]
backend = nova.keymgr.conf_key_mgr.ConfKeyManager
fixed_key = 0000000000000000000000000000000000000000000000000000000000000001
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 10
[filter_scheduler]
track_instance_changes = false
[api]
auth_strategy = keystone
[glance]
api_servers = http://$CTL:9292
[vnc]
enabled = false
[spice]
enabled = false
[libvirt]
virt_type = qemu
cpu_mode = none
hw_machine_type = x86_64=pc
live_migration_uri = qemu+tcp://%s/system
live_migration_inbound_addr = $2
live_migration_scheme = tcp
# no guest agent, quick device-detach polling
device_detach_timeout = 10
[oslo_concurrency]
lock_path = $3/locks
[privsep_osbrick]
helper_command = privsep-helper --config-file ${5:+$BASE/nodes/$1/etc/nova.conf}
[nova_sys_admin]
helper_command = privsep-helper --config-file ${5:+$BASE/nodes/$1/etc/nova.conf}
[vif_plug_linux_bridge_privileged]
helper_command = privsep-helper
[vif_plug_ovs_privileged]
helper_command = privsep-helper
$(client placement placement)
$(client neutron neutron)
$(client cinder cinder)
os_region_name = RegionOne
$(client service_user nova)
send_service_user_token = true
$(authtoken nova)
X
}

libvirt_conf(){ local n=$1 D=$BASE/nodes/$1 m
  [ -d $D/etc/libvirt ] || cp -a /etc/libvirt $D/etc/libvirt   # bind-mounted: never replace
  rm -f $D/etc/libvirt/qemu/networks/autostart/*
  cat >$D/etc/libvirt/libvirtd.conf <<X
listen_tls = 0
listen_tcp = 1
listen_addr = "$(node_ip $n)"
auth_tcp = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
host_uuid = "00000000-0000-4000-8000-0000000000${n#c}${n#c}"
log_outputs = "2:file:$D/log/libvirtd.log"
X
  cat >$D/etc/libvirt/qemu.conf <<X
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
stdio_handler = "file"
migration_address = "$(node_ip $n)"
X
  { echo "127.0.0.1 localhost"; echo "$CTL ctl"
    for m in $NODES; do echo "$(node_ip $m) $m"; done; } >$D/etc/hosts
  echo $n >$D/etc/hostname
  [ -s $BASE/ssh_key ] || ssh-keygen -q -t ed25519 -N '' -f $BASE/ssh_key
  cp $BASE/ssh_key $BASE/ssh_key.pub $D/etc/ssh/; chmod 600 $D/etc/ssh/ssh_key
  printf 'HostKey /etc/ssh/ssh_key\nAuthorizedKeysFile /etc/ssh/ssh_key.pub\nStrictModes no\nUsePAM no\nListenAddress %s\nPermitRootLogin prohibit-password\nSubsystem sftp /usr/lib/openssh/sftp-server\n' $(node_ip $n) >$D/etc/ssh/sshd_config
  printf 'IdentityFile /etc/ssh/ssh_key\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n' >$D/etc/ssh/ssh_config
}

