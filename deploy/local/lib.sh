# shellcheck shell=bash
# Sourced by up, down and restart: the six processes of a cloud on this machine.
#
# DIR/ferrostack.toml   settings of all six          DIR/pids         lines "name pid"
# DIR/local.env         this cloud's database, vhost  DIR/logs/NAME.log  what each process says

# name, settings section with its address. Identity first: the others ask it for keys.
services=(identity:identity image:image network-api:network compute-api:compute scheduler:scheduler compute-agent:agent)

# absolute STATE: made if it is missing.
state_directory() {
  mkdir -p "$1" 2>/dev/null || fail "cannot make the state directory $1"
  state=$(cd "$1" && pwd -P)
}

# The address in a section of the settings.
listen_of() {
  awk -v section="[$1]" '
    /^\[/ { inside = ($0 == section) }
    inside && $1 == "listen" { gsub(/"/, "", $3); print $3; exit }' "$state/ferrostack.toml"
}

section_of() {
  local service
  for service in "${services[@]}"; do
    if [ "${service%%:*}" = "$1" ]; then echo "${service##*:}" && return; fi
  done
  return 1
}

pid_of() { awk -v name="$1" '$1 == name {print $2}' "$state/pids" 2>/dev/null | tail -n 1; }
is_running() {
  local pid
  pid=$(pid_of "$1")
  [ -n "$pid" ] && ours "$pid" "ferrostack-$1 --config $state/"
}
# Whether somebody listens on the service's port.
is_taken() { (exec 3<>"/dev/tcp/$(listen_of "$(section_of "$1")" | tr : /)") 2>/dev/null; }
is_free() { ! is_taken "$1"; }
is_healthy() { curl -sf -o /dev/null --max-time 2 "http://$(listen_of "$(section_of "$1")")/healthcheck"; }

# Starts one process, without waiting for it.
start_service() {
  local log=$state/logs/$1.log
  # A process that was just killed holds its port until the kernel has taken it apart.
  wait_until 5 is_free "$1" || fail "$1 cannot start: another process listens on $(listen_of "$(section_of "$1")")"
  mkdir -p "$state/logs"
  # In a session of its own, so that a Ctrl-C meant for the caller does not reach it; without the caller's pipes.
  setsid "$bin/ferrostack-$1" --config "$state/ferrostack.toml" >>"$log" 2>&1 </dev/null 9>&- &
  local pid=$!
  {
    grep -v "^$1 " "$state/pids" 2>/dev/null || true
    echo "$1 $pid"
  } >"$state/pids.new"
  mv "$state/pids.new" "$state/pids"
}

# Why a process has ended: its error, or its last line.
last_words() {
  local log=$state/logs/$1.log
  tail -n 100 "$log" | grep -a '^Error: ' | tail -n 1 | cut -c 8- | grep . || tail -n 1 "$log"
}

# Waits until the process answers /healthcheck; fails at once if it has ended.
await_service() {
  local end=$((SECONDS + 60))
  until is_healthy "$1"; do
    is_running "$1" || fail "$1 ended at its start: $(last_words "$1"); see $state/logs/$1.log"
    [ "$SECONDS" -lt "$end" ] || fail "$1 does not answer /healthcheck at $(listen_of "$(section_of "$1")"); see $state/logs/$1.log"
    sleep 0.1
  done
  is_running "$1" || fail "$1 ended at its start: $(last_words "$1"); see $state/logs/$1.log"
}

# One caller at a time changes a state.
lock_state() {
  exec 9>"$state/lock.local"
  flock -w 120 9 || fail "another up, down or restart works on $state"
}

# Where the binaries are: FERROSTACK_BIN, or built now.
find_binaries() {
  if [ -n "${FERROSTACK_BIN:-}" ]; then
    bin=$FERROSTACK_BIN
  else
    install build
    local profile=${FERROSTACK_PROFILE:-dev} directory
    case $profile in dev) directory=debug ;; *) directory=$profile ;; esac
    bin=$(target_directory)/$directory
    step "building" cargo build --quiet --manifest-path "$top/Cargo.toml" --profile "$profile" --bins
  fi
  [ -x "$bin/ferrostack-identity" ] || fail "there is no ferrostack-identity in $bin"
}
