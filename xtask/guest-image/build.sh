#!/bin/bash
# build.sh OUT.qcow2: builds the small Linux guest that the tests and ./quickstart boot.
#
# Debian's cloud kernel, busybox, dropbear and the QEMU guest agent in an initial RAM file system, on a disk that a
# BIOS boots through syslinux (GRUB takes several times as long where the CPU is emulated). Everything comes from
# Debian packages; nothing is mounted and no kernel module of this machine is needed. What the guest does is in root/.
#
# The image is kept in ${XDG_CACHE_HOME:-~/.cache}/ferrostack/guest-image under the digest of what goes into it, so a
# second build is a copy. Settings: CACHE=0 builds anew.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C MTOOLS_SKIP_CHECK=1 DEBIAN_FRONTEND=noninteractive

DISK_MIB=64   # virtual size: boot partition and a small file system for what lasts
STATE_LABEL=guest-state

say() { printf 'guest-image: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# --- packages -------------------------------------------------------------------------------------------------------
# What goes into the guest. The libraries are found below by asking the loader, so a missing one is an error here.
guest_packages=(busybox-static dropbear-bin qemu-guest-agent)
library_packages=(libc6 libgcc-s1 zlib1g libcrypt1 libtomcrypt1 libtommath1 libgmp10
  libglib2.0-0 libpcre2-8-0 libudev1 libnuma1 liburing2 libffi8)
# What builds it: command and package.
tools=(syslinux:syslinux mcopy:mtools mke2fs:e2fsprogs sfdisk:fdisk qemu-img:qemu-utils cpio:cpio zstd:zstd)

apt() { apt-get -q -y -o DPkg::Lock::Timeout=600 "$@" >&2; }

apt_knows() { apt-cache show "$1" >/dev/null 2>&1; }

kernel_package() {
  apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1
}

packages() {
  apt_knows linux-image-cloud-amd64 || apt update
  kernel=$(kernel_package)
  [ -n "$kernel" ] || die "apt knows no linux-image-cloud-amd64"
  all=("$kernel" "${guest_packages[@]}" "${library_packages[@]}")
}

# What decides the image: these files and the packages' versions.
digest() {
  packages
  {
    (cd "$here" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
    apt-cache policy "${all[@]}" | grep -E '^[a-z0-9]|Candidate:'
  } | sha256sum | cut -c 1-16
}

[ $# -eq 1 ] || die "usage: build.sh OUT.qcow2"
out=$1
mkdir -p "$(dirname "$out")"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ferrostack/guest-image
kept=$cache/$(digest).qcow2
if [ "${CACHE:-1}" != 0 ] && [ -s "$kept" ]; then
  cp "$kept" "$out.part" && mv "$out.part" "$out"
  say "$out: as built before"
  exit 0
fi

missing=()
for t in "${tools[@]}"; do command -v "${t%%:*}" >/dev/null || missing+=("${t##*:}"); done
mbr=/usr/lib/syslinux/mbr/mbr.bin
[ -e "$mbr" ] || missing+=(syslinux-common)
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  apt_knows "${missing[0]}" || apt update
  apt --no-install-recommends install "${missing[@]}" || die "apt-get could not install ${missing[*]}"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/guest-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/deb" "$work/debian" "$work/root"

packages
say "fetching ${#all[@]} packages, kernel $kernel"
fetch() { (cd "$work/deb" && apt-get -q -o APT::Sandbox::User=root download "${all[@]}" >"$work/fetch.log" 2>&1); }
# The mirror may have moved on since the last update.
fetch || { apt update && packages && fetch; } || { cat "$work/fetch.log" >&2; die "packages could not be fetched"; }
for deb in "$work"/deb/*.deb; do dpkg-deb -x "$deb" "$work/debian"; done
debian=$work/debian
vmlinuz=$(echo "$debian"/boot/vmlinuz-*)
release=${vmlinuz##*/vmlinuz-}
modules=$debian/lib/modules/$release

# --- root file system -----------------------------------------------------------------------------------------------
root=$work/root
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,lib64,lib/x86_64-linux-gnu,dev,proc,sys,run,tmp,state,mnt,root,home/debian,var/log}
ln -s ../run "$root/var/run"
cp -R "$here/root/." "$root/"
cp "$debian/bin/busybox" "$root/bin/"
for applet in $("$root/bin/busybox" --list); do
  [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
done
ln -s bin/busybox "$root/init"
cp "$debian/usr/sbin/dropbear" "$debian/usr/sbin/qemu-ga" "$root/usr/sbin/"
cp "$debian/usr/bin/dropbearkey" "$root/usr/bin/"

loader=$debian/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
for program in usr/sbin/dropbear usr/sbin/qemu-ga usr/bin/dropbearkey; do
  "$loader" --library-path "$debian/lib/x86_64-linux-gnu:$debian/usr/lib/x86_64-linux-gnu" --list "$root/$program"
done >"$work/libraries" 2>&1 || { cat "$work/libraries" >&2; die "a library is not among the packages"; }
# The path is of this build, or of this machine if a package is missing from the list above.
sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' "$work/libraries" | sort -u | while read -r library; do
  case $library in
    "$debian"/*) cp -L "$library" "$root/lib/x86_64-linux-gnu/${library##*/}" ;;
    *) die "$library is not among the packages" ;;
  esac
done
cp -L "$loader" "$root/lib64/ld-linux-x86-64.so.2"

# Kernel modules with what they depend on. Some may be built into this kernel.
busybox=$root/bin/busybox
"$busybox" depmod -b "$debian" "$release"
for module in $(sed 's/#.*//' "$here/root/lib/guest/modules") ext4 crc32c_generic mbcache jbd2; do
  pattern="/$(printf %s "$module" | sed 's/[-_]/[-_]/g')\.ko:"
  line=$(grep -m 1 "$pattern" "$modules/modules.dep" || true)
  if [ -n "$line" ]; then
    printf '%s\n' "${line%%:*}" ${line#*:}
  elif ! grep -q "${pattern%:}" "$modules/modules.builtin"; then
    case $module in crc32c_generic | mbcache | jbd2) ;; *) die "the kernel has no module $module" ;; esac
  fi
done | sed "s|^/\?lib/modules/$release/||" | sort -u >"$work/modules"
while read -r file; do install -D -m 644 "$modules/$file" "$root/lib/modules/$release/$file"; done <"$work/modules"
"$busybox" depmod -b "$root" "$release"

chmod 600 "$root/etc/shadow"
chmod 755 "$root"/lib/guest/* "$root"/bin/chpasswd "$root"/etc/acpi/PWRF/* "$root"/etc/udhcpc.script
chmod 700 "$root/root" "$root/home/debian"
(cd "$root" && find . -print0 | sort -z | cpio -0 -o -H newc -R 0:0 --reproducible --quiet) | zstd -q -15 -T0 >"$work/initrd"

# --- disk -----------------------------------------------------------------------------------------------------------
disk=$work/disk.raw
truncate -s "${DISK_MIB}M" "$disk"
bytes() { stat -c %s "$1"; }
boot_mib=$(( ( $(bytes "$vmlinuz") + $(bytes "$work/initrd") ) / 1048576 + 4 ))
state_mib=$((boot_mib + 1))
[ "$state_mib" -lt $((DISK_MIB - 16)) ] || die "kernel and initrd leave no room on ${DISK_MIB} MiB"
printf 'label: dos\nlabel-id: 0x46455252\n2048,%s,6,*\n%s,,83\n' $((boot_mib * 2048)) $((state_mib * 2048)) | sfdisk -q "$disk"

# syslinux asks the BIOS for the geometry; LBA and these values suit every disk of this size.
mformat -i "$disk@@1M" -T $((boot_mib * 2048)) -h 255 -s 63 -H 2048 -v GUEST ::
syslinux --install --offset 1048576 "$disk"
cat >"$work/syslinux.cfg" <<CFG
DEFAULT guest
PROMPT 0
LABEL guest
 KERNEL /vmlinuz
 INITRD /initrd
 APPEND console=tty0 console=ttyS0,115200 net.ifnames=0 mitigations=off no_timer_check loglevel=4
CFG
mcopy -i "$disk@@1M" "$vmlinuz" ::/vmlinuz
mcopy -i "$disk@@1M" "$work/initrd" ::/initrd
mcopy -i "$disk@@1M" "$work/syslinux.cfg" ::/syslinux.cfg
dd if="$mbr" of="$disk" bs=440 count=1 conv=notrunc status=none
mke2fs -q -F -t ext4 -b 1024 -m 0 -J size=4 -L "$STATE_LABEL" -E "offset=$((state_mib * 1048576)),root_owner=0:0" \
  "$disk" $(((DISK_MIB - state_mib) * 1024))

qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd "$disk" "$work/disk.qcow2"
mkdir -p "$cache"
rm -f "$cache"/*.qcow2
cp "$work/disk.qcow2" "$kept.part" && mv "$kept.part" "$kept"
cp "$work/disk.qcow2" "$out.part" && mv "$out.part" "$out"
say "$out: $(( $(bytes "$out") / 1048576 )) MiB, kernel $release"
