# shellcheck shell=bash
# Sourced by every script of the project: messages, waiting, ending what was started.
# A script sets `name` (shown before its messages) and `top` (the root of the project) before it sources this.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C.UTF-8

say() { printf '%s: %s\n' "$name" "$*" >&2; }
fail() {
  say "FAILED: $*"
  exit 1
}

# step TEXT COMMAND...: shows what is done and how long it took; on failure the last lines and one line that says so.
step() {
  local text=$1 log code start=$SECONDS
  shift
  log=$(mktemp)
  printf '%s: %s ... ' "$name" "$text" >&2
  # Not in a condition: that would switch -e off inside.
  set +e
  # Without descriptor 9, which holds locks: what is started here may outlive them.
  (set -e && "$@") >"$log" 2>&1 </dev/null 9>&-
  code=$?
  set -e
  if [ "$code" -eq 0 ]; then
    printf '%s s\n' $((SECONDS - start)) >&2
    rm -f "$log"
    return 0
  fi
  printf 'failed\n' >&2
  tail -n 20 "$log" | sed 's/^/    /' >&2
  rm -f "$log"
  fail "$text (exit code $code)"
}

# wait_until SECONDS COMMAND...: whether the command succeeds within that time.
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}

# ours PID TEXT: whether PID is still a process whose command line holds TEXT; numbers are used again.
ours() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null | grep -qF -- "$2"; }

# end_process PID TEXT: TERM, and after 15 seconds KILL.
end_process() {
  ours "$1" "$2" || return 0
  kill -TERM "$1" 2>/dev/null || return 0
  if ! wait_until 15 gone "$1" "$2"; then kill -KILL "$1" 2>/dev/null || true; fi
  wait_until 5 gone "$1" "$2"
}
gone() { ! ours "$1" "$2"; }

# A random word of letters and digits.
random_word() { head -c 32 /dev/urandom | sha256sum | cut -c "1-${1:-24}"; }

# as_root COMMAND...: for installing packages.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

have_systemd() { [ -d /run/systemd/system ]; }

# Where cargo puts what it builds.
target_directory() {
  if [ -n "${CARGO_TARGET_DIR:-}" ]; then echo "$CARGO_TARGET_DIR"; else echo "$top/target"; fi
}
