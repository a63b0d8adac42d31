//! Image properties in the definition: what each value changes, what is refused, and that libvirt takes all of it.

use crate::definitions::{fixed, kvm, offers, tcg, with, xml};
use ferrostack_hypervisor::Guest;
use ferrostack_hypervisor_libvirt::hardware::{Hardware, HostTraits, Offers};
use ferrostack_hypervisor_libvirt::host;
use ferrostack_hypervisor_libvirt::{connection::Connection, events::EventSink};
use ferrostack_model::image_properties::{Kind, PROPERTIES};
use virt::connect::Connect;
use virt::sys;

fn specs(mut guest: Guest, specs: &[(&str, &str)]) -> Guest {
    guest.spec.flavor.extra_specs = specs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    guest
}

fn iso(mut guest: Guest) -> Guest {
    guest.spec.image.disk_format = "iso".into();
    guest
}

/// Properties, what the definition then holds, and what it no longer holds.
type Case = (&'static [(&'static str, &'static str)], &'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    (
        &[("hw_disk_bus", "scsi")],
        &["<target dev=\"sda\" bus=\"scsi\"/>", "model=\"virtio-scsi\""],
        &["dev=\"vda\""],
    ),
    (
        &[("hw_disk_bus", "scsi"), ("hw_scsi_model", "lsilogic")],
        &["<controller type=\"scsi\" index=\"0\" model=\"lsilogic\"/>"],
        &["virtio-scsi"],
    ),
    (&[("hw_disk_bus", "sata")], &["<target dev=\"sda\" bus=\"sata\"/>"], &[]),
    (&[("hw_disk_bus", "usb")], &["bus=\"usb\"", "qemu-xhci"], &[]),
    (&[("hw_disk_bus", "ide")], &["<target dev=\"hda\" bus=\"ide\"/>"], &[]),
    (&[("hw_vif_model", "e1000")], &["<model type=\"e1000\"/>"], &["<model type=\"virtio\"/>"]),
    (&[("hw_vif_model", "VirtualVmxnet3")], &["<model type=\"vmxnet3\"/>"], &[]),
    (&[("hw_vif_multiqueue_enabled", "true")], &["<driver queues=\"2\"/>"], &[]),
    (&[("hw_vif_multiqueue_enabled", "true"), ("hw_vif_model", "e1000")], &[], &["queues"]),
    (&[("hw_machine_type", "pc-q35-7.2")], &["machine=\"pc-q35-7.2\"", "pcie-root"], &[]),
    (&[("hw_firmware_type", "uefi")], &["<os firmware=\"efi\">"], &["secure-boot"]),
    (&[("hw_firmware_type", "bios")], &[], &["efi"]),
    (
        &[("os_secure_boot", "required"), ("hw_machine_type", "q35")],
        &["<os firmware=\"efi\">", "<feature enabled=\"yes\" name=\"secure-boot\"/>"],
        &[],
    ),
    (&[("hw_video_model", "cirrus")], &["<model type=\"cirrus\"/>"], &["vga"]),
    (&[("hw_video_model", "none")], &["<model type=\"none\"/>"], &[]),
    (&[("hw_pointer_model", "usbtablet")], &["<input type=\"tablet\" bus=\"usb\"/>"], &["keyboard"]),
    (
        &[("hw_input_bus", "virtio")],
        &["<input type=\"tablet\" bus=\"virtio\"/>", "<input type=\"keyboard\" bus=\"virtio\"/>"],
        &[],
    ),
    (&[("hw_qemu_guest_agent", "no")], &[], &["org.qemu.guest_agent.0"]),
    (&[("hw_qemu_guest_agent", "yes")], &["org.qemu.guest_agent.0"], &[]),
    (&[("hw_rng_model", "virtio")], &["<rng model=\"virtio\">"], &[]),
    (&[("hw_watchdog_action", "pause")], &["<watchdog model=\"i6300esb\" action=\"pause\"/>"], &[]),
    (&[("hw_watchdog_action", "disabled")], &[], &["watchdog"]),
    (&[("hw_serial_port_count", "3")], &["<target port=\"2\"/>"], &["<target port=\"3\"/>"]),
    (&[("hw_boot_menu", "true")], &["<bootmenu enable=\"yes\"/>"], &[]),
    (&[("hw_cpu_cores", "2")], &["<topology sockets=\"1\" cores=\"2\" threads=\"1\"/>"], &[]),
    (&[("hw_cpu_max_sockets", "1")], &["<topology sockets=\"1\" cores=\"2\" threads=\"1\"/>"], &[]),
    (&[("hw_cpu_threads", "2")], &["<topology sockets=\"1\" cores=\"1\" threads=\"2\"/>"], &[]),
    (&[("hw_time_hpet", "true")], &["<timer name=\"hpet\" present=\"yes\"/>"], &[]),
    (
        &[("hw_tpm_version", "2.0"), ("hw_tpm_model", "tpm-crb")],
        &["<tpm model=\"tpm-crb\">", "<backend type=\"emulator\" version=\"2.0\"/>"],
        &[],
    ),
    (&[("os_type", "windows")], &["<clock offset=\"localtime\"/>"], &[]),
    (&[("os_type", "linux")], &["<clock offset=\"utc\"/>"], &[]),
    // What only others read changes nothing.
    (
        &[
            ("os_distro", "debian"),
            ("os_version", "12"),
            ("os_require_quiesce", "no"),
            ("hw_disk_type", "preallocated"),
            ("hw_rescue_bus", "virtio"),
            ("hw_rescue_device", "disk"),
            ("root_device_name", "/dev/sda"),
            ("mappings", "[{\"virtual\": \"root\", \"device\": \"../../etc/passwd\"}]"),
            ("block_device_mapping", "[{\"source_type\": \"volume\"}]"),
            ("trait:HW_CPU_X86_AVX2", "required"),
            ("architecture", "x86_64"),
            ("hypervisor_type", "qemu"),
            ("vm_mode", "hvm"),
            ("my_own", "'\"</domain>"),
        ],
        &["dev=\"vda\""],
        &["passwd", "my_own", "AVX2"],
    ),
];

#[test]
fn each_property_changes_what_it_names() {
    for (properties, has, lacks) in CASES {
        let xml = xml(&with(properties), &tcg());
        for part in *has {
            assert!(xml.contains(part), "{properties:?}: no {part} in\n{xml}");
        }
        for part in *lacks {
            assert!(!xml.contains(part), "{properties:?}: {part} in\n{xml}");
        }
    }
    let windows = xml(&with(&[("os_type", "Windows")]), &kvm());
    for part in ["offset=\"localtime\"", "<relaxed state=\"on\"/>", "hypervclock", "retries=\"8191\""] {
        assert!(windows.contains(part), "{part}: {windows}");
    }
    let hidden = xml(&with(&[("img_hide_hypervisor_id", "true"), ("hw_pmu", "false")]), &kvm());
    assert!(hidden.contains("<hidden state=\"on\"/>") && hidden.contains("<pmu state=\"off\"/>"), "{hidden}");
    let vram = specs(with(&[("hw_video_ram", "32")]), &[("hw_video:ram_max_mb", "64")]);
    assert!(xml(&vram, &tcg()).contains("<model type=\"vga\" vram=\"32768\"/>"));
    let rate = specs(fixed(), &[("hw_rng:rate_bytes", "1024"), ("hw_rng:rate_period", "500")]);
    assert!(xml(&rate, &tcg()).contains("<rate bytes=\"1024\" period=\"500\"/>"));
    assert!(!xml(&specs(fixed(), &[("hw_rng:allowed", "false")]), &tcg()).contains("<rng"));
}

#[test]
fn an_iso_is_a_cd_that_the_guest_boots_from() {
    for (properties, machine, target) in [
        (&[][..], "pc", "<target dev=\"hda\" bus=\"ide\"/>"),
        (&[], "q35", "<target dev=\"sda\" bus=\"sata\"/>"),
        (&[("hw_cdrom_bus", "scsi")], "pc", "<target dev=\"sda\" bus=\"scsi\"/>"),
        (&[("hw_cdrom_bus", "sata"), ("hw_disk_bus", "sata")], "q35", "<target dev=\"sda\" bus=\"sata\"/>"),
    ] {
        let traits = HostTraits { machine: machine.into(), ..tcg() };
        let xml = xml(&iso(with(properties)), &traits);
        let cd = xml.split("</disk>").next().unwrap();
        for part in ["device=\"cdrom\"", "type=\"qcow2\"", "<readonly/>", target] {
            assert!(cd.contains(part), "{part}: {cd}");
        }
        assert!(xml.contains("<boot dev=\"cdrom\"/>"), "{xml}");
        let mut names: Vec<&str> =
            xml.split("<target dev=\"").skip(1).filter_map(|t| t.split('"').next()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a name twice: {xml}");
    }
}

#[test]
fn what_no_host_has_and_what_this_one_lacks_are_refused_apart() {
    let bare = HostTraits { offers: Offers { machines: vec!["pc".into()], ..Offers::default() }, ..tcg() };
    let of = |properties: &[(&str, &str)], traits: &HostTraits| {
        Hardware::of(&with(properties).spec, traits).map(drop).map_err(|e| (e.kind.http(), e.public))
    };
    for (name, value) in [
        ("hw_disk_bus", "xen"),
        ("hw_disk_bus", "fdc"),
        ("hw_scsi_model", "ibmvscsi"),
        ("hw_vif_model", "lan9118"),
        ("hw_video_model", "gop"),
        ("hw_machine_type", "pc,accel=kvm"),
    ] {
        let text = format!("Image property {name}={value} is not supported by this hypervisor.");
        assert_eq!(of(&[(name, value)], &tcg()), Err((400, text)));
    }
    for (name, value) in [
        ("hw_machine_type", "q35"),
        ("hw_architecture", "aarch64"),
        ("img_hv_type", "xen"),
        ("hw_vm_mode", "xen"),
        ("hw_mem_encryption", "true"),
    ] {
        let text = format!("Image property {name}={value} is not supported by the host.");
        assert_eq!(of(&[(name, value)], &bare), Err((501, text)));
    }
    assert_eq!(of(&[("hw_firmware_type", "uefi")], &bare), Err((501, "UEFI is not supported".into())));
    assert_eq!(of(&[("os_secure_boot", "required")], &bare).unwrap_err().0, 501);
    let (status, text) =
        of(&[("os_secure_boot", "required"), ("hw_firmware_type", "bios")], &tcg()).unwrap_err();
    assert!(status == 501 && text.starts_with("Secure Boot is not supported"), "{text}");
    assert_eq!(of(&[("hw_tpm_version", "2.0")], &bare).unwrap_err().0, 501);
    let old = HostTraits { offers: Offers { tpm_versions: vec!["2.0".into()], ..offers() }, ..tcg() };
    assert_eq!(of(&[("hw_tpm_version", "1.2")], &old).unwrap_err().0, 501);
    let (status, text) = of(&[("hw_serial_port_count", "5")], &tcg()).unwrap_err();
    assert_eq!((status, text.as_str()), (400, "Maximum number of serial port exceeds 4 for qemu"));
    assert_eq!(of(&[("hw_video_ram", "16")], &tcg()).unwrap_err().0, 400);
    assert_eq!(
        of(&[("hw_cpu_max_sockets", "1"), ("hw_cpu_max_cores", "1"), ("hw_cpu_max_threads", "1")], &tcg())
            .unwrap_err()
            .0,
        400
    );
    let poor = HostTraits { offers: Offers { video: vec!["vga".into()], ..offers() }, ..tcg() };
    assert_eq!(of(&[("hw_video_model", "qxl")], &poor).unwrap_err().0, 501);
}

/// M14, OSSA-2014-009, 2016-001, 2016-007, 2026-002: nothing is probed, whatever the image says.
#[test]
fn ossa_2014_009_every_disk_says_its_format() {
    let mut values: Vec<Vec<(&str, &str)>> = vec![vec![]];
    for known in PROPERTIES {
        if let Kind::Of(list) | Kind::Named(list, _) = known.kind {
            values.extend(list.iter().map(|value| vec![(known.name, *value)]));
        }
    }
    for properties in values {
        for format in ["qcow2", "raw", "iso", "ami", "vmdk"] {
            let mut guest = with(&properties);
            guest.spec.image.disk_format = format.into();
            if Hardware::of(&guest.spec, &tcg()).is_err() {
                continue;
            }
            let xml = xml(&guest, &tcg());
            let disks = xml.matches("<disk ").count();
            let explicit = xml.matches("<driver name=\"qemu\" type=\"qcow2\"").count()
                + xml.matches("<driver name=\"qemu\" type=\"raw\"").count();
            assert_eq!((disks, explicit), (4, 4), "{properties:?}: {xml}");
        }
    }
}

/// OSSN-0028: nothing of the host is in the definition, whatever the image says.
#[test]
fn ossn_0028_the_definition_tells_nothing_of_the_host() {
    let machine_id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    for (properties, ..) in CASES {
        let xml = xml(&with(properties), &tcg());
        assert!(machine_id.trim().is_empty() || !xml.contains(machine_id.trim()));
        assert!(xml.contains("<entry name=\"serial\">5d0b6a3e-8f34-4f8c-9a6e-2b7c9d1e4f50</entry>"), "{xml}");
    }
}

/// The real libvirtd and QEMU of this host take every value that this host offers.
#[tokio::test]
async fn libvirt_takes_every_value_that_is_not_refused() {
    let Ok(uri) = std::env::var("FERROSTACK_TEST_LIBVIRT") else { return };
    let connection = Connection::new(&uri, 1, EventSink::new());
    let capabilities = host::capabilities(&connection).await.map_err(|e| e.for_log()).unwrap();
    let connect = Connect::open(Some(&uri)).unwrap();
    let (mut taken, mut refused) = (0, Vec::new());
    for machine in ["pc", "q35"] {
        let offers = host::offers(&connection, &capabilities, machine, false).await.map_err(|e| e.for_log());
        let traits = HostTraits { machine: machine.into(), offers: offers.unwrap(), ..tcg() };
        let mut guests: Vec<(String, Guest)> =
            CASES.iter().map(|(properties, ..)| (format!("{properties:?}"), with(properties))).collect();
        for known in PROPERTIES {
            let (Kind::Of(list) | Kind::Named(list, _)) = known.kind else { continue };
            guests.extend(list.iter().map(|v| (format!("{}={v}", known.name), with(&[(known.name, v)]))));
        }
        for bus in ["ide", "sata", "scsi", "usb"] {
            guests.push((format!("CD on {bus}"), iso(with(&[("hw_cdrom_bus", bus)]))));
        }
        let ram = specs(with(&[("hw_video_ram", "32")]), &[("hw_video:ram_max_mb", "64")]);
        guests.push(("video RAM".into(), ram));
        guests.push(("rate".into(), specs(fixed(), &[("hw_rng:rate_bytes", "1024")])));
        for (what, mut guest) in guests {
            let id = uuid::Uuid::new_v4().to_string();
            guest.spec.server_id.clone_from(&id);
            guest.spec.instance_name = format!("property-{}", &id[..8]);
            if Hardware::of(&guest.spec, &traits).is_err() {
                refused.push(format!("{machine}: {what}"));
                continue;
            }
            let xml = xml(&guest, &traits);
            match connect.define_domain_xml_flags(&xml, sys::VIR_DOMAIN_DEFINE_VALIDATE) {
                Ok(domain) => {
                    domain.undefine_flags(sys::VIR_DOMAIN_UNDEFINE_NVRAM).unwrap();
                    taken += 1;
                }
                // Younger than this libvirt.
                Err(e) if what == "hw_vif_model=igb" => refused.push(format!("{machine}: {what}: {e}")),
                Err(e) => panic!("{machine}: {what}: {e}\n{xml}"),
            }
        }
    }
    println!("taken: {taken}; refused here: {refused:#?}");
    assert!(taken > 100, "{taken}");
}
