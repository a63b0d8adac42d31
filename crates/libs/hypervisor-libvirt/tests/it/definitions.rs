//! Definitions: golden XML, and hostile texts through libvirt's own parser. Need no libvirtd: libvirt's test driver is
//! in the client library.

use crate::support::{network, nic, spec_guest};
use ferrostack_hypervisor::Guest;
use ferrostack_hypervisor_libvirt::definition::{HostTraits, domain_xml};
use ferrostack_hypervisor_libvirt::files::Instances;
use ferrostack_hypervisor_libvirt::hardware::Offers;
use ferrostack_hypervisor_libvirt::network::network_xml;
use ferrostack_hypervisor_libvirt::xml::metadata::{GuestMark, NAMESPACE};
use ferrostack_hypervisor_libvirt::xml::network::DhcpHost;
use ferrostack_hypervisor_libvirt::xml::{clean, from_str};
use ferrostack_model::image_properties::PROPERTIES;
use ferrostack_model::network::NetworkSpec;
use proptest::prelude::*;
use virt::connect::Connect;
use virt::sys;

const ID: &str = "5d0b6a3e-8f34-4f8c-9a6e-2b7c9d1e4f50";

/// A host that has everything.
pub fn offers() -> Offers {
    let texts = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect();
    Offers {
        machines: texts(&["pc", "q35", "pc-q35-7.2"]),
        efi: true,
        secure_boot: true,
        tpm_models: texts(&["tpm-tis", "tpm-crb"]),
        tpm_versions: texts(&["1.2", "2.0"]),
        video: texts(&["vga", "cirrus", "vmvga", "qxl", "virtio", "none", "bochs"]),
    }
}

pub fn tcg() -> HostTraits {
    HostTraits {
        kvm: false,
        arch: "x86_64".into(),
        machine: "pc".into(),
        offers: offers(),
        disk_cache: "none",
        vnc_listen: "127.0.0.1".parse().unwrap(),
        filters: true,
    }
}

pub fn kvm() -> HostTraits {
    HostTraits { kvm: true, machine: "q35".into(), disk_cache: "writeback", ..tcg() }
}

pub fn fixed() -> Guest {
    let mut guest = spec_guest("/base".as_ref());
    guest.spec.server_id = ID.into();
    guest.spec.instance_name = "instance-00000001".into();
    guest
}

fn fixed_network(x: u8) -> NetworkSpec {
    let mut network = network(x);
    network.id = format!("11111111-2222-4333-8444-5555555555{x:02}");
    network.subnets[0].id = format!("21111111-2222-4333-8444-5555555555{x:02}");
    network
}

pub fn xml(guest: &Guest, traits: &HostTraits) -> String {
    let temp = tempfile::tempdir().unwrap();
    let instances = Instances::open(temp.path()).unwrap();
    let files = instances.guest(&guest.spec.server_id).unwrap();
    let networks: Vec<String> =
        guest.spec.nics.iter().map(|n| format!("fs-{}", &n.network.id[..8])).collect();
    let xml = domain_xml(guest, &files, &networks, traits).unwrap();
    xml.replace(&instances.root().to_string_lossy().into_owned(), "/STATE/instances")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

fn everything() -> Guest {
    let mut guest = fixed();
    guest.spec.nics = vec![nic(ID, &fixed_network(1), 10), nic(ID, &fixed_network(2), 11)];
    guest.spec.flavor.ephemeral_gb = 2;
    guest.spec.flavor.swap_mb = 512;
    guest.spec.flavor.vcpus = 2;
    guest.config_drive = Some("/drive".into());
    guest
}

pub fn with(property: &[(&str, &str)]) -> Guest {
    let mut guest = everything();
    guest.spec.image.properties = property.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    guest
}

fn direct() -> Guest {
    let mut guest = with(&[("os_command_line", "root=/dev/vda1 quiet \"a\" <b>")]);
    guest.kernel = Some("/kernel".into());
    guest.ramdisk = Some("/ramdisk".into());
    guest
}

fn iso() -> Guest {
    let mut guest = everything();
    guest.spec.image.disk_format = "iso".into();
    guest
}

const EVERY_PROPERTY: &[(&str, &str)] = &[
    ("hw_boot_menu", "true"),
    ("hw_cpu_cores", "2"),
    ("hw_disk_bus", "scsi"),
    ("hw_input_bus", "virtio"),
    ("hw_machine_type", "q35"),
    ("hw_qemu_guest_agent", "yes"),
    ("hw_rng_model", "virtio"),
    ("hw_scsi_model", "virtio-scsi"),
    ("hw_serial_port_count", "2"),
    ("hw_time_hpet", "true"),
    ("hw_video_model", "virtio"),
    ("hw_vif_model", "virtio"),
    ("hw_vif_multiqueue_enabled", "true"),
    ("hw_watchdog_action", "reset"),
    ("os_type", "linux"),
];

/// Every golden case.
fn cases() -> Vec<(&'static str, Guest, HostTraits)> {
    let windows = [
        ("os_type", "windows"),
        ("hw_disk_bus", "sata"),
        ("hw_vif_model", "e1000e"),
        ("hw_pointer_model", "usbtablet"),
    ];
    vec![
        ("plain_tcg", fixed(), tcg()),
        ("everything_kvm", everything(), kvm()),
        ("everything_tcg_q35_scsi", with(&[("hw_machine_type", "q35"), ("hw_disk_bus", "scsi")]), tcg()),
        ("ide_on_pc", with(&[("hw_disk_bus", "ide"), ("hw_vif_model", "rtl8139")]), tcg()),
        ("windows_kvm", with(&windows), kvm()),
        ("efi_on_q35", with(&[("hw_firmware_type", "uefi"), ("hw_machine_type", "q35")]), tcg()),
        ("windows_tcg", with(&windows), tcg()),
        ("direct_boot", direct(), tcg()),
        ("iso_on_q35", iso(), HostTraits { machine: "q35".into(), ..tcg() }),
        ("every_property", with(EVERY_PROPERTY), tcg()),
    ]
}

#[test]
fn domains_are_defined_as_checked_in() {
    for (name, guest, traits) in cases() {
        insta::assert_snapshot!(name, xml(&guest, &traits));
    }
}

#[test]
fn networks_are_defined_as_checked_in() {
    let host = DhcpHost { mac: "fa:16:3e:00:00:01".into(), ip: "10.201.1.10".into() };
    let full = fixed_network(1);
    insta::assert_snapshot!("network", network_xml(&full, "fs-11111111", Some(&host), true, &[]).unwrap());
    let mut bare = full.clone();
    bare.subnets[0].gateway_ip = None;
    bare.subnets[0].dns_nameservers.clear();
    let resolvers = ["192.0.2.53".parse().unwrap()];
    insta::assert_snapshot!(
        "network_without_gateway",
        network_xml(&bare, "fs-11111111", Some(&host), true, &resolvers).unwrap()
    );
    for (cidr, gateway) in [
        ("10.0.0.0/33", "10.0.0.1"),
        ("'><x", "10.0.0.1"),
        ("10.0.0.0/24", "10.0.1.1"),
        ("10.0.0.0/24", "::1"),
    ] {
        let mut bad = full.clone();
        bad.subnets[0].cidr = cidr.into();
        bad.subnets[0].gateway_ip = Some(gateway.parse().unwrap());
        let error = network_xml(&bad, "fs-11111111", None, true, &[]).unwrap_err();
        assert_eq!(error.kind.http(), 400, "{cidr} {gateway}: {}", error.for_log());
    }
}

/// libvirt's schema knows every element; QEMU's driver, where there is one, takes every definition.
#[test]
fn libvirt_takes_every_golden_definition() {
    let Ok(uri) = std::env::var("FERROSTACK_TEST_LIBVIRT") else { return };
    let connect = Connect::open(Some(&uri)).unwrap();
    for (name, guest, traits) in cases() {
        if name.starts_with("efi") && !std::path::Path::new("/usr/share/qemu/firmware").exists() {
            continue;
        }
        if traits.kvm && !connect.capabilities().unwrap().contains("<domain type='kvm'/>") {
            continue;
        }
        let id = uuid::Uuid::new_v4().to_string();
        let xml = xml(&guest, &traits).replace(ID, &id).replace("instance-00000001", &format!("golden-{id}"));
        let domain = connect.define_domain_xml_flags(&xml, sys::VIR_DOMAIN_DEFINE_VALIDATE);
        domain.unwrap_or_else(|e| panic!("{name}: {e}\n{xml}")).undefine().unwrap();
    }
}

/// What libvirt's parser makes of our definition.
fn through_libvirt(guest: &Guest) -> (GuestMark, String) {
    let connect = Connect::open(Some("test:///default")).unwrap();
    let ours = xml(guest, &tcg()).replacen("type=\"qemu\"", "type=\"test\"", 1);
    let ours = ours.replace("machine=\"pc\"", "").replace("arch=\"x86_64\"", "");
    let domain = connect.define_domain_xml(&ours).unwrap_or_else(|e| panic!("{e}: {ours}"));
    let meta = domain.metadata(sys::VIR_DOMAIN_METADATA_ELEMENT as i32, Some(NAMESPACE), 0).unwrap();
    (from_str("metadata", &meta).unwrap(), domain.xml_desc(0).unwrap())
}

#[test]
fn hostile_names_come_back_whole() {
    let long = "\u{1F980}".repeat(255);
    for name in [
        "</ferrostack:name></ferrostack:guest></metadata><devices/>",
        "]]> <![CDATA[ x ]]> &amp; &lt; &#0; '\"",
        "<!-- a -- b -->",
        "nul \u{0} bell \u{7} escape \u{1b} noncharacter \u{FFFE}",
        "line\nbreak\ttab\r\n",
        " spaces ",
        "",
        &long,
    ] {
        let mut guest = fixed();
        guest.spec.display_name = name.into();
        guest.spec.flavor.name = name.into();
        let (mark, _) = through_libvirt(&guest);
        assert_eq!(mark.name, clean(name), "{name:?}");
        assert_eq!((mark.server.as_str(), mark.generation), (ID, 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever a user may choose, the definition is one well-formed domain with our mark.
    #[test]
    fn no_text_breaks_a_definition(name in ".{0,255}", flavor in "\\PC{0,64}", line in "\\PC{0,200}") {
        let mut guest = direct();
        guest.spec.display_name = name.clone();
        guest.spec.flavor.name = flavor;
        guest.spec.image.properties.insert("os_command_line".into(), line.clone());
        let (mark, _) = through_libvirt(&guest);
        prop_assert_eq!(mark.name, clean(&name));
        prop_assert_eq!(mark.generation, 1);
    }

    /// A property's value is taken or refused with a short text; it never reaches the definition as markup.
    #[test]
    fn no_property_breaks_a_definition(value in ".{0,80}", key in prop::sample::select(
        PROPERTIES.iter().map(|p| p.name).collect::<Vec<_>>()
    )) {
        let guest = with(&[(key, &value)]);
        let temp = tempfile::tempdir().unwrap();
        let files = Instances::open(temp.path()).unwrap().guest(ID).unwrap();
        let networks = ["fs-a".to_owned(), "fs-b".to_owned()];
        match domain_xml(&guest, &files, &networks, &tcg()) {
            Ok(xml) => prop_assert_eq!(xml.matches("<domain").count(), 1),
            Err(e) => {
                prop_assert!(matches!(e.kind.http(), 400 | 501));
                prop_assert!(e.public.len() < 400, "{}", e.public);
            }
        }
    }

    #[test]
    fn no_instance_name_leaves_its_place(name in "\\PC{0,120}") {
        let mut guest = fixed();
        guest.spec.instance_name = name;
        if let Ok(name) = ferrostack_hypervisor_libvirt::definition::domain_name(&guest) {
            prop_assert!(!name.contains(['/', ',', '\'', '<', '\0', ' ']) && !name.starts_with(['.', '-']));
        }
    }
}
