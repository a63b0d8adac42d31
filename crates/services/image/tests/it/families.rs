//! One test for each family of the hostile corpus, the real programs' images, and the ways in.

use crate::{
    convert::has_qemu_img,
    corpus::{self, CANARY, Case},
    imports,
    stores::{directory, stored, two_stores},
    support::{Cloud, each_with, eventually},
    web::Web,
};
use aws_lc_rs::digest::{SHA512, digest};
use ferrostack_image::inspect::{
    CheckedImage, Declared, MAX_BYTES, MAX_READS, Refusal, Rules, Source, inspect, inspect_source,
};
use ferrostack_settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

const MAX: u64 = 16 << 40;

fn declared(disk_format: &str, container_format: &str, require_match: bool) -> Declared {
    Declared {
        disk_format: disk_format.into(),
        container_format: container_format.into(),
        rules: Rules { require_match, ..MAX.into() },
    }
}

fn look(bytes: &[u8], declared: &Declared) -> Result<Option<u64>, String> {
    let source = Source::new(&bytes, bytes.len() as u64);
    let result = inspect_source(&source, declared);
    let (reads, read) = source.cost();
    assert!(reads <= MAX_READS + 1 && read <= MAX_BYTES + (32 << 20), "{reads} reads of {read} bytes");
    match result {
        Ok(found) => Ok(found.virtual_size),
        Err(Refusal::Content(why)) => Err(why),
        Err(Refusal::Unreadable(error)) => panic!("{error}"),
    }
}

fn family(id: &str) -> Vec<Case> {
    corpus::hostile().into_iter().filter(|c| c.name.starts_with(id)).collect()
}

/// Every image of the family is refused as what it is declared to be; `always`: although nothing need match.
fn refused(id: &str, least: usize, always: bool) {
    let cases = family(id);
    assert!(cases.len() >= least, "{id}: {} images", cases.len());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    for case in cases {
        let strict = declared(case.disk_format, "bare", true);
        look(&case.bytes, &strict).expect_err(&case.name);
        fs::write(&path, &case.bytes).unwrap();
        let tolerant = declared(case.disk_format, "bare", false);
        let checked = CheckedImage::check(&File::open(&path).unwrap(), &tolerant);
        assert!(checked.is_err(), "{}: nothing of this is ever handed to a program", case.name);
        if always {
            look(&case.bytes, &tolerant).expect_err(&case.name);
        }
    }
}

macro_rules! families {
    ($($name:ident $id:literal $least:literal $always:literal;)*) => {$(
        #[test]
        fn $name() {
            refused($id, $least, $always);
        }
    )*};
}

families! {
    img_01_backing_file "IMG-01" 11 true;
    img_02_backing_by_address "IMG-02" 3 true;
    img_03_external_data_file "IMG-03" 3 true;
    img_04_every_incompatible_bit "IMG-04" 64 true;
    img_05_other_versions "IMG-05" 5 true;
    img_06_odd_virtual_sizes "IMG-06" 10 true;
    img_08_crafted_tables "IMG-08" 30 true;
    img_09_vmdk_extents_outside "IMG-09" 11 true;
    img_10_vmdk_footers_and_descriptors "IMG-10" 8 true;
    img_11_vmdk_types "IMG-11" 7 true;
    img_12_backed_qcow2_as_raw "IMG-12" 1 true;
    img_13_flat_vmdk_as_raw "IMG-13" 3 true;
    img_14_raw_as_qcow2 "IMG-14" 1 false;
    img_15_polyglots "IMG-15" 12 true;
    img_16_protective_mbr "IMG-16" 18 true;
    img_17_parents_and_regions "IMG-17" 13 true;
    img_18_formats_nobody_supports "IMG-18" 20 true;
    img_19_luks "IMG-19" 20 true;
    img_20_archives_as_disks "IMG-20" 13 false;
    img_21_cut_images "IMG-21" 200 false;
    img_22_snapshots_and_bitmaps "IMG-22" 5 true;
    img_23_encrypted "IMG-23" 4 true;
    img_25_backing_beyond_the_end "IMG-25" 4 true;
}

/// IMG-24 as far as it reaches this service: a guest's disk with such a header at its beginning, sent as a snapshot.
#[test]
fn img_24_a_guests_disk_with_a_header() {
    let flat = corpus::vmdk_text("monolithicFlat", &format!("RW 2048 FLAT \"{CANARY}\" 0"), "").into_bytes();
    for header in [corpus::qcow2_backed(CANARY), corpus::qcow2_with(|b| corpus::be64(b, 72, 4)), flat] {
        let mut disk = corpus::gpt();
        let length = header.len().min(4096);
        disk[..length].copy_from_slice(&header[..length]);
        look(&disk, &declared("raw", "bare", true)).unwrap_err();
        look(&disk, &declared("raw", "bare", false)).unwrap_err();
    }
}

#[test]
fn img_16_sound_partition_tables_pass() {
    for (name, disk) in [
        ("specification", corpus::gpt()),
        ("as parted writes it", corpus::gpt_with(|e| e[2] = 1)),
        ("bootable", corpus::gpt_with(|e| e[0] = 0x80)),
        ("plain", corpus::mbr()),
        (
            "four partitions",
            corpus::with(corpus::mbr(), |b| {
                let entry: Vec<u8> = b[446..462].to_vec();
                for i in 1..4 {
                    corpus::put(b, 446 + 16 * i, &entry);
                }
            }),
        ),
        ("a boot sector's code", corpus::with(corpus::mbr(), |b| b[446..510].fill(0x41))),
        (
            "FAT with code",
            corpus::with(corpus::mbr(), |b| {
                b[446..510].fill(0xee);
                b[0x10] = 2;
                b[0x15] = 0xf8;
            }),
        ),
    ] {
        assert_eq!(look(&disk, &declared("raw", "bare", true)), Ok(Some(disk.len() as u64)), "{name}");
    }
    // The setting of upstream's name.
    let mut lenient = declared("raw", "bare", true);
    lenient.rules.check_mbr = false;
    for case in family("IMG-16") {
        look(&case.bytes, &lenient).unwrap();
    }
}

/// IMG-20 inside the containers that hold archives.
#[test]
fn img_20_hostile_members() {
    use corpus::{tar_member as member, tar_of, zip};
    let ovf = member(b'0', "disk.ovf", "", b"<Envelope/>");
    let pax = |record: &str| member(b'x', "pax", "", format!("{} {record}\n", record.len() + 4).as_bytes());
    let refused: Vec<(&str, Vec<u8>)> = vec![
        ("climbs", tar_of(&[ovf.clone(), member(b'0', "../../x", "", b"x")])),
        ("climbs inside", tar_of(&[member(b'0', "a/../../x", "", b"x")])),
        ("climbs by backslashes", tar_of(&[member(b'0', "a\\..\\x", "", b"x")])),
        ("absolute", tar_of(&[member(b'0', "/etc/x", "", b"x")])),
        ("drive", tar_of(&[member(b'0', "c:x", "", b"x")])),
        ("symlink", tar_of(&[ovf.clone(), member(b'2', "disk.vmdk", CANARY, b"")])),
        ("hard link", tar_of(&[member(b'1', "disk.vmdk", CANARY, b"")])),
        ("character device", tar_of(&[member(b'3', "zero", "", b"")])),
        ("block device", tar_of(&[member(b'4', "sda", "", b"")])),
        ("pipe", tar_of(&[member(b'6', "pipe", "", b"")])),
        ("GNU sparse", tar_of(&[member(b'S', "x", "", b"")])),
        ("long link name", tar_of(&[member(b'K', "x", "", b"/etc/hostname\0")])),
        ("long name that climbs", tar_of(&[member(b'L', "x", "", b"../x\0"), member(b'0', "x", "", b"x")])),
        ("pax path", tar_of(&[pax("path=../x"), member(b'0', "x", "", b"x")])),
        ("pax link", tar_of(&[pax("linkpath=/etc/x"), member(b'0', "x", "", b"x")])),
        ("pax size", tar_of(&[pax("size=1"), member(b'0', "x", "", b"x")])),
        ("pax damaged", tar_of(&[member(b'x', "pax", "", b"99 path=x\n"), member(b'0', "x", "", b"x")])),
        ("pax of length 0", tar_of(&[member(b'x', "pax", "", b"0 path=a\n"), member(b'0', "x", "", b"x")])),
        (
            "pax that ends in its length",
            tar_of(&[member(b'x', "pax", "", b"1 path=a\n"), member(b'0', "x", "", b"x")]),
        ),
        ("pax without a length", tar_of(&[member(b'x', "pax", "", b"path"), member(b'0', "x", "", b"x")])),
        ("wrong checksum", corpus::with(tar_of(std::slice::from_ref(&ovf)), |b| b[0] = b'e')),
        ("cut", corpus::with(tar_of(&[member(b'0', "x", "", &[1; 5000])]), |b| b.truncate(2048))),
        (
            "size without bound",
            corpus::with(tar_of(std::slice::from_ref(&ovf)), |b| {
                corpus::put(b, 124, &[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
                corpus::tar_sum(b);
            }),
        ),
        (
            "negative size",
            corpus::with(tar_of(std::slice::from_ref(&ovf)), |b| {
                corpus::put(b, 124, &[0xff; 12]);
                corpus::tar_sum(b);
            }),
        ),
        ("many members", tar_of(&vec![member(b'0', "x", "", b""); 1000])),
    ];
    for (name, bytes) in &refused {
        look(bytes, &declared("vmdk", "ova", true)).expect_err(name);
    }
    // A million members cost no more than the first few hundred.
    let many = vec![member(b'0', "x", "", b""); 100_000].concat();
    look(&many, &declared("vmdk", "ova", true)).unwrap_err();
    look(&many, &declared("raw", "docker", true)).unwrap();
    for (name, bytes) in [
        ("ovf and disk", tar_of(&[ovf.clone(), member(b'0', "disk.vmdk", "", &[1; 5000])])),
        ("directory", tar_of(&[member(b'5', "dir/", "", b""), ovf.clone()])),
        ("long name", tar_of(&[member(b'L', "x", "", b"a/long/name\0"), ovf.clone()])),
        ("pax", tar_of(&[pax("path=a/b"), ovf.clone()])),
        ("without an end", ovf.clone()),
    ] {
        assert_eq!(look(&bytes, &declared("vmdk", "ova", true)), Ok(None), "{name}");
    }
    // A container's file system has links and devices of its own; names that climb it has not.
    for kind in *b"123456" {
        look(&tar_of(&[member(kind, "dev/x", CANARY, b"")]), &declared("raw", "docker", true)).unwrap();
        look(&tar_of(&[member(kind, "../x", CANARY, b"")]), &declared("raw", "docker", true)).unwrap_err();
    }

    assert_eq!(look(&zip("disk.raw", |_| {}), &declared("raw", "compressed", true)), Ok(None));
    let hostile: Vec<(&str, Vec<u8>)> = vec![
        ("climbs", zip("../x", |_| {})),
        ("absolute", zip("/etc/x", |_| {})),
        ("directory", zip("dir/", |_| {})),
        ("symlink", zip("x", |p| corpus::le32(&mut p[1], 38, 0o120_777 << 16))),
        ("device", zip("x", |p| corpus::le32(&mut p[1], 38, 0o060_600 << 16))),
        ("encrypted", zip("x", |p| corpus::le16(&mut p[1], 8, 1))),
        ("two files", zip("x", |p| corpus::le16(&mut p[2], 10, 2))),
        ("a million files", zip("x", |p| corpus::le16(&mut p[2], 10, u16::MAX))),
        ("no directory", zip("x", |p| p[2].clear())),
        ("directory out of place", zip("x", |p| corpus::le32(&mut p[2], 16, u32::MAX))),
        ("directory without bound", zip("x", |p| corpus::le32(&mut p[2], 12, u32::MAX))),
        ("two names", zip("x", |p| p[1][46] = b'y')),
        ("file out of place", zip("x", |p| corpus::le32(&mut p[1], 42, 7))),
        ("several disks", zip("x", |p| corpus::le16(&mut p[2], 4, 1))),
        ("more after the end", zip("x", |p| p[2].extend(b"more"))),
    ];
    for (name, bytes) in &hostile {
        look(bytes, &declared("raw", "compressed", true)).expect_err(name);
    }
    look(b"\x1f\x8b\x08\xe0rest", &declared("raw", "compressed", true)).unwrap_err();
}

/// IMG-21: no cut of any sound image passes as more than it is, and none panics.
#[test]
fn img_21_cut_at_every_byte_of_the_headers() {
    for (case, size) in corpus::good() {
        let whole = declared(case.disk_format, "bare", true);
        let length = case.bytes.len();
        for cut in (0..length.min(1200)).chain(length.saturating_sub(1600)..length) {
            match look(&case.bytes[..cut], &whole) {
                Ok(found) => assert!(found.unwrap() <= size, "{} cut at {cut}", case.name),
                Err(why) => assert!(!why.is_empty()),
            }
        }
    }
}

#[test]
fn reads_are_few() {
    for (case, _) in corpus::good() {
        let bytes: &[u8] = &case.bytes;
        let source = Source::new(&bytes, bytes.len() as u64);
        inspect_source(&source, &declared(case.disk_format, "bare", true)).unwrap();
        let (reads, read) = source.cost();
        assert!(reads <= 9 && read <= 1 << 20, "{}: {reads} reads of {read} bytes", case.name);
    }
}

#[test]
fn without_a_match_only_what_is_harmless_passes() {
    for (case, _) in corpus::good() {
        for format in ["raw", "qcow2", "vmdk", "iso", "x"] {
            let found = look(&case.bytes, &declared(format, "bare", false));
            let known =
                case.disk_format == format || format == "raw" && matches!(case.disk_format, "ami" | "aki");
            let wanted = if known { found.clone().unwrap() } else { None };
            assert_eq!(found, Ok(wanted), "{} as {format}", case.name);
        }
    }
}

#[test]
fn vmdk_types_are_the_settings() {
    let stream = corpus::vmdk_stream();
    let with = |types: &[&str]| {
        let mut rules = declared("vmdk", "bare", true);
        rules.rules.vmdk_types = types.iter().map(|t| (*t).to_owned()).collect();
        look(&stream, &rules)
    };
    with(&["streamOptimized"]).unwrap();
    for types in [&[][..], &["monolithicSparse"], &["streamoptimized"], &["monolithicFlat"]] {
        with(types).unwrap_err();
    }
    // Types in several files are never let in.
    let flat = corpus::vmdk(&corpus::vmdk_text("monolithicFlat", "RW 2048 FLAT \"x\" 0", ""));
    let mut rules = declared("vmdk", "bare", true);
    rules.rules.vmdk_types = vec!["monolithicFlat".into()];
    look(&flat, &rules).unwrap_err();
}

fn qemu_img(arguments: &[&str]) -> bool {
    let done = Command::new("qemu-img").args(arguments).output().unwrap();
    done.status.success()
}

/// Every format and option of the qemu-img that is here: what it makes passes, with the size it says.
#[test]
fn whatever_qemu_img_makes_passes() {
    if !has_qemu_img() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let at = path.to_str().unwrap();
    let mut options: Vec<(&str, &str, String)> = Vec::new();
    let mut add = |format, driver, option: &str| options.push((format, driver, option.to_owned()));
    for size in ["512", "1k", "4k", "64k", "2M"] {
        add("qcow2", "qcow2", &format!("cluster_size={size}"));
        add("qcow2", "qcow2", &format!("cluster_size={size},compat=0.10"));
    }
    for bits in [1, 2, 4, 8, 16, 32, 64] {
        add("qcow2", "qcow2", &format!("refcount_bits={bits}"));
    }
    for kind in ["off", "metadata", "falloc", "full"] {
        add("qcow2", "qcow2", &format!("preallocation={kind}"));
        add("qcow2", "qcow2", &format!("preallocation={kind},extended_l2=on"));
        if kind != "metadata" {
            add("raw", "raw", &format!("preallocation={kind}"));
        }
    }
    for option in [
        "lazy_refcounts=on",
        "compression_type=zstd",
        "compression_type=zlib",
        "extended_l2=on,cluster_size=2M",
        "compat=0.10",
    ] {
        add("qcow2", "qcow2", option);
    }
    for kind in ["monolithicSparse", "streamOptimized"] {
        for adapter in ["ide", "buslogic", "lsilogic", "legacyESX"] {
            add("vmdk", "vmdk", &format!("subformat={kind},adapter_type={adapter}"));
        }
        for option in ["compat6=on", "zeroed_grain=on", "hwversion=7", "toolsversion=12345"] {
            add("vmdk", "vmdk", &format!("subformat={kind},{option}"));
        }
    }
    for kind in ["dynamic", "fixed"] {
        for force in ["on", "off"] {
            add("vhd", "vpc", &format!("subformat={kind},force_size={force}"));
        }
        for option in
            ["block_size=1M", "block_size=256M", "log_size=2M", "block_state_zero=off", "block_state_zero=on"]
        {
            add("vhdx", "vhdx", &format!("subformat={kind},{option}"));
        }
    }
    for option in ["static=on", "static=off"] {
        add("vdi", "vdi", option);
    }
    for size in ["64k", "1M", "4M"] {
        add("ploop", "parallels", &format!("cluster_size={size}"));
    }
    let mut made = 0;
    for (format, driver, option) in &options {
        for size in ["512", "1M", "9M", "1025M", "70G"] {
            // What takes all its space at once stays small.
            let full = option.contains("full")
                || option.contains("falloc")
                || option.contains("fixed")
                || option.contains("static=on");
            if full && size.ends_with('G') || option.contains("full") && size == "1025M" {
                continue;
            }
            let _ = fs::remove_file(&path);
            if !qemu_img(&["create", "-q", "-f", driver, "-o", option, at, size]) {
                continue;
            }
            let info =
                Command::new("qemu-img").args(["info", "-f", driver, "--output=json", at]).output().unwrap();
            let info: Value = serde_json::from_slice(&info.stdout).unwrap();
            let found = inspect(&File::open(&path).unwrap(), &declared(format, "bare", true));
            let found = found.unwrap_or_else(|e| panic!("{driver} {option} {size}: {e:?}"));
            assert_eq!(found.virtual_size, info["virtual-size"].as_u64(), "{driver} {option} {size}");
            made += 1;
        }
    }
    assert!(made > 120, "{made} images");
}

#[test]
fn snapshots_bitmaps_and_resized_images_of_qemu_img_pass() {
    if !has_qemu_img() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let at = path.to_str().unwrap();
    let size =
        || inspect(&File::open(&path).unwrap(), &declared("qcow2", "bare", true)).unwrap().virtual_size;
    assert!(qemu_img(&["create", "-q", "-f", "qcow2", at, "1G"]));
    for i in 0..5 {
        assert!(qemu_img(&["snapshot", "-c", &format!("s{i}"), at]));
        assert!(qemu_img(&["bitmap", "--add", at, &format!("b{i}")]));
    }
    assert_eq!(size(), Some(1 << 30));
    assert!(qemu_img(&["bitmap", "--remove", at, "b0"]) && qemu_img(&["snapshot", "-d", "s0", at]));
    assert_eq!(size(), Some(1 << 30));
    for i in 1..5 {
        assert!(
            qemu_img(&["bitmap", "--remove", at, &format!("b{i}")])
                && qemu_img(&["snapshot", "-d", &format!("s{i}"), at])
        );
    }
    assert!(qemu_img(&["resize", "-q", "-f", "qcow2", at, "40G"]));
    assert_eq!(size(), Some(40 << 30));
}

/// The corpus's recipes by the real program: what refers to other files is refused.
#[test]
fn what_qemu_img_makes_of_other_files_is_refused() {
    if !has_qemu_img() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let name = |n: &str| dir.path().join(n).to_str().unwrap().to_owned();
    let (image, other) = (name("image"), name("other"));
    fs::write(&other, vec![b'c'; 1 << 20]).unwrap();
    let secret = ["--object", "secret,id=s,data=x"];
    let commands: Vec<(&str, &str, Vec<&str>)> = vec![
        ("IMG-01", "qcow2", vec!["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &other, &image]),
        ("IMG-01 vmdk", "vmdk", vec!["create", "-q", "-f", "vmdk", "-F", "raw", "-b", &other, &image]),
        ("IMG-05", "qcow2", vec!["create", "-q", "-f", "qcow", &image, "1M"]),
        (
            "IMG-09",
            "vmdk",
            vec!["create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", &image, "1M"],
        ),
        (
            "IMG-11",
            "vmdk",
            vec!["create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", &image, "1M"],
        ),
        (
            "IMG-11 flat",
            "vmdk",
            vec!["create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentFlat", &image, "1M"],
        ),
        ("IMG-18", "raw", vec!["create", "-q", "-f", "qed", &image, "1M"]),
        (
            "IMG-19",
            "raw",
            [
                &["create", "-q"],
                &secret[..],
                &["-f", "luks", "-o", "key-secret=s,iter-time=10", &image, "1M"],
            ]
            .concat(),
        ),
        (
            "IMG-23",
            "qcow2",
            [
                &["create", "-q"],
                &secret[..],
                &[
                    "-f",
                    "qcow2",
                    "-o",
                    "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
                    &image,
                    "1M",
                ],
            ]
            .concat(),
        ),
        (
            "IMG-23 aes",
            "qcow2",
            [
                &["create", "-q"],
                &secret[..],
                &["-f", "qcow2", "-o", "encrypt.format=aes,encrypt.key-secret=s", &image, "1M"],
            ]
            .concat(),
        ),
    ];
    let mut made = 0;
    for (family, format, arguments) in commands {
        let _ = fs::remove_file(&image);
        if !qemu_img(&arguments) || !Path::new(&image).exists() {
            continue;
        }
        made += 1;
        for declared_as in [format, "raw", "qcow2", "vmdk", "ami"] {
            for strict in [true, false] {
                let result = inspect(&File::open(&image).unwrap(), &declared(declared_as, "bare", strict));
                assert!(matches!(result, Err(Refusal::Content(_))), "{family} as {declared_as}: {result:?}");
            }
        }
    }
    assert!(made >= 6, "{made}");
    let data = format!("data_file={},data_file_raw=on", name("data"));
    let _ = fs::remove_file(&image);
    assert!(qemu_img(&["create", "-q", "-f", "qcow2", "-o", &data, &image, "1M"]));
    assert_eq!(fs::read(&image).unwrap()[0x4f], 4);
    assert!(inspect(&File::open(&image).unwrap(), &declared("qcow2", "bare", false)).is_err(), "IMG-03");
}

/// G14: by no way in does a hostile image become active, is a byte of the canary sent, or the canary opened.
#[tokio::test(flavor = "multi_thread")]
async fn g14_no_way_in_lets_the_canary_out() {
    let change = |settings: &mut Settings| {
        imports::open(settings);
        two_stores(settings);
    };
    each_with(change, async |cloud| {
        let canary = cloud.store.with_file_name("canary");
        fs::write(&canary, "CANARY-7f3a".repeat(100)).unwrap();
        // Older than a day: a read would show whatever the mount's `relatime` says.
        let long_ago = SystemTime::now() - Duration::from_secs(3 * 86_400);
        let times = FileTimes::new().set_accessed(long_ago).set_modified(long_ago);
        File::options().write(true).open(&canary).unwrap().set_times(times).unwrap();
        let before = fs::metadata(&canary).unwrap();
        let at = canary.to_str().unwrap();
        let flat = format!("RW 2048 FLAT \"{at}\" 0");
        let mut images: Vec<(String, Vec<u8>)> = vec![
            ("backing".into(), corpus::qcow2_backed(at)),
            (
                "backing json".into(),
                corpus::qcow2_backed(&format!("json:{{\"driver\":\"file\",\"filename\":\"{at}\"}}")),
            ),
            (
                "data file".into(),
                corpus::with(corpus::qcow2_extension(0x4441_5441, at.as_bytes()), |b| corpus::be64(b, 72, 4)),
            ),
            ("flat".into(), corpus::vmdk_text("monolithicFlat", &flat, "").into_bytes()),
            ("flat in sparse".into(), corpus::vmdk(&corpus::vmdk_text("monolithicSparse", &flat, ""))),
            (
                "symlink".into(),
                corpus::tar_of(&[corpus::tar_member(b'2', "disk.vmdk", &at[..at.len().min(99)], b"")]),
            ),
            (
                "iso and backing".into(),
                corpus::with(corpus::iso(), |b| corpus::put(b, 0, &corpus::qcow2_backed(at)[..0x400])),
            ),
        ];
        images.push(("luks".into(), b"LUKS\xba\xbe\0\x01".to_vec()));
        for way in [put as Door, stage_and_import, web_download, copy_image] {
            for (name, bytes) in &images {
                let tries = [
                    ("qcow2", "bare"),
                    ("vmdk", "bare"),
                    ("raw", "bare"),
                    ("iso", "bare"),
                    ("ami", "ami"),
                    ("raw", "ova"),
                ]
                .into_iter()
                // An archive is a fine ramdisk or machine image: it stays an archive.
                .filter(|(disk, _)| name != "symlink" || *disk != "ami")
                .map(|(disk, container)| comes_in_by(cloud, way, name, bytes, disk, container));
                futures_util::future::join_all(tries).await;
            }
        }
        eventually("nothing is stored", async || {
            stored(cloud, "cheap").is_empty() && stored(cloud, "fast").is_empty()
        })
        .await;
        let after = fs::metadata(&canary).unwrap();
        assert_eq!(
            (after.atime(), after.mtime(), after.len()),
            (before.atime(), before.mtime(), before.len())
        );
    })
    .await;
}

/// Tries one way; what was not there before is not there after it.
async fn comes_in_by(cloud: &Cloud, way: Door, name: &str, bytes: &[u8], disk: &str, container: &str) {
    let id = cloud.create(json!({"disk_format": disk, "container_format": container})).await;
    let had = way(cloud, &id, bytes).await;
    let image = cloud.show(&id).await;
    let (status, answered) = if had { ("active", 200) } else { ("queued", 204) };
    assert_eq!(image["status"], status, "{name} as {disk} in {container}");
    let file = cloud.call("admin", Method::GET, &format!("/v2/images/{id}/file")).send().await.unwrap();
    assert_eq!(file.status(), answered, "{name} as {disk}");
    let sent = file.bytes().await.unwrap();
    assert!(if had { sent == *bytes } else { sent.is_empty() });
    cloud.delete("admin", &format!("/v2/images/{id}")).await;
}

/// Whether the image had such data before, and still has.
type Way<'a> = std::pin::Pin<Box<dyn Future<Output = bool> + 'a>>;
type Door = for<'a> fn(&'a Cloud, &'a str, &'a [u8]) -> Way<'a>;

fn put<'a>(cloud: &'a Cloud, id: &'a str, bytes: &'a [u8]) -> Way<'a> {
    Box::pin(async move {
        let (status, error) = cloud.upload("member", id, bytes.to_vec()).await;
        assert_eq!(status, 415, "{error}");
        eventually("queued again", async || cloud.show(id).await["status"] == "queued").await;
        false
    })
}

fn stage_and_import<'a>(cloud: &'a Cloud, id: &'a str, bytes: &'a [u8]) -> Way<'a> {
    Box::pin(async move {
        imports::stage(cloud, id, bytes).await;
        let body = json!({"method": {"name": "glance-direct"}});
        assert_eq!(imports::import(cloud, "member", id, body).await.0, 202);
        imports::failed(cloud, id, "").await;
        false
    })
}

fn web_download<'a>(cloud: &'a Cloud, id: &'a str, bytes: &'a [u8]) -> Way<'a> {
    Box::pin(async move {
        let web = Web::data(bytes).await;
        let body = json!({"method": {"name": "web-download", "uri": web.url("/")}});
        assert_eq!(imports::import(cloud, "member", id, body).await.0, 202);
        imports::failed(cloud, id, "").await;
        assert_eq!(web.seen(), 1, "it was fetched");
        false
    })
}

/// Data that came when nobody looked at it, with its right hash, is not spread to another store.
fn copy_image<'a>(cloud: &'a Cloud, id: &'a str, bytes: &'a [u8]) -> Way<'a> {
    Box::pin(async move {
        let declared = cloud.show(id).await;
        let text = |name: &str| declared[name].as_str().unwrap().to_owned();
        cloud
            .sql("UPDATE image SET disk_format = 'raw', container_format = 'bare' WHERE id = $1", &[id])
            .await;
        assert_eq!(cloud.upload("member", id, b"harmless".to_vec()).await.0, 204);
        let name = stored(cloud, "cheap").into_iter().find(|name| name.starts_with(id)).unwrap();
        fs::write(directory(cloud, "cheap").join(name), bytes).unwrap();
        let sha512 = hex::encode(digest(&SHA512, bytes));
        let statement = "UPDATE image SET disk_format = $1, container_format = $2, os_hash_value = $3, \
                         size = CAST($4 AS BIGINT) WHERE id = $5";
        let (disk, container) = (text("disk_format"), text("container_format"));
        cloud.sql(statement, &[&disk, &container, &sha512, &bytes.len().to_string(), id]).await;
        let body = json!({"method": {"name": "copy-image"}, "stores": ["fast"]});
        assert_eq!(imports::import(cloud, "admin", id, body).await.0, 202);
        let task = imports::ended(cloud, id).await;
        assert_eq!(task["status"], "failure", "{task}");
        assert!(task["message"].as_str().unwrap().contains("Image content is refused"), "{task}");
        let image = cloud.show(id).await;
        assert_eq!((&image["stores"], &image["os_glance_failed_import"]), (&json!("cheap"), &json!("fast")));
        eventually("the copy is gone", async || {
            !stored(cloud, "fast").iter().any(|name| name.starts_with(id))
        })
        .await;
        true
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_match_is_required_unless_the_settings_say_otherwise() {
    each_with(
        |settings| settings.image.formats.require_match = false,
        async |cloud| {
            let id = cloud.create(json!({"disk_format": "vmdk"})).await;
            assert_eq!(cloud.upload("member", &id, corpus::qcow2(3, 1 << 30)).await.0, 204);
            let image = cloud.show(&id).await;
            assert_eq!((&image["status"], &image["virtual_size"]), (&json!("active"), &Value::Null));
            let id = cloud.create(json!({"disk_format": "vmdk"})).await;
            assert_eq!(cloud.upload("member", &id, corpus::qcow2_backed(CANARY)).await.0, 415);
        },
    )
    .await;
}

/// As strict as upstream's own inspector, where it is installed: what it calls unsafe or something else is refused.
#[test]
fn as_strict_as_oslo() {
    let Ok(clients) = std::env::var("FERROSTACK_TEST_CLIENTS") else { return };
    let python = Path::new(&clients).join("python");
    let script = "import sys\nfrom oslo_utils.imageutils import format_inspector as f\nfor p in sys.stdin.read().split():\n try:\n  i=f.detect_file_format(p); i.safety_check(); print(i)\n except Exception: print('refused')\n";
    let dir = tempfile::tempdir().unwrap();
    let cases: Vec<Case> =
        corpus::hostile().into_iter().chain(corpus::good().into_iter().map(|(c, _)| c)).collect();
    let mut names = String::new();
    for (i, case) in cases.iter().enumerate() {
        let path = dir.path().join(i.to_string());
        fs::write(&path, &case.bytes).unwrap();
        names += &format!("{}\n", path.display());
    }
    let list = dir.path().join("names");
    fs::write(&list, names).unwrap();
    let done = Command::new(&python).args(["-c", script]).stdin(File::open(&list).unwrap()).output().unwrap();
    if !done.status.success() {
        eprintln!("oslo.utils is not installed: skipped");
        return;
    }
    let answers = String::from_utf8(done.stdout).unwrap();
    assert_eq!(answers.lines().count(), cases.len());
    for (case, theirs) in cases.iter().zip(answers.lines()) {
        let passes = look(&case.bytes, &declared(case.disk_format, "bare", true)).is_ok();
        let wanted = match case.disk_format {
            "raw" | "ami" | "ari" | "aki" => theirs == "raw" || theirs == "gpt",
            // It knows no ploop.
            "ploop" => theirs == "raw",
            other => theirs == other,
        };
        // Theirs stumbles over these: boot sectors are no partition tables, hybrid ISOs and extended L2 entries are
        // sound, fixed VHDs have no header and pure UDF names itself a sector later.
        let known =
            ["raw-mbr", "qcow2-extended-l2", "iso-hybrid", "vhd-fixed", "iso-udf", "raw-byte", "raw-empty"];
        assert!(
            !passes || wanted || known.contains(&case.name.as_str()),
            "{} as {}: oslo says {theirs}",
            case.name,
            case.disk_format
        );
    }
}
