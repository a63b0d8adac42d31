//! The hostile images of the IMG corpus: each is to be refused.
#![allow(clippy::unwrap_used)]

use crate::corpus::*;

/// Images that must be refused.
pub fn hostile() -> Vec<Case> {
    let mut out = Vec::new();
    qcow2_cases(&mut out);
    vmdk_cases(&mut out);
    other_cases(&mut out);
    mixed_cases(&mut out);
    partition_cases(&mut out);
    ploop_cases(&mut out);
    out
}

fn qcow2_cases(out: &mut Vec<Case>) {
    let mut add = |name: String, bytes: Vec<u8>| out.push(case(name, "qcow2", bytes));
    for name in [
        CANARY,
        "json:{\"driver\":\"file\",\"filename\":\"/etc/hostname\"}",
        "nbd:127.0.0.1:10809",
        "http://127.0.0.1/x",
        "./x",
        "x",
    ] {
        let family = if name.contains(':') { "IMG-02" } else { "IMG-01" };
        add(format!("{family} backing {name}"), qcow2_backed(name));
    }
    add("IMG-25 backing beyond the end".into(), qcow2_with(|b| be64(b, 8, u64::MAX)));
    add(
        "IMG-25 backing of 4 GiB".into(),
        qcow2_with(|b| {
            be64(b, 8, 0x200);
            be32(b, 16, u32::MAX);
        }),
    );
    add("IMG-25 backing size alone".into(), qcow2_with(|b| be32(b, 16, u32::MAX)));
    add("IMG-25 backing offset alone, version 2".into(), with(qcow2(2, 1 << 30), |b| be64(b, 8, 8)));
    add("IMG-03 data file bit".into(), qcow2_with(|b| be64(b, 72, 4)));
    add("IMG-03 data file extension".into(), qcow2_extension(0x4441_5441, CANARY.as_bytes()));
    add(
        "IMG-03 data file extension, version 2".into(),
        with(qcow2(2, 1 << 30), |b| {
            be32(b, 72, 0x4441_5441);
            be32(b, 76, 13);
            put(b, 80, CANARY.as_bytes());
        }),
    );
    for bit in 0..64 {
        add(format!("IMG-04 feature bit {bit}"), qcow2_with(|b| be64(b, 72, 1 << bit)));
    }
    for version in [0, 1, 4, 255, u32::MAX] {
        add(format!("IMG-05 version {version}"), qcow2_with(|b| be32(b, 4, version)));
    }
    for size in [0, 1 << 63, u64::MAX, i64::MAX as u64, 63 << 40, 8 << 60] {
        add(format!("IMG-06 size {size}"), qcow2_with(|b| be64(b, 24, size)));
    }
    add(
        "IMG-06 63 TiB with a table to match".into(),
        qcow2_with(|b| {
            let entries = (63_u64 << 40).div_ceil(512 << 20);
            be64(b, 24, 63 << 40);
            be32(b, 36, u32::try_from(entries).unwrap());
            b.resize(b.len() + 8 * entries as usize, 0);
        }),
    );
    for bits in [0, 1, 8, 22, 31, 32, 63, 64, u32::MAX] {
        add(format!("IMG-08 cluster bits {bits}"), qcow2_with(|b| be32(b, 20, bits)));
    }
    for (name, at) in [("L1", 40), ("refcount", 48)] {
        for offset in [0, 1, 4096, 1 << 40, u64::MAX, u64::MAX - 65535] {
            add(format!("IMG-08 {name} table at {offset}"), qcow2_with(|b| be64(b, at, offset)));
        }
    }
    add("IMG-08 tables overlap".into(), qcow2_with(|b| be64(b, 48, 3 << 16)));
    for entries in [0, 1, 1 << 23, u32::MAX] {
        add(format!("IMG-08 {entries} L1 entries"), qcow2_with(|b| be32(b, 36, entries)));
    }
    for clusters in [0, 3, 1 << 20, u32::MAX] {
        add(format!("IMG-08 {clusters} refcount clusters"), qcow2_with(|b| be32(b, 56, clusters)));
    }
    for entry in [1, 0x200, 1 << 40, u64::MAX, 3 << 16, 1 << 62] {
        add(format!("IMG-08 L1 entry {entry:#x}"), qcow2_with(|b| be64(b, 3 << 16, entry)));
    }
    add(
        "IMG-08 one L2 table twice".into(),
        qcow2_with(|b| {
            b.resize(5 << 16, 0);
            be64(b, 3 << 16, 4 << 16);
            be64(b, (3 << 16) + 8, 4 << 16);
        }),
    );
    for length in [0, 72, 103, 105, 1 << 17, u32::MAX] {
        add(format!("header of {length} bytes"), qcow2_with(|b| be32(b, 100, length)));
    }
    add("refcount order 7".into(), qcow2_with(|b| be32(b, 96, 7)));
    add(
        "compression type without its feature".into(),
        qcow2_with(|b| {
            be32(b, 100, 112);
            b[104] = 1;
        }),
    );
    add(
        "extension longer than the header".into(),
        qcow2_with(|b| {
            be32(b, 104, 5);
            be32(b, 108, u32::MAX);
        }),
    );
    for snapshots in [257, 65_535, u32::MAX] {
        add(format!("IMG-22 {snapshots} snapshots"), qcow2_with(|b| be32(b, 60, snapshots)));
    }
    let bitmap = |size: u64, offset: u64| {
        let mut data = vec![0; 24];
        be32(&mut data, 0, 1);
        be64(&mut data, 8, size);
        be64(&mut data, 16, offset);
        qcow2_extension(0x2385_2875, &data)
    };
    add("IMG-22 bitmap directory of 1 TiB".into(), bitmap(1 << 40, 1 << 16));
    add("IMG-22 bitmap directory out of place".into(), bitmap(64, u64::MAX));
    for method in [1, 2, 3] {
        add(format!("IMG-23 crypt method {method}"), qcow2_with(|b| be32(b, 32, method)));
    }
    add("IMG-23 encryption extension".into(), qcow2_extension(0x0537_be77, &[0; 16]));
    let whole = qcow2(3, 1 << 30);
    for length in (0..112).chain([511, 512, 513, 65_535, 65_536, 3 << 16]) {
        add(format!("IMG-21 cut at {length}"), whole[..length].to_vec());
    }
}

fn vmdk_cases(out: &mut Vec<Case>) {
    let mut add = |name: &str, bytes: Vec<u8>| out.push(case(name, "vmdk", bytes));
    let sparse = |extent: &str, more: &str| vmdk(&vmdk_text("monolithicSparse", extent, more));
    let plain = "RW 2048 SPARSE \"disk.vmdk\"";
    let flat = format!("RW 2048 FLAT \"{CANARY}\" 0");
    add("IMG-09 descriptor alone", vmdk_text("monolithicFlat", &flat, "").into_bytes());
    add("IMG-09 flat extent", vmdk(&vmdk_text("monolithicFlat", &flat, "")));
    add("IMG-09 flat extent of a sparse type", sparse(&flat, ""));
    add("IMG-09 path", sparse("RW 2048 SPARSE \"/etc/hostname\"", ""));
    add("IMG-09 relative path", sparse("RW 2048 SPARSE \"../x\"", ""));
    add("IMG-09 Windows path", sparse("RW 2048 SPARSE \"c:\\x\"", ""));
    add("IMG-09 URL", sparse("RW 2048 SPARSE \"json:{}\"", ""));
    add("IMG-09 two extents", sparse(&format!("{plain}\n{plain}"), ""));
    add("IMG-09 no extent", sparse("", ""));
    add("IMG-09 extent in small letters", sparse(&format!("{plain}\nrw 1 flat \"{CANARY}\" 0"), ""));
    add("IMG-09 carriage return hides an extent", sparse(&format!("# x\r{flat}\n{plain}"), ""));
    add("IMG-10 parent hint", sparse(plain, "parentFileNameHint=\"/etc/hostname\""));
    add("IMG-10 parent id", sparse(plain, "parentCID=12345678"));
    add("IMG-10 descriptor of 2 MiB", sparse(plain, &"#x\n".repeat(700_000)));
    add("IMG-10 more after the descriptor", with(good_vmdk(), |b| put(b, 4096, flat.as_bytes())));
    add(
        "IMG-10 footer contradicts",
        with(vmdk_stream(), |b| {
            let at = b.len() - 1024;
            le64(b, at + 12, 1 << 40);
        }),
    );
    add(
        "IMG-10 footer with another descriptor",
        with(vmdk_stream(), |b| {
            let at = b.len() - 1024;
            le64(b, at + 28, 30);
        }),
    );
    add("IMG-10 second footer", with(vmdk_stream(), |b| b.extend(vec![1; 512])));
    add("IMG-10 no footer", with(good_vmdk(), |b| le64(b, 56, u64::MAX)));
    for kind in ["twoGbMaxExtentSparse", "vmfs", "vmfsSparse", "custom", "fullDevice", "monolithicFlat", ""] {
        add(&format!("IMG-11 type {kind}"), vmdk(&vmdk_text(kind, plain, "")));
    }
    add("two types", sparse(plain, "createType=\"vmfs\""));
    add("IMG-09 capacity 0", with(good_vmdk(), |b| le64(b, 12, 0)));
    add("IMG-06 capacity", with(good_vmdk(), |b| le64(b, 12, u64::MAX)));
    add("capacity overflows", with(good_vmdk(), |b| le64(b, 12, (1 << 55) + 1)));
    add("grain 0", with(good_vmdk(), |b| le64(b, 20, 0)));
    add("grain 3", with(good_vmdk(), |b| le64(b, 20, 3)));
    add("descriptor far away", with(good_vmdk(), |b| le64(b, 28, u64::MAX / 512)));
    add("no descriptor", with(good_vmdk(), |b| le64(b, 28, 0)));
    add("directory far away", with(good_vmdk(), |b| le64(b, 56, u64::MAX - 1)));
    add("version 4", with(good_vmdk(), |b| le32(b, 4, 4)));
    add("COWD", with(vec![0; 4096], |b| put(b, 0, b"COWD")));
    for length in [0, 4, 11, 20, 511, 512, 513, 1024] {
        add(&format!("IMG-21 cut at {length}"), good_vmdk()[..length].to_vec());
    }
}

fn other_cases(out: &mut Vec<Case>) {
    let mut add = |name: &str, format, bytes: Vec<u8>| out.push(case(name, format, bytes));
    add("IMG-17 VHD with a parent", "vhd", vhd_dynamic(4, |_| {}));
    add("IMG-17 VHD parent locator", "vhd", vhd_dynamic(3, |h| put(h, 576, b"W2ku")));
    add("IMG-17 VHD parent name", "vhd", vhd_dynamic(3, |h| put(h, 64, b"\0x")));
    add("IMG-17 VHD parent id", "vhd", vhd_dynamic(3, |h| h[40] = 1));
    add("IMG-17 VHD block 2^31", "vhd", vhd_dynamic(3, |h| be32(h, 32, 1 << 31)));
    add("IMG-17 VHD block 0", "vhd", vhd_dynamic(3, |h| be32(h, 32, 0)));
    add("VHD table too small", "vhd", vhd_dynamic(3, |h| be32(h, 28, 1)));
    add("VHD table huge", "vhd", vhd_dynamic(3, |h| be32(h, 28, u32::MAX)));
    add("VHD table out of place", "vhd", vhd_dynamic(3, |h| be64(h, 16, u64::MAX)));
    add(
        "VHD wrong checksum",
        "vhd",
        with(vhd_fixed(), |b| {
            let at = b.len() - 400;
            b[at] = 1;
        }),
    );
    add(
        "VHD too short",
        "vhd",
        with(vhd_fixed(), |b| {
            b.drain(..512);
        }),
    );
    add("VHD header and footer differ", "vhd", with(vhd_dynamic(3, |_| {}), |b| b[300] = 1));
    add("VHD cut", "vhd", vhd_dynamic(3, |_| {})[..700].to_vec());
    add("IMG-17 VHDX parent flag", "vhdx", with(vhdx(), |b| le32(b, 2 * MIB + (64 << 10) + 4, 2)));
    add(
        "IMG-17 VHDX parent locator",
        "vhdx",
        with(vhdx(), |b| {
            le16(b, 2 * MIB + 10, 3);
            vhdx_item(b, 2, GUID_PARENT, 65_600, 64);
        }),
    );
    add(
        "IMG-17 VHDX regions overlap",
        "vhdx",
        with(vhdx(), |b| vhdx_region(b, 0, GUID_BAT, 2 * MIB as u64, MIB as u32)),
    );
    add(
        "IMG-17 VHDX region over the header",
        "vhdx",
        with(vhdx(), |b| vhdx_region(b, 0, GUID_BAT, 0, MIB as u32)),
    );
    add(
        "IMG-17 VHDX region beyond the end",
        "vhdx",
        with(vhdx(), |b| vhdx_region(b, 0, GUID_BAT, 1 << 60, MIB as u32)),
    );
    add(
        "IMG-17 VHDX region twice",
        "vhdx",
        with(vhdx(), |b| vhdx_region(b, 0, GUID_METADATA, MIB as u64, MIB as u32)),
    );
    add("VHDX unknown region", "vhdx", with(vhdx(), |b| vhdx_region(b, 0, 1, MIB as u64, MIB as u32)));
    add("VHDX 65535 regions", "vhdx", with(vhdx(), |b| le32(b, (192 << 10) + 8, 65_535)));
    add("VHDX 65535 items", "vhdx", with(vhdx(), |b| le16(b, 2 * MIB + 10, 65_535)));
    add("VHDX item out of place", "vhdx", with(vhdx(), |b| vhdx_item(b, 1, GUID_SIZE, u32::MAX, 8)));
    add("IMG-17 VHDX block 2^31", "vhdx", with(vhdx(), |b| le32(b, 2 * MIB + (64 << 10), 1 << 31)));
    add("IMG-06 VHDX size", "vhdx", with(vhdx(), |b| le64(b, 2 * MIB + (64 << 10) + 8, u64::MAX)));
    add("VHDX size 0", "vhdx", with(vhdx(), |b| le64(b, 2 * MIB + (64 << 10) + 8, 0)));
    add("VHDX cut", "vhdx", vhdx()[..200_000].to_vec());
    add("VDI with a parent", "vdi", with(vdi(), |b| b[0x1b8] = 1));
    add("VDI with a link", "vdi", with(vdi(), |b| b[0x1a8] = 1));
    add("VDI difference", "vdi", with(vdi(), |b| le32(b, 0x4c, 4)));
    add("VDI undo", "vdi", with(vdi(), |b| le32(b, 0x4c, 3)));
    add("VDI version 0", "vdi", with(vdi(), |b| le32(b, 0x44, 0)));
    add("VDI size", "vdi", with(vdi(), |b| le64(b, 0x170, u64::MAX)));
    add("VDI size 0", "vdi", with(vdi(), |b| le64(b, 0x170, 0)));
    add("VDI block 2^31", "vdi", with(vdi(), |b| le32(b, 0x178, 1 << 31)));
    add("VDI map huge", "vdi", with(vdi(), |b| le32(b, 0x180, u32::MAX)));
    add("VDI map out of place", "vdi", with(vdi(), |b| le32(b, 0x154, u32::MAX)));
    add("VDI blocks not there", "vdi", with(vdi(), |b| le32(b, 0x184, 8)));
    add("VDI cut", "vdi", vdi()[..0x1a0].to_vec());
    add("ISO boot record only", "iso", with(iso(), |b| b[0x8000] = 0));
    add("ISO block size 3", "iso", with(iso(), |b| le16(b, 0x8000 + 128, 3)));
    add("ISO cut", "iso", iso()[..0x8100].to_vec());
    add("ISO without its mark", "iso", vec![0; 64 << 10]);
}

fn mixed_cases(out: &mut Vec<Case>) {
    let mut add = |name: String, format, bytes: Vec<u8>| out.push(case(name, format, bytes));
    let flat = vmdk_text("monolithicFlat", &format!("RW 2048 FLAT \"{CANARY}\" 0"), "").into_bytes();
    add("IMG-12 backed qcow2 as raw".into(), "raw", qcow2_backed(CANARY));
    add("IMG-13 flat vmdk as raw".into(), "raw", flat.clone());
    add("IMG-13 flat vmdk without its first line".into(), "raw", flat[22..].to_vec());
    add("IMG-13 flat vmdk after comments".into(), "raw", [b"#\n# x\n\n", &flat[22..]].concat());
    add("IMG-14 raw as qcow2".into(), "qcow2", mbr());
    for format in ["aki", "ari", "ami", "iso", "vmdk", "vhd", "vhdx", "vdi"] {
        add(format!("IMG-01 backed qcow2 as {format}"), format, qcow2_backed(CANARY));
    }
    for (good, _) in
        good().into_iter().filter(|(c, _)| !matches!(c.disk_format, "raw" | "aki" | "ari" | "ami"))
    {
        for format in ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso"] {
            if format != good.disk_format {
                add(format!("{} as {format}", good.name), format, good.bytes.clone());
            }
        }
    }
    add("IMG-15 iso and qcow2".into(), "iso", with(iso(), |b| put(b, 0, &qcow2(3, 1 << 30)[..104])));
    add("IMG-15 qcow2 and iso".into(), "qcow2", qcow2_with(|b| put(b, 0x8001, b"CD001")));
    add("IMG-15 qcow2 and MBR".into(), "qcow2", qcow2_with(|b| put(b, 510, &[0x55, 0xaa])));
    add("IMG-15 qcow2 and GPT".into(), "qcow2", qcow2_with(|b| put(b, 512, b"EFI PART")));
    add("IMG-15 qcow2 and vdi".into(), "qcow2", qcow2_with(|b| put(b, 0x40, b"\x7f\x10\xda\xbe")));
    add("IMG-15 vdi and tar".into(), "vdi", with(vdi(), |b| put(b, 257, b"ustar")));
    for (name, mark) in [
        ("qed", &b"QED\0"[..]),
        ("luks 0", b"LUKS\xba\xbe\0\0"),
        ("luks 1", b"LUKS\xba\xbe\0\x01"),
        ("luks 2", b"LUKS\xba\xbe\0\x02"),
        ("luks 3", b"LUKS\xba\xbe\0\x03"),
        ("parallels", b"WithoutFreeSpace"),
        ("parallels 2", b"WithouFreSpacExt"),
        ("bochs", b"Bochs Virtual HD Image"),
        ("cloop", b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop"),
    ] {
        for format in ["raw", "ploop", "ami", "qcow2"] {
            let family = if name.starts_with("luks") { "IMG-19" } else { "IMG-18" };
            add(format!("{family} {name} as {format}"), format, with(vec![0; 4096], |b| put(b, 0, mark)));
        }
    }
    add("IMG-18 dmg".into(), "raw", with(vec![0; 4096], |b| put(b, 3584, b"koly")));
    for (name, mark) in [
        ("gzip", &b"\x1f\x8b\x08"[..]),
        ("zip", b"PK\x03\x04"),
        ("xz", b"\xfd7zXZ\0"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("bzip2", b"BZh91AY&SY"),
    ] {
        add(format!("IMG-20 {name} as raw"), "raw", with(vec![0; 4096], |b| put(b, 0, mark)));
        add(format!("IMG-20 {name} as qcow2"), "qcow2", with(vec![0; 4096], |b| put(b, 0, mark)));
    }
    add("IMG-15 LUKS and vdi".into(), "vdi", with(vdi(), |b| put(b, 0, b"LUKS\xba\xbe\0\x01")));
    add(
        "IMG-15 LUKS and vmdk".into(),
        "vmdk",
        with(good_vmdk(), |b| {
            put(b, 0, b"LUKS\xba\xbe\0\x01");
            put(b, 257, b"ustar");
        }),
    );
    add("IMG-15 gzip and iso".into(), "iso", with(iso(), |b| put(b, 0, b"\x1f\x8b\x08")));
    add("IMG-15 GPT and qcow2 as raw".into(), "raw", with(gpt(), |b| put(b, 0, &qcow2(3, 1 << 30)[..104])));
    add("IMG-15 LUKS and iso".into(), "iso", with(iso(), |b| put(b, 0, b"LUKS\xba\xbe\0\x01")));
    add("IMG-15 vmdk and fixed vhd".into(), "vhd", with(vhd_fixed(), |b| put(b, 0, &good_vmdk()[..4096])));
    add(
        "IMG-15 dmg at the end of a fixed vhd".into(),
        "raw",
        with(vhd_fixed(), |b| {
            let at = b.len() - 512;
            put(b, at, b"koly");
        }),
    );
    // What is wrapped does not count: an encrypted or packed image is what it is outside.
    for (name, inner) in [("qcow2", qcow2_backed(CANARY)), ("vmdk", flat.clone()), ("gpt", gpt())] {
        let luks = [&b"LUKS\xba\xbe\0\x01"[..], &[0; 4088], &inner].concat();
        add(format!("IMG-19 {name} in luks"), "raw", luks.clone());
        add(
            format!("IMG-19 {name} in luks as itself"),
            if name == "gpt" { "raw" } else { name_of(name) },
            luks,
        );
    }
    for name in ["../../x", "/etc/x", "a"] {
        add(format!("IMG-20 tar of {name} as raw"), "raw", tar(name));
    }
    for format in ["qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso"] {
        for length in [0, 1, 511, 512, 513] {
            add(format!("IMG-21 {length} bytes as {format}"), format, vec![0; length]);
        }
    }
}

fn name_of(name: &str) -> &'static str {
    if name == "vmdk" { "vmdk" } else { "qcow2" }
}

/// Protective MBRs that another program would read otherwise.
fn partition_cases(out: &mut Vec<Case>) {
    let mut add = |name: &str, bytes: Vec<u8>| out.push(case(format!("IMG-16 {name}"), "raw", bytes));
    let plain = [0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 100, 0, 0, 0];
    for at in [16, 32, 48] {
        add(&format!("another partition at {at}"), gpt_with(|e| put(e, at, &plain)));
    }
    add(
        "protective entry second",
        gpt_with(|e| {
            let (first, second) = e.split_at_mut(16);
            second[..16].copy_from_slice(first);
            first.copy_from_slice(&plain);
        }),
    );
    add(
        "protective entry alone in the third place",
        gpt_with(|e| {
            e.copy_within(0..16, 32);
            e[..16].fill(0);
        }),
    );
    add("two protective entries", gpt_with(|e| e.copy_within(0..16, 16)));
    for start in [[0, 0, 0], [1, 2, 0], [0, 2, 1], [0xff, 0xff, 0xff]] {
        add(&format!("start at {start:?}"), gpt_with(|e| put(e, 1, &start)));
    }
    for block in [0_u32, 2, 34, 256, u32::MAX] {
        add(&format!("start at block {block}"), gpt_with(|e| le32(e, 8, block)));
    }
    for flag in [1, 0x7f, 0xff] {
        add(&format!("boot flag {flag}"), gpt_with(|e| e[0] = flag));
    }
}

fn ploop_cases(out: &mut Vec<Case>) {
    let mut add = |name: &str, bytes: Vec<u8>| out.push(case(name, "ploop", bytes));
    add("IMG-18 parallels version 1", with(ploop(), |b| le32(b, 16, 1)));
    add("ploop in use", with(ploop(), |b| le32(b, 44, 0x746f_6e59)));
    add("ploop with extensions", with(ploop(), |b| le64(b, 56, 4096)));
    for cluster in [0, (1 << 21) + 1, u32::MAX] {
        add(&format!("ploop clusters of {cluster}"), with(ploop(), |b| le32(b, 28, cluster)));
    }
    for entries in [0, 7, u32::MAX] {
        add(&format!("ploop of {entries} entries"), with(ploop(), |b| le32(b, 32, entries)));
    }
    for sectors in [0, 16_385, u64::MAX] {
        add(&format!("IMG-06 ploop of {sectors} sectors"), with(ploop(), |b| le64(b, 36, sectors)));
    }
    add(
        "ploop data in the table",
        with(ploop(), |b| {
            le32(b, 32, 200);
            le32(b, 48, 1);
        }),
    );
    for entry in [1, 100, u32::MAX] {
        add(&format!("ploop entry {entry}"), with(ploop(), |b| le32(b, 64, entry)));
    }
    for length in (0..64).chain([80, 95]) {
        add(&format!("IMG-21 ploop cut at {length}"), ploop()[..length].to_vec());
    }
}
