//! Definitions of guests in rescue. Need no libvirtd.

use crate::definitions::{fixed, kvm, tcg};
use crate::support::lab;
use ferrostack_hypervisor::{BaseImage, Guest, Hypervisor, Rescue, States};
use ferrostack_hypervisor_libvirt::definition::{HostTraits, rescue::domain_xml};
use ferrostack_hypervisor_libvirt::files::Instances;
use ferrostack_model::server::PowerState;

fn rescue(guest: &Guest, properties: &[(&str, &str)]) -> Rescue {
    let mut image = guest.spec.image.clone();
    image.properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Rescue { tag: 7, image, base: guest.base.clone(), kernel: None, ramdisk: None, timeout_seconds: 0 }
}

fn xml(guest: &Guest, rescue: &Rescue, traits: &HostTraits) -> Result<String, ferrostack_model::Error> {
    let temp = tempfile::tempdir().unwrap();
    let instances = Instances::open(temp.path()).unwrap();
    let files = instances.guest(&guest.spec.server_id).unwrap();
    domain_xml(guest, rescue, &files, &[], traits)
}

/// Device, format, file and target of each disk.
fn disks(xml: &str) -> Vec<String> {
    let value = |text: &str, name: &str| {
        let begin = text.find(&format!("{name}=\"")).map(|at| at + name.len() + 2)?;
        Some(text[begin..].split('"').next()?.to_owned())
    };
    let parts = xml.split("<disk ").skip(1).map(|part| part.split("</disk>").next().unwrap());
    parts
        .map(|disk| {
            let driver = disk.split("<driver").nth(1).unwrap();
            let file = value(disk, "file").unwrap();
            let order = disk.split("<boot ").nth(1).and_then(|boot| value(boot, "order"));
            format!(
                "{} {} {} {} {}",
                value(disk, "device").unwrap(),
                value(driver, "type").unwrap(),
                file.rsplit('/').next().unwrap(),
                value(disk, "dev").unwrap(),
                order.unwrap_or_default()
            )
            .trim_end()
            .to_owned()
        })
        .collect()
}

fn everything() -> Guest {
    let mut guest = fixed();
    (guest.spec.flavor.ephemeral_gb, guest.spec.flavor.swap_mb) = (2, 512);
    guest.config_drive = Some("/drive".into());
    guest
}

/// OSSA-2014-009: what a guest writes at the beginning of its disk is never looked at, in rescue neither.
#[test]
fn s_2014_009_every_disk_of_a_rescued_guest_has_its_format() {
    let guest = everything();
    let plain = xml(&guest, &rescue(&guest, &[]), &tcg()).unwrap();
    assert_eq!(
        disks(&plain),
        ["disk qcow2 rescue-7.disk vda", "disk qcow2 disk vdb", "disk raw disk.config vdz"]
    );
    assert!(plain.contains("<boot dev=\"hd\""), "{plain}");
    let stable = xml(&guest, &rescue(&guest, &[("hw_rescue_device", "disk")]), &tcg()).unwrap();
    assert_eq!(
        disks(&stable),
        [
            "disk qcow2 disk vda 2",
            "disk raw disk.eph0 vdb",
            "disk raw disk.swap vdc",
            "disk raw disk.config vdz",
            "disk qcow2 rescue-7.disk vdd 1"
        ]
    );
    assert!(!stable.contains("<boot dev="), "{stable}");
    let usb = rescue(&guest, &[("hw_rescue_device", "cdrom"), ("hw_rescue_bus", "usb")]);
    let usb = xml(&guest, &usb, &kvm()).unwrap();
    assert_eq!(disks(&usb)[4], "cdrom qcow2 rescue-7.disk sda 1");
    assert!(usb.contains("qemu-xhci") && !usb.contains("model=\"none\""), "{usb}");
    let scsi = xml(&guest, &rescue(&guest, &[("hw_rescue_bus", "scsi")]), &kvm()).unwrap();
    assert!(scsi.contains("virtio-scsi"), "{scsi}");
    // On a bus where the config drive comes next in the row it makes way.
    let sata = xml(&guest, &rescue(&guest, &[("hw_disk_bus", "sata")]), &kvm()).unwrap();
    assert_eq!(
        disks(&sata),
        ["disk qcow2 rescue-7.disk sda", "disk qcow2 disk sdb", "disk raw disk.config sdc"]
    );
}

#[test]
fn what_cannot_be_rescued_with_is_refused() {
    let guest = everything();
    for properties in [
        &[("hw_rescue_device", "tape")][..],
        &[("hw_rescue_bus", "scsi'/>")],
        &[("hw_rescue_device", "cdrom"), ("hw_rescue_bus", "virtio")],
        &[("hw_rescue_device", "floppy"), ("hw_rescue_bus", "usb")],
        &[("hw_rescue_bus", "fdc")],
    ] {
        let error = xml(&guest, &rescue(&guest, properties), &tcg()).unwrap_err();
        assert_eq!(error.kind.http(), 400, "{properties:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescued_guest_boots_the_rescue_disk_and_keeps_its_own() {
    let Some(lab) = lab().await else { return };
    let driver = &lab.driver;
    // Its own disk boots to a guest that shuts itself down; the rescue disk to one that stays.
    let guest = lab.guest(b'S');
    let id = &guest.spec.server_id;
    driver.ensure(&guest).await.unwrap();
    let mut rescue = rescue(&guest, &[]);
    rescue.base = lab.guest(b'B').base;
    assert_eq!(driver.rescue(&guest, &rescue).await.unwrap(), PowerState::Running);
    let dir = lab.options.state_dir.join("instances").join(id);
    assert!(dir.join("disk").exists() && dir.join("rescue-7.disk").exists());
    let active = lab.virsh().lookup_domain_by_uuid_string(id).unwrap().xml_desc(0).unwrap();
    assert!(active.contains("rescue-7.disk") && active.contains("/disk'"), "{active}");
    // The image cache may go.
    std::fs::remove_file(&rescue.base.as_ref().unwrap().path).unwrap();
    driver.stop(id, 0).await.unwrap();
    assert_eq!(driver.start(id).await.unwrap(), PowerState::Running);
    // A rescue that cannot be leaves the one that is.
    let bad = Rescue {
        tag: 8,
        base: Some(BaseImage { path: "/nowhere".into(), ..rescue.base.clone().unwrap() }),
        ..rescue
    };
    let mut odd = bad.clone();
    odd.image.properties.insert("hw_rescue_device".into(), "tape".into());
    assert!(driver.rescue(&guest, &odd).await.is_err());
    assert_eq!(
        driver.list().await.unwrap().iter().find(|g| g.server_id == *id).unwrap().power,
        PowerState::Running
    );
    driver.unrescue(&guest).await.unwrap();
    let names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(names.iter().all(|n| !n.to_string_lossy().starts_with("rescue-")), "{names:?}");
    driver.destroy(id).await.unwrap();
    lab.assert_gone(id);
}
