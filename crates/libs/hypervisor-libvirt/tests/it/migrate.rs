//! Guests that move between two libvirtds.
//!
//! `FERROSTACK_TEST_LIBVIRT_PEERS` holds the URIs of two libvirtds that this machine reaches, and
//! `FERROSTACK_TEST_LIBVIRT_PEER_URIS` those by which they reach each other (qemu+tls, in the same order).

use crate::support::{eventually, network, nic, spec_guest};
use ferrostack_hypervisor::{Guest, Hypervisor, LiveMigration};
use ferrostack_hypervisor_libvirt::{LibvirtHypervisor, LibvirtOptions, VirtType};
use ferrostack_model::{ErrorKind, live_migration::Offer, server::PowerState};
use std::{os::unix::fs::PermissionsExt, path::PathBuf};
use uuid::Uuid;
use virt::{connect::Connect, sys};

struct Peer {
    driver: LibvirtHypervisor,
    options: LibvirtOptions,
}

struct Pair {
    a: Peer,
    b: Peer,
    temp: tempfile::TempDir,
}

async fn pair(shared: bool) -> Option<Pair> {
    let two = |name: &str| {
        let text = std::env::var(name).ok()?;
        let mut words = text.split_whitespace().map(str::to_owned);
        Some((words.next()?, words.next()?))
    };
    let (Some(peers), Some(uris)) =
        (two("FERROSTACK_TEST_LIBVIRT_PEERS"), two("FERROSTACK_TEST_LIBVIRT_PEER_URIS"))
    else {
        eprintln!("FERROSTACK_TEST_LIBVIRT_PEERS is not set: nothing is tested");
        return None;
    };
    let temp = match std::env::var("FERROSTACK_TEST_LIBVIRT_STATE") {
        Ok(dir) => tempfile::tempdir_in(dir).unwrap(),
        Err(_) => tempfile::tempdir().unwrap(),
    };
    std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let peer = async |uri: &str, migration_uri: &str, dir: &str| {
        let mut options = LibvirtOptions::new(uri, temp.path().join(dir));
        options.virt_type = VirtType::Qemu;
        options.migration_uri = Some(migration_uri.to_owned());
        let driver = LibvirtHypervisor::connect(options.clone()).await.map_err(|e| e.for_log()).unwrap();
        Peer { driver, options }
    };
    let a = peer(&peers.0, &uris.0, "a").await;
    let b = peer(&peers.1, &uris.1, if shared { "a" } else { "b" }).await;
    Some(Pair { a, b, temp })
}

impl Pair {
    /// A guest that counts in its memory, and has marked its disk.
    fn guest(&self, on: &str) -> Guest {
        let path: PathBuf = self.temp.path().join(format!("base-{on}"));
        let mut disk = include_bytes!("boot.bin").to_vec();
        disk[3] = b'C';
        disk.resize(1 << 20, 0);
        std::fs::write(&path, disk).unwrap();
        spec_guest(&path)
    }
}

impl Peer {
    fn virsh(&self) -> Connect {
        Connect::open(Some(&self.options.uri)).unwrap()
    }

    fn live(&self) -> &dyn LiveMigration {
        self.driver.live_migration().unwrap()
    }

    fn file(&self, id: &str, name: &str) -> PathBuf {
        self.options.state_dir.join("instances").join(id).join(name)
    }

    fn has_domain(&self, id: &str) -> bool {
        self.virsh().lookup_domain_by_uuid_string(id).is_ok()
    }

    /// The latest number that the guest said here, if it is at least `least`.
    async fn counts(&self, id: &str, least: u32) -> u32 {
        eventually("number", || async {
            let bytes = self.driver.console_output(id, 1 << 16).await.ok()?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let said = text
                .lines()
                .filter(|l| l.len() == 4)
                .filter_map(|l| u32::from_str_radix(l, 16).ok())
                .next_back()?;
            (said >= least).then_some(said)
        })
        .await
    }

    async fn boots(&self, id: &str) -> usize {
        let bytes = self.driver.console_output(id, 1 << 16).await.unwrap();
        String::from_utf8_lossy(&bytes).matches("tiny guest up").count()
    }

    /// The guest's mark on its disk.
    fn marked(&self, id: &str) -> bool {
        let raw = self.options.state_dir.join(format!("{id}.raw"));
        let done = std::process::Command::new("qemu-img")
            .args(["convert", "-U", "-f", "qcow2", "-O", "raw"])
            .args([&self.file(id, "disk"), &raw])
            .status()
            .unwrap();
        assert!(done.success());
        let bytes = std::fs::read(&raw).unwrap();
        std::fs::remove_file(raw).unwrap();
        bytes[1022..1024] == [0x55, 0xaa]
    }

    /// Paths and UUID of what runs and of what is written down (S-2020-006).
    fn definitions(&self, id: &str) -> [Vec<String>; 2] {
        let domain = self.virsh().lookup_domain_by_uuid_string(id).unwrap();
        [0, sys::VIR_DOMAIN_XML_INACTIVE].map(|flags| {
            let xml = domain.xml_desc(flags).unwrap();
            let wanted =
                ["<uuid>", "<source file=", "<source network=", "<mac ", "<log file=", "<kernel>", "<model "];
            let mut lines: Vec<String> = xml
                .lines()
                .map(str::trim)
                .filter(|line| wanted.iter().any(|w| line.starts_with(w)))
                // What libvirt adds to what runs.
                .map(|line| line.split(" index=").next().unwrap_or(line).trim_end_matches("/>").to_owned())
                .map(|line| match line.split_once("<source network=") {
                    Some((_, rest)) => format!("network {}", rest.split(' ').next().unwrap_or("")),
                    None => line,
                })
                .filter(|line| !line.contains("/base-"))
                .collect();
            lines.sort();
            lines
        })
    }
}

async fn moves(shared: bool) {
    let Some(pair) = pair(shared).await else { return };
    let (a, b) = (&pair.a, &pair.b);
    let mut guest = pair.guest("a");
    let id = guest.spec.server_id.clone();
    let network = network(if shared { 31 } else { 32 });
    guest.spec.nics = vec![nic(&id, &network, 9)];
    guest.spec.flavor.ephemeral_gb = 1;
    assert_eq!(a.driver.ensure(&guest).await.unwrap(), PowerState::Running);
    let before = a.counts(&id, 3).await;

    let marker = Uuid::new_v4().to_string();
    a.live().check(&id, &marker).await.unwrap();
    let wrong = b.live().receive(&guest, &marker, Some(shared)).await.unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::BadRequest, "{}", wrong.for_log());
    let mut there = guest.clone();
    there.spec.generation = 7;
    let offer = b.live().receive(&there, &marker, None).await.map_err(|e| e.for_log()).unwrap();
    assert_eq!(offer.shared, shared);
    // Twice is once.
    let again = b.live().receive(&there, &marker, Some(!shared)).await.map_err(|e| e.for_log()).unwrap();
    assert_eq!(again, offer);
    assert!(!b.has_domain(&id));

    let start = std::time::Instant::now();
    let sent = a.live().send(&id, &offer, false).await.map_err(|e| e.for_log()).unwrap();
    eprintln!("sent in {:?}, shared: {shared}", start.elapsed());
    assert_eq!(sent, PowerState::NoState);
    for _ in 0..2 {
        assert_eq!(b.live().settle(&there).await.map_err(|e| e.for_log()).unwrap(), PowerState::Running);
        assert_eq!(a.live().send(&id, &offer, false).await.unwrap(), PowerState::NoState);
    }
    assert!(!a.has_domain(&id) && b.has_domain(&id), "one guest, on the destination");
    // It goes on where it was: no boot, and what was in memory and on the disk is there.
    let after = b.counts(&id, before + 2).await;
    assert!(after < before + 200, "{before} then {after}");
    assert_eq!(b.boots(&id).await, usize::from(shared), "a shared console log holds the first boot");
    assert!(b.marked(&id));
    let [active, inactive] = b.definitions(&id);
    assert_eq!(active, inactive);
    assert!(active.iter().any(|line| line.contains(b.file(&id, "disk").to_str().unwrap())), "{active:?}");
    let listed = b.driver.list().await.unwrap();
    let listed = listed.iter().find(|g| g.server_id == id).unwrap();
    assert_eq!((listed.generation, listed.power), (7, PowerState::Running));

    // What is left on the source goes, and nothing of the guest's with it.
    for _ in 0..2 {
        a.driver.destroy(&id).await.unwrap();
    }
    assert_eq!(a.file(&id, "disk").exists(), shared);
    assert!(b.marked(&id));
    b.counts(&id, after + 1).await;
    // It starts from its own definition with its own disks.
    assert_eq!(b.driver.stop(&id, 0).await.unwrap(), PowerState::Shutdown);
    assert_eq!(b.driver.start(&id).await.unwrap(), PowerState::Running);
    assert!(b.marked(&id));
    b.driver.destroy(&id).await.unwrap();
    assert!(!b.file(&id, "disk").exists() && !b.has_domain(&id));
}

#[tokio::test(flavor = "multi_thread")]
async fn s_2020_006_u6_a_guest_moves_with_its_disks() {
    moves(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_moves_on_shared_storage() {
    moves(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn x09_r23_a_failed_move_leaves_nothing_there_and_changes_nothing_here() {
    let Some(pair) = pair(false).await else { return };
    let (a, b) = (&pair.a, &pair.b);
    let mut guest = pair.guest("a");
    let id = guest.spec.server_id.clone();
    guest.spec.nics = vec![nic(&id, &network(33), 9)];
    a.driver.ensure(&guest).await.unwrap();
    let xml =
        |peer: &Peer, flags| peer.virsh().lookup_domain_by_uuid_string(&id).unwrap().xml_desc(flags).unwrap();
    let (active, inactive) = (xml(a, 0), xml(a, sys::VIR_DOMAIN_XML_INACTIVE));
    let before = a.counts(&id, 2).await;
    let marker = Uuid::new_v4().to_string();
    a.live().check(&id, &marker).await.unwrap();
    let offer = b.live().receive(&guest, &marker, None).await.unwrap();
    // Nobody there; nothing that is not encrypted; a destination whose disk is missing.
    let nobody = Offer { uri: "qemu+tls://127.0.0.9/system".into(), ..offer.clone() };
    let plain = Offer { uri: "qemu+tcp://127.0.0.9/system".into(), ..offer.clone() };
    for wrong in [&nobody, &plain] {
        let error = a.live().send(&id, wrong, false).await.unwrap_err();
        eprintln!("{}", error.for_log());
        assert!(!error.public.contains("127.0.0.9"), "{}", error.public);
    }
    std::fs::remove_file(b.file(&id, "disk")).unwrap();
    a.live().send(&id, &offer, true).await.unwrap_err();
    assert_eq!(a.live().abort(&id, true).await.unwrap(), PowerState::Running);
    assert_eq!(b.live().settle(&guest).await.unwrap(), PowerState::NoState);
    assert!(!b.has_domain(&id) && !b.file(&id, "").exists());
    for network in b.virsh().list_all_networks(0).unwrap() {
        assert!(!network.xml_desc(0).unwrap().contains(&crate::support::mac(&id)), "a DHCP entry is left");
    }
    a.counts(&id, before + 1).await;
    assert_eq!(a.boots(&id).await, 1);
    assert_eq!((xml(a, 0), xml(a, sys::VIR_DOMAIN_XML_INACTIVE)), (active, inactive));
    let left: Vec<_> = std::fs::read_dir(a.file(&id, "")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains(&marker)), "{left:?}");
    a.driver.destroy(&id).await.unwrap();
}

/// A host that was evacuated comes back: the files are another host's now.
#[tokio::test(flavor = "multi_thread")]
async fn r29_a_returning_host_leaves_shared_files_alone() {
    let Some(pair) = pair(true).await else { return };
    let (a, b) = (&pair.a, &pair.b);
    let guest = pair.guest("a");
    let id = guest.spec.server_id.clone();
    a.driver.ensure(&guest).await.unwrap();
    a.counts(&id, 1).await;
    // Off, as after a power failure; its definition is still there.
    a.driver.stop(&id, 0).await.unwrap();
    let mut moved = guest.clone();
    moved.spec.generation = 9;
    assert_eq!(b.driver.ensure(&moved).await.unwrap(), PowerState::Running);
    assert!(b.marked(&id), "the disk is kept, not made anew");
    a.driver.destroy(&id).await.unwrap();
    assert!(!a.has_domain(&id) && b.has_domain(&id));
    assert!(b.marked(&id));
    b.driver.destroy(&id).await.unwrap();
    assert!(!b.file(&id, "disk").exists());
}
