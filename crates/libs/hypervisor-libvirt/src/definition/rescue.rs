//! The definition of a guest in rescue: it starts from the rescue disk, and its own disks are beside that.
//!
//! Nova knows two ways. By the plain one the rescue disk takes the first place and only the root disk comes along. By the
//! other one, of images with `hw_rescue_device` or `hw_rescue_bus`, every disk stays where it was and the rescue disk comes
//! last but is booted from. The format of each is said: what the guest has written to its disk is never looked at
//! (OSSA-2014-009).

use crate::files::GuestFiles;
use crate::hardware::{Bus, Hardware, HostTraits, disk_bus, is_q35, unsupported};
use crate::xml::domain::*;
use crate::xml::{self, clean};
use ferrostack_hypervisor::{Guest, Rescue};
use ferrostack_model::Result;
use std::path::PathBuf;

/// The domain XML; `networks` are the names of the libvirt networks of its NICs, in order.
///
/// # Errors
/// `BadRequest` naming what in the spec or an image cannot be had.
pub fn domain_xml(
    guest: &Guest,
    rescue: &Rescue,
    files: &GuestFiles,
    networks: &[String],
    traits: &HostTraits,
) -> Result<String> {
    let set = |name: &str| rescue.image.properties.get(name).is_some_and(|value| !value.is_empty());
    let mut domain = if set("hw_rescue_device") || set("hw_rescue_bus") {
        beside(guest, rescue, files, networks, traits)?
    } else {
        instead(guest, rescue, files, networks, traits)?
    };
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let direct = rescue.kernel.is_some();
    domain.os.kernel = direct.then(|| text(files.rescue(rescue.tag, "kernel")));
    domain.os.initrd =
        (direct && rescue.ramdisk.is_some()).then(|| text(files.rescue(rescue.tag, "ramdisk")));
    let cmdline = rescue.image.properties.get("os_command_line").map(|line| clean(line));
    domain.os.cmdline = direct.then(|| cmdline.unwrap_or_else(|| super::DEFAULT_CMDLINE.into()));
    xml::to_string("domain", &domain)
}

/// The rescue disk in the place of the root disk, and that as the next one; the hardware is the rescue image's.
fn instead(
    guest: &Guest,
    rescue: &Rescue,
    files: &GuestFiles,
    networks: &[String],
    traits: &HostTraits,
) -> Result<Domain> {
    let mut rescued = guest.clone();
    rescued.spec.image = rescue.image.clone();
    (rescued.spec.flavor.ephemeral_gb, rescued.spec.flavor.swap_mb) = (0, 0);
    (rescued.kernel, rescued.ramdisk) = (rescue.kernel.clone(), rescue.ramdisk.clone());
    let mut domain = super::domain(&rescued, files, networks, traits)?;
    let hardware = Hardware::of(&rescued.spec, traits)?;
    let disks = &mut domain.devices.disk;
    // What comes after it: the config drive. virtio's has a name of its own, at the end.
    let mut rest = disks.split_off(1);
    if let Some(first) = disks.first_mut() {
        first.source.file = files.rescue(rescue.tag, "disk").to_string_lossy().into_owned();
    }
    let root = disk(files.root_disk(), "disk", next(disks, hardware.bus)?, traits);
    disks.push(root);
    for disk in &mut rest {
        if disks.iter().any(|d| d.target.dev == disk.target.dev) {
            disk.target = next(disks, hardware.bus)?;
        }
    }
    disks.append(&mut rest);
    Ok(domain)
}

/// Every disk where it was, and the rescue disk as one more, from which the guest starts.
fn beside(
    guest: &Guest,
    rescue: &Rescue,
    files: &GuestFiles,
    networks: &[String],
    traits: &HostTraits,
) -> Result<Domain> {
    let mut domain = super::domain(guest, files, networks, traits)?;
    let hardware = Hardware::of(&guest.spec, traits)?;
    let property =
        |name: &str| rescue.image.properties.get(name).map(String::as_str).filter(|v| !v.is_empty());
    let device = match property("hw_rescue_device").unwrap_or("disk") {
        "disk" => "disk",
        "cdrom" => "cdrom",
        "floppy" => "floppy",
        other => return Err(unsupported("hw_rescue_device", other)),
    };
    let usual = match device {
        "cdrom" if traits.arch == "x86_64" => "ide",
        "cdrom" => "scsi",
        "floppy" => "fdc",
        _ => hardware.bus.name,
    };
    let bus = match (property("hw_rescue_bus").unwrap_or(usual), device) {
        ("fdc", "floppy") => Bus { name: "fdc", prefix: "fd", room: 1 },
        // There is no CD drive on virtio-blk, and a floppy drive is on its own bus only.
        (other @ "virtio", "cdrom") | (other, "floppy") => return Err(unsupported("hw_rescue_bus", other)),
        (other, _) => disk_bus("hw_rescue_bus", other, is_q35(&hardware.machine))?,
    };
    let devices = &mut domain.devices;
    if bus.name == "usb" {
        for controller in devices.controller.iter_mut().filter(|c| c.kind == "usb" && c.model == "none") {
            controller.model = "qemu-xhci";
        }
    }
    if bus.name == "scsi" && devices.controller.iter().all(|c| c.kind != "scsi") {
        devices.controller.push(Controller { kind: "scsi", index: 0, model: "virtio-scsi" });
    }
    let target = next(&devices.disk, bus)?;
    let mut last = disk(files.rescue(rescue.tag, "disk"), device, target, traits);
    last.boot = Some(BootOrder { order: 1 });
    if let Some(first) = devices.disk.first_mut() {
        first.boot = Some(BootOrder { order: 2 });
    }
    devices.disk.push(last);
    // Devices say it one by one.
    domain.os.boot = Vec::new();
    Ok(domain)
}

fn disk(path: PathBuf, device: &'static str, target: DiskTarget, traits: &HostTraits) -> Disk {
    let writable = device == "disk";
    Disk {
        kind: "file",
        device,
        driver: DiskDriver {
            name: "qemu",
            format: "qcow2",
            cache: traits.disk_cache,
            discard: writable.then_some("unmap"),
        },
        source: FileSource { file: path.to_string_lossy().into_owned() },
        target,
        readonly: (device == "cdrom").then_some(Empty {}),
        boot: None,
    }
}

/// The first name of the bus that no disk has.
fn next(disks: &[Disk], bus: Bus) -> Result<DiskTarget> {
    let names = (b'a'..=b'z').map(|letter| format!("{}{}", bus.prefix, char::from(letter)));
    let mut free = names.filter(|name| disks.iter().all(|disk| disk.target.dev != *name));
    match free.next().filter(|_| disks.iter().filter(|disk| disk.target.bus == bus.name).count() < bus.room) {
        Some(dev) => Ok(DiskTarget { dev, bus: bus.name }),
        None => Err(unsupported("hw_rescue_bus", bus.name)),
    }
}
