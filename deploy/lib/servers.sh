# shellcheck shell=bash
# Sourced: PostgreSQL and RabbitMQ of this machine. Nothing that runs is stopped or changed; passwords go through files
# and pipes, never through command lines.

# --- PostgreSQL -----------------------------------------------------------------------------------------------------

# "VERSION NAME PORT" of the first cluster, preferring one that is online.
postgres_cluster() {
  pg_lsclusters -h | sort -k4,4r | awk '{print $1, $2, $3; exit}'
}
postgres_online() { pg_lsclusters -h | awk '$4 ~ /^online/ {found = 1} END {exit !found}'; }

# Starts PostgreSQL if none runs; sets `postgres_started` to 1 if it did, and `postgres_port`.
ensure_postgres() {
  postgres_started=0
  if ! postgres_online; then
    local version cluster
    if [ -z "$(postgres_cluster)" ]; then
      version=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -rn | head -n 1)
      as_root pg_createcluster "$version" main >/dev/null
    fi
    read -r version cluster _ < <(postgres_cluster)
    step "starting PostgreSQL $version" start_postgres "$version" "$cluster"
    postgres_started=1
  fi
  read -r _ _ postgres_port < <(postgres_cluster)
}
start_postgres() {
  if have_systemd; then
    as_root systemctl start "postgresql@$1-$2"
  else
    as_root pg_ctlcluster --skip-systemctl-redirect "$1" "$2" start
  fi
  wait_until 30 postgres_online
}
stop_postgres() {
  local version cluster
  read -r version cluster _ < <(postgres_cluster)
  if have_systemd; then
    as_root systemctl stop "postgresql@$version-$cluster"
  else
    as_root pg_ctlcluster --skip-systemctl-redirect "$version" "$cluster" stop -m fast
  fi
}

# SQL from standard input, as the administrator.
postgres_sql() {
  if [ "$(id -u)" -eq 0 ]; then
    (cd / && runuser -u postgres -- psql -X -q -A -t -v ON_ERROR_STOP=1 -p "$postgres_port" -d postgres)
  else
    (cd / && sudo -u postgres psql -X -q -A -t -v ON_ERROR_STOP=1 -p "$postgres_port" -d postgres)
  fi
}

# postgres_role NAME PASSWORD [ATTRIBUTE...]: makes the role or gives it this password.
postgres_role() {
  local role=$1 password=$2
  shift 2
  [ "$(postgres_sql <<<"SELECT 1 FROM pg_roles WHERE rolname = '$role'")" = 1 ] || postgres_sql <<<"CREATE ROLE \"$role\""
  postgres_sql <<<"ALTER ROLE \"$role\" LOGIN $* PASSWORD '$password'"
}
postgres_database() {
  [ "$(postgres_sql <<<"SELECT 1 FROM pg_database WHERE datname = '$1'")" = 1 ] ||
    postgres_sql <<<"CREATE DATABASE \"$1\" OWNER \"$2\""
}
# Drops the role with everything it owns.
postgres_forget() {
  local database
  for database in $(postgres_sql <<<"SELECT datname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE rolname = '$1'"); do
    postgres_sql <<<"DROP DATABASE IF EXISTS \"$database\" WITH (FORCE)"
  done
  postgres_sql <<<"DROP ROLE IF EXISTS \"$1\""
}

# --- RabbitMQ -------------------------------------------------------------------------------------------------------

rabbit_port=${FERROSTACK_RABBITMQ_PORT:-5672}
# The node is named after the host, and a host that cannot find itself by name cannot have a node of that name.
getent hosts "$(hostname -s 2>/dev/null)" >/dev/null 2>&1 || export RABBITMQ_NODENAME=${RABBITMQ_NODENAME:-rabbit@localhost}

rabbit_ctl() { as_root env ${RABBITMQ_NODENAME:+RABBITMQ_NODENAME="$RABBITMQ_NODENAME"} rabbitmqctl -q "$@"; }
rabbit_online() { (exec 3<>"/dev/tcp/127.0.0.1/$rabbit_port") 2>/dev/null; }

# Starts RabbitMQ if none runs; sets `rabbit_started` to 1 if it did.
ensure_rabbit() {
  rabbit_started=0
  rabbit_online && return
  step "starting RabbitMQ" start_rabbit
  rabbit_started=1
}
start_rabbit() {
  if have_systemd; then
    as_root systemctl start rabbitmq-server
  else
    as_root env ${RABBITMQ_NODENAME:+RABBITMQ_NODENAME="$RABBITMQ_NODENAME"} rabbitmq-server -detached
  fi
  wait_until 60 rabbit_online && rabbit_ctl await_startup --timeout 60
}
stop_rabbit() {
  if have_systemd; then as_root systemctl stop rabbitmq-server; else rabbit_ctl stop; fi
}

# rabbit_vhost NAME PASSWORD: a vhost and a user of that name that owns it.
rabbit_vhost() {
  # Each call takes a second: it is only looked what is there if adding fails.
  rabbit_ctl add_vhost "$1" || rabbit_ctl list_vhosts name --no-table-headers | grep -qx "$1"
  printf '%s\n' "$2" | rabbit_ctl add_user "$1" || printf '%s\n' "$2" | rabbit_ctl change_password "$1"
  rabbit_ctl set_permissions -p "$1" "$1" '.*' '.*' '.*'
}
rabbit_forget() {
  rabbit_ctl delete_vhost "$1" || true
  rabbit_ctl delete_user "$1" || true
}
