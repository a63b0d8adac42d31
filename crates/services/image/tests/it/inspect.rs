//! The header inspector: alone, with real images, with mutated ones, and behind the API.

use crate::{
    corpus::{self, Case},
    support::each,
};
use ferrostack_image::inspect::{Declared, Found, Refusal, inspect, inspect_bytes};
use proptest::prelude::*;
use serde_json::json;
use std::{fs::File, process::Command};

const MAX: u64 = 16 << 40;

fn declared(disk_format: &str, container_format: &str) -> Declared {
    Declared { disk_format: disk_format.into(), container_format: container_format.into(), rules: MAX.into() }
}

fn look(case: &Case) -> Result<Found, Refusal> {
    inspect_bytes(&case.bytes, &declared(case.disk_format, "bare"))
}

#[test]
fn whole_images_pass() {
    for (case, size) in corpus::good() {
        let found = look(&case).unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
        assert_eq!(found.virtual_size, Some(size), "{}", case.name);
    }
}

#[test]
fn every_hostile_image_is_refused() {
    for case in corpus::hostile() {
        let result = look(&case);
        assert!(
            matches!(result, Err(Refusal::Content(_))),
            "{} as {}: {result:?}",
            case.name,
            case.disk_format
        );
    }
}

#[test]
fn archives_go_into_their_containers_only() {
    let tar = corpus::tar("disk.ovf");
    let gzip = corpus::hostile().into_iter().find(|c| c.name == "IMG-20 gzip as raw").unwrap().bytes;
    let qcow2 = corpus::qcow2(3, 1 << 30);
    for (container, bytes, passes) in [
        ("ova", &tar, true),
        ("docker", &tar, true),
        ("docker", &gzip, true),
        ("compressed", &gzip, true),
        ("ova", &gzip, false),
        ("compressed", &tar, false),
        ("ova", &qcow2, false),
        ("docker", &qcow2, false),
        ("compressed", &qcow2, false),
    ] {
        let result = inspect_bytes(bytes, &declared("qcow2", container));
        assert_eq!(result.is_ok(), passes, "{container}: {result:?}");
    }
    // A tar that is a qcow2 as well.
    let mut both = qcow2;
    corpus::put(&mut both, 257, b"ustar");
    assert!(inspect_bytes(&both, &declared("qcow2", "ova")).is_err());
}

/// QEMU rewrites the content id in place: a shorter one leaves the end of the old text after the new one's.
#[test]
fn a_shorter_content_id_leaves_a_tail() {
    if Command::new("qemu-img").arg("--version").output().is_err() {
        eprintln!("qemu-img is not installed: skipped");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let done = Command::new("qemu-img").args(["create", "-f", "vmdk"]).arg(&out).arg("9M").output().unwrap();
    assert!(done.status.success());
    let image = std::fs::read(&out).unwrap();
    let text = image.windows(20).position(|w| w == b"# Disk DescriptorFil").unwrap();
    let end = text + image[text..].iter().position(|b| *b == 0).unwrap();
    let with = |tail: &[u8]| {
        let mut changed = image.clone();
        changed[end + 1..end + 1 + tail.len()].copy_from_slice(tail);
        std::fs::write(&out, changed).unwrap();
        inspect(&File::open(&out).unwrap(), &declared("vmdk", "bare"))
    };
    for length in 0..=8 {
        assert!(with(&image[end - length..end]).is_ok(), "{length}");
    }
    assert!(with(&image[end - 9..end]).is_err());
    assert!(with(b"x").is_err() && with(b"\0x").is_err());
}

#[test]
fn real_images_pass() {
    if Command::new("qemu-img").arg("--version").output().is_err() {
        eprintln!("qemu-img is not installed: skipped");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("disk.raw");
    let mut data = vec![0_u8; 9 << 20];
    for (i, byte) in data.iter_mut().enumerate().skip(2 << 20).take(3 << 20) {
        *byte = ((i * i) >> 7) as u8;
    }
    std::fs::write(&raw, &data).unwrap();
    for (format, qemu, options) in [
        ("qcow2", "qcow2", "compat=0.10"),
        ("qcow2", "qcow2", "compat=1.1"),
        ("qcow2", "qcow2", "lazy_refcounts=on"),
        ("qcow2", "qcow2", "compression_type=zstd"),
        ("qcow2", "qcow2", "extended_l2=on"),
        ("qcow2", "qcow2", "cluster_size=2M"),
        ("qcow2", "qcow2", "cluster_size=512"),
        ("vmdk", "vmdk", "subformat=monolithicSparse"),
        ("vmdk", "vmdk", "subformat=streamOptimized"),
        ("vhd", "vpc", "subformat=dynamic,force_size=on"),
        ("vhd", "vpc", "subformat=fixed,force_size=on"),
        ("vhdx", "vhdx", "subformat=dynamic"),
        ("vhdx", "vhdx", "subformat=fixed"),
        ("vdi", "vdi", "static=off"),
        ("vdi", "vdi", "static=on"),
        ("raw", "raw", ""),
    ] {
        let out = dir.path().join("out");
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-f", "raw", "-O", qemu]);
        if !options.is_empty() {
            command.args(["-o", options]);
        }
        let done = command.arg(&raw).arg(&out).output().unwrap();
        assert!(done.status.success(), "{options}: {}", String::from_utf8_lossy(&done.stderr));
        let found = inspect(&File::open(&out).unwrap(), &declared(format, "bare"));
        let found = found.unwrap_or_else(|e| panic!("{format} {options}: {e:?}"));
        assert_eq!(found.virtual_size, Some(9 << 20), "{format} {options}");
    }
    // The flat kind refers to a second file.
    let flat = dir.path().join("flat.vmdk");
    let done = Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat"])
        .arg(&raw)
        .arg(&flat)
        .output()
        .unwrap();
    assert!(done.status.success());
    assert!(inspect(&File::open(&flat).unwrap(), &declared("vmdk", "bare")).is_err());
}

/// A small generator, so that a failure can be made again.
struct Lcg(u64);
impl Lcg {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 17
    }
}

/// A bounded fuzz run: interesting numbers at random places of the headers of every image of the corpus.
#[test]
fn mutations_never_panic_and_never_pass_with_another_file() {
    let mut random = Lcg(20_261_120);
    let mut seeds: Vec<Case> = corpus::good().into_iter().map(|(case, _)| case).collect();
    seeds.extend(corpus::hostile().into_iter().filter(|c| c.bytes.len() <= 4 << 20).step_by(7));
    let words: [u64; 10] = [0, 1, 2, 4, 255, 512, 65_536, 1 << 31, 1 << 63, u64::MAX];
    for seed in &seeds {
        if seed.bytes.is_empty() {
            continue;
        }
        for _ in 0..60 {
            let mut case = seed.clone();
            for _ in 0..=random.next() % 3 {
                // Most tables begin at a round place.
                let window = [512, 2048, 1 << 18, case.bytes.len() as u64][(random.next() % 4) as usize];
                let at = (random.next() % window.min(case.bytes.len() as u64)) as usize;
                let word = words[(random.next() % 10) as usize].to_be_bytes();
                let wanted = [1, 2, 4, 8][(random.next() % 4) as usize];
                let length = wanted.min(case.bytes.len() - at);
                case.bytes[at..at + length].copy_from_slice(&word[8 - length..]);
            }
            if random.next().is_multiple_of(4) {
                case.bytes.truncate((random.next() % case.bytes.len() as u64) as usize);
            }
            let passed = look(&case).is_ok();
            let head = case.bytes.get(..32).unwrap_or_default();
            if passed && head.starts_with(b"QFI\xfb") {
                assert_eq!(head[8..20], [0; 12], "{}: a backing file passed", case.name);
                if head[7] == 3 {
                    assert_eq!(case.bytes[79] & 4, 0, "{}: a data file passed", case.name);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096), format in 0_usize..11) {
        let names = ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "aki", "ploop", "", "x"];
        let _ = inspect_bytes(&bytes, &declared(names[format], "bare"));
    }

    #[test]
    fn a_passed_qcow2_has_the_size_its_header_says(size in 1_u64..(1 << 44)) {
        let entries = size.div_ceil(512 << 20);
        let mut bytes = corpus::qcow2(3, size.min(1 << 30));
        corpus::put(&mut bytes, 24, &size.to_be_bytes());
        corpus::put(&mut bytes, 36, &u32::try_from(entries).unwrap().to_be_bytes());
        bytes.resize((3 << 16) + entries as usize * 8, 0);
        let found = inspect_bytes(&bytes, &declared("qcow2", "bare")).unwrap();
        prop_assert_eq!(found.virtual_size, Some(size));
    }

    #[test]
    fn no_cut_of_a_whole_image_passes_as_more_than_it_is(cut in 0_usize..(4 << 16)) {
        let bytes = corpus::qcow2(3, 1 << 30);
        // The last table is two entries at the start of the last cluster.
        let passes = inspect_bytes(&bytes[..cut], &declared("qcow2", "bare")).is_ok();
        prop_assert_eq!(passes, cut >= (3 << 16) + 16);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_uploads_leave_nothing() {
    each(async |cloud| {
        // One image is refused again and again: each time it is as it was, and nothing is stored.
        let mut by_format = std::collections::BTreeMap::new();
        for case in corpus::hostile() {
            if case.bytes.len() > 1 << 20 {
                continue;
            }
            let (id, _) = match by_format.get(case.disk_format) {
                Some(known) => known,
                None => {
                    let container = match case.disk_format {
                        amazon @ ("aki" | "ari" | "ami") => amazon,
                        _ => "bare",
                    };
                    let id = cloud
                        .create(json!({"disk_format": case.disk_format, "container_format": container}))
                        .await;
                    let before = cloud.show(&id).await;
                    by_format.entry(case.disk_format).or_insert((id, before))
                }
            };
            let (status, error) = cloud.upload("member", id, case.bytes).await;
            assert_eq!(status, 415, "{}: {error}", case.name);
            assert!(error["message"].as_str().unwrap().contains("refused"), "{error}");
        }
        for (id, before) in by_format.values() {
            crate::support::eventually("queued again", async || cloud.show(id).await["status"] == "queued")
                .await;
            let mut after = cloud.show(id).await;
            after["updated_at"] = before["updated_at"].clone();
            assert_eq!(&after, before);
        }
        crate::support::eventually("nothing is stored", async || cloud.stored().is_empty()).await;
        // And a good one passes still.
        let (id, _) = &by_format["qcow2"];
        assert_eq!(cloud.upload("member", id, corpus::qcow2(3, 1 << 30)).await.0, 204);
        assert_eq!(cloud.show(id).await["virtual_size"], 1 << 30);
    })
    .await;
}

/// Not a test: writes the corpus as seeds for `cargo fuzz`, the small ones where they are kept.
#[test]
#[ignore = "writes fuzz/corpus/inspect and fuzz/seeds/inspect"]
fn write_fuzz_corpus() {
    let formats = ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "aki", "ari", "ami", "ploop"];
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../fuzz");
    for kind in ["corpus", "seeds"] {
        std::fs::create_dir_all(format!("{directory}/{kind}/inspect")).unwrap();
    }
    let good = corpus::good().into_iter().map(|(case, _)| case);
    let archives = [
        (
            1,
            corpus::tar_of(&[
                corpus::tar_member(b'0', "a.ovf", "", b"x"),
                corpus::tar_member(b'L', "x", "", b"b\0"),
            ]),
        ),
        (
            1,
            corpus::tar_of(&[
                corpus::tar_member(b'x', "p", "", b"9 path=a\n"),
                corpus::tar_member(b'2', "b", "c", b""),
            ]),
        ),
        (2, corpus::tar("a")),
        (3, corpus::zip("disk.raw", |_| {})),
        (3, corpus::zip("../x", |_| {})),
    ];
    let mut inputs: Vec<(usize, Vec<u8>)> =
        archives.into_iter().map(|(container, bytes)| (container * formats.len(), bytes)).collect();
    let cases: Vec<Case> = good.chain(corpus::hostile().into_iter().step_by(3)).collect();
    for case in cases.into_iter().filter(|c| c.bytes.len() <= 400_000) {
        let Some(format) = formats.iter().position(|f| *f == case.disk_format) else { continue };
        inputs.push((format, case.bytes));
    }
    for (i, (choice, bytes)) in inputs.into_iter().enumerate() {
        let bytes = [vec![choice as u8], bytes].concat();
        std::fs::write(format!("{directory}/corpus/inspect/{i:04}"), &bytes).unwrap();
        if bytes.len() <= 5000 && i < 60 {
            std::fs::write(format!("{directory}/seeds/inspect/{i:02}"), &bytes).unwrap();
        }
    }
}
