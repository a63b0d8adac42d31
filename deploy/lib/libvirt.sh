# shellcheck shell=bash
# Sourced: a libvirt to run guests with.

virsh_answers() { timeout 20 virsh -q -c "$1" version >/dev/null 2>&1; }

# find_libvirt DIR: sets `libvirt_uri` to the system's libvirt, started if there is systemd; where there is none, to a
# private libvirtd in DIR on the host's networks, which end_libvirt ends.
find_libvirt() {
  libvirt_uri=qemu:///system
  libvirt_private=
  if [ ! -d "$1" ]; then
    if have_systemd && ! virsh_answers "$libvirt_uri"; then
      as_root systemctl start libvirtd 2>/dev/null || true
    fi
    virsh_answers "$libvirt_uri" && return
  fi
  libvirt_private=$1
  step "starting a private libvirtd" "$top/deploy/dev/libvirtd" up "$1" --netns host
  libvirt_uri=$("$top/deploy/dev/libvirtd" uri "$1")
}
end_libvirt() {
  if [ -d "$1" ]; then "$top/deploy/dev/libvirtd" down "$1"; fi
}
