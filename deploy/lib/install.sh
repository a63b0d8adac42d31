# shellcheck shell=bash
# Sourced: installs what is missing, from Debian's packages and, for the Python clients, from PyPI.
#   install build|run|servers|clients ...

packages_build=(gcc g++ libc6-dev make pkg-config libvirt-dev)
packages_run=(libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils
  dnsmasq-base iproute2 iptables ebtables procps curl openssh-client)
packages_servers=(postgresql rabbitmq-server procps curl)
packages_clients=(python3-venv)

# Versions that are known to work together. The middleware is what OpenStack's own services check tokens with.
clients=(python-openstackclient==10.5.0 python-novaclient==18.13.1 python-glanceclient==4.13.0
  "keystonemiddleware>=10,<14")
clients_directory=${FERROSTACK_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/ferrostack/clients}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 "$@"; }

# Installs packages; the lists are only fetched where they are missing or old.
apt_install() {
  local how=(--no-install-recommends install "$@") qemu
  apt-cache show "$@" >/dev/null 2>&1 || apt_get update
  apt_get "${how[@]}" && return
  apt_get update
  apt_get "${how[@]}" && return
  # A newer qemu-utils (from backports) does not go with this release's qemu-system.
  qemu=$(apt-cache policy qemu-system-x86 | sed -n 's/^  Candidate: //p')
  apt_get --allow-downgrades "${how[@]}" "qemu-utils=$qemu"
}

install() {
  local purpose package list missing=()
  command -v dpkg-query >/dev/null || fail "this needs Debian or Ubuntu: there is no dpkg here"
  for purpose in "$@"; do
    list="packages_$purpose[@]"
    for package in "${!list}"; do
      is_installed "$package" || missing+=("$package")
    done
  done
  if [ ${#missing[@]} -gt 0 ]; then
    step "installing ${missing[*]}" apt_install "${missing[@]}"
  fi
  for purpose in "$@"; do
    case $purpose in
    build) require_rust ;;
    clients) install_clients ;;
    esac
  done
}

require_rust() {
  [ -d "$HOME/.cargo/bin" ] && PATH=$HOME/.cargo/bin:$PATH
  command -v cargo >/dev/null || fail "cargo is missing: install Rust $(rust_version) or newer with rustup"
}
rust_version() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$top/Cargo.toml"; }

install_clients() {
  local mark=$clients_directory/installed
  [ "$(cat "$mark" 2>/dev/null)" = "${clients[*]}" ] && return
  step "installing the OpenStack clients into $clients_directory" make_clients
  printf '%s\n' "${clients[*]}" >"$mark"
}
make_clients() {
  python3 -m venv --clear "$clients_directory"
  "$clients_directory/bin/pip" install -q --disable-pip-version-check "${clients[@]}"
}
