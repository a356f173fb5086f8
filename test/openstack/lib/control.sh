# Databases, the message queue, and OpenStack's services on the control host.
# shellcheck shell=bash

dbs_up(){
  if [ ! -d $BASE/mysql/mysql ]; then
    command install -d -o mysql -g mysql $BASE/mysql
    mariadb-install-db --no-defaults --user=mysql --datadir=$BASE/mysql \
      --auth-root-authentication-method=normal --skip-test-db >$L/mysql-install.log 2>&1
  fi
  svc mariadb mariadbd --no-defaults --user=mysql --datadir=$BASE/mysql --bind-address=$CTL \
    --socket=$BASE/mysql/s.sock --pid-file=$BASE/mysql/pid --skip-name-resolve \
    --innodb-flush-log-at-trx-commit=0 --skip-innodb-doublewrite --performance-schema=0 \
    --innodb-buffer-pool-size=128M --max-connections=600
  until_ok 30 test -S $BASE/mysql/s.sock
  if [ ! -e $BASE/state/db.users ]; then
    { for d in keystone glance placement neutron cinder nova_api nova_cell0 nova; do
        echo "CREATE DATABASE IF NOT EXISTS $d CHARACTER SET utf8;"; done
      echo "CREATE USER IF NOT EXISTS 'root'@'%' IDENTIFIED BY '$PW';"
      echo "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;"; } |
      mariadb --no-defaults -uroot -S $BASE/mysql/s.sock
    touch $BASE/state/db.users
  fi
}

mq_up(){
  mkdir -p $BASE/rabbit
  printf 'listeners.tcp.1 = %s:5672\nloopback_users = none\n' $CTL >$BASE/rabbit/rabbitmq.conf
  : >$BASE/rabbit/enabled_plugins; : >$BASE/rabbit/env.conf
  echo '[].' >$BASE/rabbit/enabled_plugins
  svc rabbitmq env HOME=$BASE/rabbit RABBITMQ_NODENAME=stack@localhost \
    RABBITMQ_MNESIA_BASE=$BASE/rabbit/mnesia RABBITMQ_LOG_BASE=$BASE/rabbit/log \
    RABBITMQ_CONFIG_FILE=$BASE/rabbit/rabbitmq RABBITMQ_CONF_ENV_FILE=$BASE/rabbit/env.conf \
    RABBITMQ_ENABLED_PLUGINS_FILE=$BASE/rabbit/enabled_plugins RABBITMQ_LOGS=$L/rabbit.log \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none" \
    ERL_EPMD_ADDRESS=127.0.0.1 /usr/lib/rabbitmq/bin/rabbitmq-server
  wait_port 5672
}

dbsync(){
  [ -e $BASE/state/db.synced ] && return 0
  local t=$SECONDS
  ( cd $BASE; K="--config-file $E/keystone/keystone.conf"
    inctl keystone-manage $K db_sync
    inctl keystone-manage $K fernet_setup --keystone-user root --keystone-group root
    inctl keystone-manage $K credential_setup --keystone-user root --keystone-group root
    inctl keystone-manage $K bootstrap --bootstrap-password $PW --bootstrap-region-id RegionOne \
      --bootstrap-admin-url http://$CTL:5000/v3 --bootstrap-internal-url http://$CTL:5000/v3 \
      --bootstrap-public-url http://$CTL:5000/v3
    inctl glance-manage --config-file $E/glance/glance-api.conf db_sync &
    ( inctl placement-manage --config-file $E/placement/placement.conf db sync
      inctl cinder-manage --config-file $E/cinder/cinder.conf db sync ) &
    wait
    inctl neutron-db-manage --config-file $E/neutron/neutron.conf upgrade heads &
    N="--config-file $E/nova/nova.conf"
    inctl nova-manage $N api_db sync
    inctl nova-manage $N cell_v2 map_cell0 --database_connection "$(db nova_cell0)"
    inctl nova-manage $N db sync
    inctl nova-manage $N cell_v2 list_cells | grep -q cell1 ||
      inctl nova-manage $N cell_v2 create_cell --name=cell1
    wait
  ) >>$L/dbsync.log 2>&1
  touch $BASE/state/db.synced; say "db sync took $((SECONDS-t))s"
}

api_up(){
  svc keystone env OS_KEYSTONE_CONFIG_FILES=$E/keystone/keystone.conf \
    uwsgi --plugins python3 --http-socket $CTL:5000 --wsgi-file /usr/bin/keystone-wsgi-public \
    --master --die-on-term --processes 1 --threads 4 --need-app --lazy-apps \
    --enable-threads --buffer-size 65535 --add-header 'Connection: close'
  svc placement env OS_PLACEMENT_CONFIG_DIR=$E/placement \
    uwsgi --plugins python3 --http-socket $CTL:8778 --wsgi-file /usr/bin/placement-api \
    --master --die-on-term --processes 1 --threads 4 --need-app --lazy-apps \
    --enable-threads --buffer-size 65535 --add-header 'Connection: close'
  wait_port 5000; wait_port 8778
}

seed(){   # service users, endpoints: one process instead of 30 CLI calls
  [ -e $BASE/state/seeded ] && return 0
  inctl /usr/bin/python3 - $CTL $PW <<'X'
import sys
import openstack
ctl, pw = sys.argv[1:]
c = openstack.connect(auth_url=f'http://{ctl}:5000/v3', username='admin', password=pw,
                      project_name='admin', user_domain_name='Default',
                      project_domain_name='Default', region_name='RegionOne')
i = c.identity
proj = i.find_project('service') or i.create_project(name='service', domain_id='default')
roles = {}
for r in ('admin', 'service', 'member', 'reader'):
    roles[r] = i.find_role(r) or i.create_role(name=r)
for u in ('glance', 'nova', 'placement', 'neutron', 'cinder'):
    usr = i.find_user(u) or i.create_user(name=u, password=pw, domain_id='default',
                                          default_project_id=proj.id)
    for r in ('admin', 'service'):
        i.assign_project_role_to_user(proj, usr, roles[r])
for name, typ, url in (
        ('glance', 'image', ':9292'), ('nova', 'compute', ':8774/v2.1'),
        ('placement', 'placement', ':8778'), ('neutron', 'network', ':9696'),
        ('cinderv3', 'volumev3', ':8776/v3/%(project_id)s')):
    s = i.find_service(name) or i.create_service(name=name, type=typ)
    have = {e.interface for e in i.endpoints(service_id=s.id)}
    for itf in ('public', 'internal', 'admin'):
        if itf not in have:
            i.create_endpoint(service_id=s.id, interface=itf, region_id='RegionOne',
                              url=f'http://{ctl}{url}')
X
  touch $BASE/state/seeded
}

svc_up(){
  svc glance glance-api --config-file $E/glance/glance-api.conf
  svc neutron neutron-server --config-file $E/neutron/neutron.conf
  svc nova-conductor nova-conductor --config-file $E/nova/nova.conf
  svc nova-scheduler nova-scheduler --config-file $E/nova/nova.conf
  svc nova-api nova-api --config-file $E/nova/nova.conf
  svc cinder-api cinder-api --config-file $E/cinder/cinder.conf
  svc cinder-scheduler cinder-scheduler --config-file $E/cinder/cinder.conf
  svc cinder-volume /usr/bin/python3 -m hyperscale_openstack.brick.volume --config-file $E/cinder/cinder.conf
  svc cinder-backup /usr/bin/python3 -m hyperscale_openstack.brick.backup --config-file $E/cinder/cinder.conf
  for p in 9292 9696 8774 8776; do wait_port $p 240; done
  # Zed neutron bug: GET /ports answers 500 (Port has no attribute
  # 'port_forwardings') until some other query has configured the ORM mappers
  $BASE/os network list >/dev/null
}

