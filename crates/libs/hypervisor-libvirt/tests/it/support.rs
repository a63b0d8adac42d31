//! What the tests share: a driver, a tiny guest, and waiting for levels.

use ferrostack_hypervisor::{BaseImage, Guest, Hypervisor};
use ferrostack_hypervisor_libvirt::{LibvirtHypervisor, LibvirtOptions, VirtType};
use ferrostack_model::guest::{GuestFlavor, GuestSpec, WantedPower};
use ferrostack_model::image::ImageSource;
use ferrostack_model::network::{FixedIp, NetworkSpec, NicSpec, SubnetSpec};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;
use virt::connect::Connect;

/// A driver with its own files.
pub struct Lab {
    pub driver: LibvirtHypervisor,
    pub options: LibvirtOptions,
    pub temp: tempfile::TempDir,
}

/// `None` where no libvirtd is given.
pub async fn lab() -> Option<Lab> {
    lab_with(|_| {}).await
}

/// A lab with other options.
pub async fn lab_with(change: impl FnOnce(&mut LibvirtOptions)) -> Option<Lab> {
    let Ok(uri) = std::env::var("FERROSTACK_TEST_LIBVIRT") else {
        eprintln!("FERROSTACK_TEST_LIBVIRT is not set: nothing is tested");
        return None;
    };
    let temp = match std::env::var("FERROSTACK_TEST_LIBVIRT_STATE") {
        Ok(dir) => tempfile::tempdir_in(dir).unwrap(),
        Err(_) => tempfile::tempdir().unwrap(),
    };
    std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut options = LibvirtOptions::new(uri, temp.path().join("state"));
    options.virt_type = VirtType::Qemu;
    options.console_log_bytes = 1 << 16;
    change(&mut options);
    let driver = LibvirtHypervisor::connect(options.clone()).await.map_err(|e| e.for_log()).unwrap();
    Some(Lab { driver, options, temp })
}

impl Lab {
    /// libvirt as an operator would see it.
    pub fn virsh(&self) -> Connect {
        Connect::open(Some(&self.options.uri)).unwrap()
    }

    /// A guest of the tiny boot sector in the given mode (see boot.S).
    pub fn guest(&self, mode: u8) -> Guest {
        let path = self.temp.path().join(format!("base-{}", char::from(mode)));
        if !path.exists() {
            let mut disk = include_bytes!("boot.bin").to_vec();
            disk[3] = mode;
            disk.resize(1 << 20, 0);
            std::fs::write(&path, disk).unwrap();
        }
        spec_guest(&path)
    }

    /// Nothing of the guest is left.
    pub fn assert_gone(&self, id: &str) {
        let connect = self.virsh();
        assert!(connect.lookup_domain_by_uuid_string(id).is_err(), "the domain is left");
        assert!(!self.options.state_dir.join("instances").join(id).exists(), "files are left");
        for network in connect.list_all_networks(0).unwrap() {
            let xml = network.xml_desc(0).unwrap();
            assert!(!xml.contains(&mac(id)), "a DHCP entry is left: {xml}");
        }
    }

    /// Starts a shell command in a guest that has the guest agent.
    pub async fn run_in_guest(&self, id: &str, command: &str) {
        let exec = serde_json::json!({
            "execute": "guest-exec",
            "arguments": {"path": "/bin/sh", "arg": ["-c", command]},
        });
        eventually("answer of the guest agent", || async {
            let domain = self.virsh().lookup_domain_by_uuid_string(id).unwrap();
            domain.qemu_agent_command(&exec.to_string(), 5, 0).ok()
        })
        .await;
    }

    /// The guest's console once it holds `text`.
    pub async fn console_with(&self, id: &str, text: &str) -> String {
        eventually(&format!("{text:?} on the console"), || async {
            let bytes = self.driver.console_output(id, 1 << 20).await.unwrap();
            let console = String::from_utf8_lossy(&bytes).into_owned();
            console.contains(text).then_some(console)
        })
        .await
    }
}

/// Waits until `probe` gives a value.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(180), "no {what} within 180 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A MAC address that follows from the server's id.
pub fn mac(id: &str) -> String {
    format!("fa:16:3e:{}:{}:{}", &id[0..2], &id[2..4], &id[4..6])
}

/// A network with one subnet, `10.201.x.0/24`.
pub fn network(x: u8) -> NetworkSpec {
    NetworkSpec {
        id: Uuid::new_v4().to_string(),
        name: "private".into(),
        mtu: 1450,
        subnets: vec![SubnetSpec {
            id: Uuid::new_v4().to_string(),
            cidr: format!("10.201.{x}.0/24"),
            gateway_ip: Some(format!("10.201.{x}.1").parse().unwrap()),
            enable_dhcp: true,
            dns_nameservers: vec!["9.9.9.9".parse().unwrap()],
        }],
    }
}

/// A NIC of server `id` on `network` with the host number `host`.
pub fn nic(id: &str, network: &NetworkSpec, host: u8) -> NicSpec {
    let subnet = &network.subnets[0];
    let ip = subnet.cidr.replace(".0/24", &format!(".{host}"));
    NicSpec {
        port_id: Uuid::new_v4().to_string(),
        mac_address: mac(id),
        fixed_ips: vec![FixedIp { subnet_id: subnet.id.clone(), ip_address: ip.parse().unwrap() }],
        network: network.clone(),
    }
}

/// A guest on a base image, with a new id.
pub fn spec_guest(base: &Path) -> Guest {
    let server_id = Uuid::new_v4().to_string();
    Guest {
        spec: GuestSpec {
            instance_name: format!("instance-{}", &server_id[..8]),
            server_id,
            generation: 1,
            display_name: "tiny".into(),
            hostname: "tiny".into(),
            project_id: "1f2e3d4c5b6a79880123456789abcdef".into(),
            user_id: "fedcba98765432100123456789abcdef".into(),
            launch_index: 0,
            reservation_id: "r-12345678".into(),
            availability_zone: "nova".into(),
            flavor: GuestFlavor {
                name: "m1.nano".into(),
                vcpus: 1,
                ram_mb: 32,
                root_gb: 0,
                ephemeral_gb: 0,
                swap_mb: 0,
                extra_specs: BTreeMap::new(),
            },
            image: ImageSource {
                id: "7b0c1f0e-0000-4000-8000-000000000001".into(),
                disk_format: "raw".into(),
                size: 1 << 20,
                virtual_size: 1 << 20,
                sha512: String::new(),
                properties: BTreeMap::new(),
            },
            kernel: None,
            ramdisk: None,
            nics: Vec::new(),
            metadata: BTreeMap::new(),
            key_name: None,
            public_key: None,
            user_data: None,
            admin_pass: None,
            personality: Vec::new(),
            config_drive: false,
            power: WantedPower::Running,
        },
        base: Some(BaseImage { path: base.to_owned(), format: "raw".into(), virtual_size: 1 << 20 }),
        kernel: None,
        ramdisk: None,
        config_drive: None,
    }
}
