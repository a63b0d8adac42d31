//! Images that want to do harm, and an image service that lies: nothing of it reaches the hypervisor.

use crate::{
    cloud::{eventually, uuid},
    images::{Site, guest_of, raw, reason},
    orders::{done, running},
};
use ferrostack_model::{
    guest::GuestSpec,
    image::ImageSource,
    message::{Order, Outcome},
    server::PowerState,
};
use std::{collections::BTreeMap, path::PathBuf, sync::atomic::Ordering, time::Duration};

/// A qcow2 of version 3, as far as its header goes.
fn qcow2(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![0; 256 * 1024];
    bytes[..4].copy_from_slice(b"QFI\xfb");
    bytes[4..8].copy_from_slice(&3u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&16u32.to_be_bytes());
    bytes[24..32].copy_from_slice(&(1u64 << 20).to_be_bytes());
    change(&mut bytes);
    bytes
}

fn put(at: usize, with: &'static [u8]) -> impl FnOnce(&mut Vec<u8>) {
    move |bytes| bytes[at..at + with.len()].copy_from_slice(with)
}

/// The families of the hostile corpus that a boot can meet, with the format they are declared to be.
fn families() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let text = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(64 * 1024, 0);
        bytes
    };
    let at = |offset: usize, magic: &[u8]| {
        let mut bytes = vec![0; 64 * 1024];
        bytes[offset..offset + magic.len()].copy_from_slice(magic);
        bytes
    };
    let mut all = vec![
        (
            "IMG-01 backing file",
            "qcow2",
            qcow2(|b| {
                b[8..16].copy_from_slice(&512u64.to_be_bytes());
                b[16..20].copy_from_slice(&11u32.to_be_bytes());
                b[512..523].copy_from_slice(b"/etc/passwd");
            }),
        ),
        (
            "IMG-02 backing json:",
            "qcow2",
            qcow2(|b| {
                b[8..16].copy_from_slice(&512u64.to_be_bytes());
                b[16..20].copy_from_slice(&40u32.to_be_bytes());
                b[512..552].copy_from_slice(br#"json:{"driver":"file","filename":"/etc"}"#);
            }),
        ),
        ("IMG-03 data file", "qcow2", qcow2(put(72, &[0, 0, 0, 0, 0, 0, 0, 4]))),
        ("IMG-05 version 1", "qcow2", qcow2(put(4, &[0, 0, 0, 1]))),
        ("IMG-05 version 255", "qcow2", qcow2(put(4, &[0, 0, 0, 255]))),
        ("IMG-06 no bytes", "qcow2", qcow2(put(24, &[0; 8]))),
        ("IMG-06 2^63", "qcow2", qcow2(put(24, &[0x80, 0, 0, 0, 0, 0, 0, 0]))),
        ("IMG-08 clusters of 2^63", "qcow2", qcow2(put(20, &[0, 0, 0, 63]))),
        ("IMG-08 a giant L1 table", "qcow2", qcow2(put(36, &[0xff, 0xff, 0xff, 0xff]))),
        ("IMG-08 a giant refcount table", "qcow2", qcow2(put(56, &[0xff, 0xff, 0xff, 0xff]))),
        (
            "IMG-09 flat VMDK as raw",
            "raw",
            text("# Disk DescriptorFile\nversion=1\nRW 2048 FLAT \"/etc/passwd\" 0\n"),
        ),
        ("IMG-10 sparse VMDK as raw", "raw", at(0, b"KDMV")),
        ("IMG-11 VMDK", "vmdk", at(0, b"KDMV")),
        ("IMG-12 qcow2 as raw", "raw", qcow2(|_| ())),
        ("IMG-13 VHD as raw", "raw", at(64 * 1024 - 512, b"conectix")),
        ("IMG-13 VHDX as raw", "raw", at(0, b"vhdxfile")),
        ("IMG-13 VDI as raw", "raw", at(0x40, &[0x7f, 0x10, 0xda, 0xbe])),
        ("IMG-13 QED as raw", "raw", at(0, b"QED\0")),
        ("IMG-13 LUKS as raw", "raw", at(0, b"LUKS\xba\xbe")),
        ("IMG-13 ISO as raw", "raw", at(0x8001, b"CD001")),
        ("IMG-14 raw as qcow2", "qcow2", vec![0; 64 * 1024]),
        ("IMG-15 qcow2 and ISO", "qcow2", qcow2(put(0x8001, b"CD001"))),
        ("IMG-15 qcow2 and VDI", "qcow2", qcow2(put(0x40, &[0x7f, 0x10, 0xda, 0xbe]))),
        ("IMG-15 ISO and qcow2", "iso", qcow2(put(0x8001, b"CD001"))),
        ("IMG-13 not an ISO", "iso", vec![0; 64 * 1024]),
        ("IMG-20 tar as qcow2", "qcow2", at(257, b"ustar")),
        ("IMG-22 snapshots", "qcow2", qcow2(put(60, &[0, 0, 0xff, 0xff]))),
        ("IMG-23 encrypted", "qcow2", qcow2(put(32, &[0, 0, 0, 2]))),
        ("IMG-25 backing beyond the end", "qcow2", qcow2(put(8, &[0xff; 12]))),
        ("empty", "raw", Vec::new()),
        ("cut off", "qcow2", b"QFI\xfb\0\0\0\x03".to_vec()),
        ("a format of nobody", "floppy", vec![0; 512]),
        ("a format that is a path", "../../etc", vec![0; 512]),
    ];
    for bit in (0..64).filter(|bit| !matches!(bit, 3 | 4)) {
        let flags = (1u64 << bit).to_be_bytes();
        all.push(("IMG-04 a feature bit", "qcow2", qcow2(move |b| b[72..80].copy_from_slice(&flags))));
    }
    all
}

/// The record fits the bytes, so the checksum does too: the agent looks for itself. OSSA-2023-002, 2024-001, 2024-002.
#[tokio::test]
async fn ossa_2024_001_2024_002_2023_002_no_hostile_image_reaches_the_hypervisor() {
    let site = Site::new().await;
    for (n, (family, format, bytes)) in families().into_iter().enumerate() {
        let image = site.image(format, bytes);
        let outcome = site.build(&format!("family-{n}"), guest_of(&image)).await;
        let (message, elsewhere) = reason(&outcome);
        assert!(!elsewhere, "{family}: {message}");
        assert!(message.len() < 300 && !message.contains("unexpected error"), "{family}: {message}");
        assert_eq!(site.cached(), Vec::<PathBuf>::new(), "{family}");
    }
    assert!(site.filed.given.lock().is_empty(), "the hypervisor was asked");
}

/// CVE-2022-4134: bytes that changed after the record was made.
#[tokio::test]
async fn x18_no_changed_byte_is_used() {
    let site = Site::new().await;
    let good = raw(7, 50_000);
    for at in [0, 1, 24_999, 25_000, 49_999] {
        let image = site.image("raw", good.clone());
        let mut bad = good.clone();
        bad[at] ^= 1;
        site.store.images.lock().insert(image.id.clone(), bad);
        let outcome = site.build(&format!("flip-{at}"), guest_of(&image)).await;
        assert!(reason(&outcome).0.contains("sha512 checksum differs"), "{outcome:?}");
        assert_eq!(site.cached(), Vec::<PathBuf>::new(), "the bytes are gone");
    }
    // A longer one is given up before it fills the disk.
    let image = site.image("raw", good.clone());
    site.store.images.lock().insert(image.id.clone(), raw(7, 5_000_000));
    let outcome = site.build("longer", guest_of(&image)).await;
    assert!(reason(&outcome).0.contains("more than 50000 bytes came"), "{outcome:?}");
    // Without a checksum nothing is believed.
    for sha512 in ["", "ab", &"g".repeat(128)] {
        let image = ImageSource { sha512: sha512.into(), ..site.image("raw", good.clone()) };
        let outcome = site.build(&format!("sum-{}", sha512.len()), guest_of(&image)).await;
        assert!(reason(&outcome).0.contains("no valid id and sha512"), "{outcome:?}");
    }
    assert!(site.filed.given.lock().is_empty());
    // The same holds for kernels and ramdisks.
    for part in ["kernel", "ramdisk"] {
        let bad = site.image("aki", raw(1, 1000));
        site.store.images.lock().insert(bad.id.clone(), raw(2, 1000));
        let mut spec = guest_of(&site.image("raw", good.clone()));
        *(if part == "kernel" { &mut spec.kernel } else { &mut spec.ramdisk }) = Some(bad);
        let outcome = site.build(part, spec).await;
        assert!(reason(&outcome).0.contains("sha512 checksum differs"), "{part}: {outcome:?}");
    }
    assert!(site.filed.given.lock().is_empty());
}

/// OSSA-2013-037: one file an image, whatever its properties say.
#[tokio::test]
async fn ossa_2013_037_properties_make_no_files() {
    let site = Site::new().await;
    let image = site.image("raw", raw(7, 10_000));
    for n in 0..50 {
        let properties: BTreeMap<String, String> = [
            ("os_type", format!("os-{n}")),
            ("x", format!("../../{n}")),
            ("os_distro", "/etc/passwd".into()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
        let spec = guest_of(&ImageSource { properties, ..image.clone() });
        let id = spec.server_id.clone();
        assert_eq!(site.build(&format!("build-{n}"), spec).await, running());
        site.cloud.order(&format!("delete-{n}"), &id, 2, Order::Destroy).await;
        assert_eq!(site.cloud.answer(&format!("delete-{n}")).await, done(PowerState::NoState));
    }
    assert_eq!((site.cached().len(), site.downloads()), (1, 1));
    let name = site.cached()[0].file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with(&image.id), "{name}");
}

/// The waiter does not need who fetched first.
#[tokio::test]
async fn r37_a_waiter_survives_the_end_of_who_fetches() {
    let site = Site::new().await;
    *site.store.slow.lock() = Duration::from_secs(3600);
    let image = site.image("raw", raw(7, 400_000));
    let (first, second) = (guest_of(&image), guest_of(&image));
    let ids = [first.server_id.clone(), second.server_id.clone()];
    site.cloud.order("first", &ids[0], 1, Order::Ensure { spec: Box::new(first) }).await;
    eventually("half of it", || site.cached().pop()).await;
    site.cloud.order("second", &ids[1], 1, Order::Ensure { spec: Box::new(second) }).await;
    // Who fetches goes away in the middle; the image service is well again.
    *site.store.slow.lock() = Duration::ZERO;
    site.cloud.order("gone", &ids[0], 2, Order::Destroy).await;
    assert_eq!(site.cloud.answer("gone").await, done(PowerState::NoState));
    assert_eq!(site.cloud.answer("second").await, running());
    assert_eq!((site.cached().len(), site.downloads()), (1, 2));
}

/// The cache is swept at every build, and never below a guest.
#[tokio::test]
async fn r36_no_base_in_use_is_swept() {
    let site = Site::with(3_000).await;
    let images: Vec<ImageSource> = (0..6).map(|n| site.image("raw", raw(n, 1000))).collect();
    let old = || {
        for file in site.cached() {
            let long_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
            std::fs::File::open(file).unwrap().set_modified(long_ago).unwrap();
        }
    };
    let mut alive: Vec<(String, usize)> = Vec::new();
    for n in 0..60usize {
        let which = (n * 7) % 6;
        let spec: GuestSpec = guest_of(&images[which]);
        let id = spec.server_id.clone();
        old();
        assert_eq!(site.build(&format!("build-{n}"), spec).await, running());
        alive.push((id, which));
        if alive.len() > 2 {
            let (id, _) = alive.remove(0);
            let job = format!("delete-{n}");
            site.cloud.order(&job, &id, 2, Order::Destroy).await;
            assert_eq!(site.cloud.answer(&job).await, done(PowerState::NoState));
        }
        for (_, used) in &alive {
            let there = site.cached().iter().any(|p| p.to_string_lossy().contains(&images[*used].id));
            assert!(there, "build {n}: the base of a guest is gone");
        }
    }
    assert!(site.cached().len() <= 4, "what nobody uses goes: {:?}", site.cached());
}

#[tokio::test]
async fn an_image_that_goes_during_the_boot_is_a_fault_of_its_server_only() {
    let site = Site::new().await;
    let image = site.image("raw", raw(7, 10_000));
    site.store.images.lock().remove(&image.id);
    let outcome = site.build("gone", guest_of(&image)).await;
    assert_eq!(reason(&outcome), (format!("Image {} has no data.", image.id).as_str(), false));
    // In the middle: what has begun to come still comes whole, or is begun again and found gone.
    let image = site.image("raw", raw(8, 400_000));
    site.store.break_off.store(1, Ordering::SeqCst);
    *site.store.slow.lock() = Duration::from_millis(300);
    let spec = guest_of(&image);
    let id = spec.server_id.clone();
    site.cloud.order("middle", &id, 1, Order::Ensure { spec: Box::new(spec) }).await;
    eventually("half of it", || site.cached().pop()).await;
    site.store.images.lock().remove(&image.id);
    let outcome = site.cloud.answer("middle").await;
    assert_eq!(reason(&outcome), (format!("Image {} has no data.", image.id).as_str(), false));
    assert_eq!(site.cached(), Vec::<PathBuf>::new());
    // A guest whose base is there does not need the image service.
    let image = site.image("raw", raw(9, 1000));
    assert_eq!(site.build("one", guest_of(&image)).await, running());
    site.store.images.lock().clear();
    assert_eq!(site.build("two", guest_of(&image)).await, running());
    let other = ImageSource { id: uuid(), ..image };
    assert!(matches!(site.build("three", guest_of(&other)).await, Outcome::Failed { .. }));
}
