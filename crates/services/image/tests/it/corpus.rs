//! Images made byte by byte: whole ones, and the hostile ones of the IMG corpus. Shared with the fuzz target.
#![allow(dead_code, clippy::unwrap_used)]

/// An image with what it is declared to be.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name; hostile ones begin with the corpus id.
    pub name: String,
    pub disk_format: &'static str,
    pub bytes: Vec<u8>,
}

fn case(name: impl Into<String>, disk_format: &'static str, bytes: Vec<u8>) -> Case {
    Case { name: name.into(), disk_format, bytes }
}

pub const MIB: usize = 1 << 20;
/// A file no image may lead to.
pub const CANARY: &str = "/etc/hostname";

pub fn put(bytes: &mut [u8], at: usize, data: &[u8]) {
    bytes[at..at + data.len()].copy_from_slice(data);
}
fn be32(bytes: &mut [u8], at: usize, n: u32) {
    put(bytes, at, &n.to_be_bytes());
}
fn be64(bytes: &mut [u8], at: usize, n: u64) {
    put(bytes, at, &n.to_be_bytes());
}
fn le16(bytes: &mut [u8], at: usize, n: u16) {
    put(bytes, at, &n.to_le_bytes());
}
fn le32(bytes: &mut [u8], at: usize, n: u32) {
    put(bytes, at, &n.to_le_bytes());
}
fn le64(bytes: &mut [u8], at: usize, n: u64) {
    put(bytes, at, &n.to_le_bytes());
}

/// An empty qcow2 of `size` bytes: header, refcount table and block, L1 table, each in a cluster of 64 KiB.
pub fn qcow2(version: u32, size: u64) -> Vec<u8> {
    let cluster = 64 << 10;
    let mut b = vec![0; 4 * cluster];
    put(&mut b, 0, b"QFI\xfb");
    be32(&mut b, 4, version);
    be32(&mut b, 20, 16);
    be64(&mut b, 24, size);
    be32(&mut b, 36, u32::try_from(size.div_ceil(512 << 20)).unwrap().max(1));
    be64(&mut b, 40, 3 * cluster as u64);
    be64(&mut b, 48, cluster as u64);
    be32(&mut b, 56, 1);
    if version == 3 {
        be32(&mut b, 96, 4);
        be32(&mut b, 100, 104);
    }
    be64(&mut b, cluster, 2 * cluster as u64);
    for i in 0..4 {
        put(&mut b, 2 * cluster + 2 * i, &[0, 1]);
    }
    b
}

fn with(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut bytes);
    bytes
}

fn qcow2_with(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    with(qcow2(3, 1 << 30), change)
}

fn qcow2_backed(name: &str) -> Vec<u8> {
    qcow2_with(|b| {
        be64(b, 8, 0x200);
        be32(b, 16, u32::try_from(name.len()).unwrap());
        put(b, 0x200, name.as_bytes());
    })
}

fn qcow2_extension(kind: u32, data: &[u8]) -> Vec<u8> {
    qcow2_with(|b| {
        be32(b, 104, kind);
        be32(b, 108, u32::try_from(data.len()).unwrap());
        put(b, 112, data);
    })
}

pub fn vmdk_text(kind: &str, extent: &str, more: &str) -> String {
    format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"{kind}\"\n{more}\n# Extent description\n{extent}\n\n# The Disk Data Base\n#DDB\nddb.virtualHWVersion = \"4\"\nddb.adapterType = \"ide\"\n"
    )
}

/// A sparse VMDK of 1 MiB with the descriptor `text`.
pub fn vmdk(text: &str) -> Vec<u8> {
    let sectors = text.len().div_ceil(512).max(20);
    let mut b = vec![0; (sectors + 20) * 512];
    put(&mut b, 0, b"KDMV");
    le32(&mut b, 4, 1);
    le32(&mut b, 8, 3);
    le64(&mut b, 12, 2048);
    le64(&mut b, 20, 128);
    le64(&mut b, 28, 1);
    le64(&mut b, 36, sectors as u64);
    le32(&mut b, 44, 512);
    le64(&mut b, 56, sectors as u64 + 1);
    put(&mut b, 73, b"\n \r\n");
    put(&mut b, 512, text.as_bytes());
    b
}

fn good_vmdk() -> Vec<u8> {
    vmdk(&vmdk_text("monolithicSparse", "RW 2048 SPARSE \"disk.vmdk\"", ""))
}

/// A stream-optimised VMDK with its grain directory named by the footer.
fn vmdk_stream() -> Vec<u8> {
    let mut b = vmdk(&vmdk_text("streamOptimized", "RW 2048 SPARSE \"disk.vmdk\"", ""));
    le32(&mut b, 4, 3);
    le64(&mut b, 56, u64::MAX);
    let mut header = b[..512].to_vec();
    le64(&mut header, 56, 21);
    let mut marker = vec![0; 512];
    le64(&mut marker, 0, 1);
    le32(&mut marker, 12, 3);
    b.extend(marker);
    b.extend(header);
    b.extend(vec![0; 512]);
    b
}

fn vhd_sum(block: &mut [u8], at: usize) {
    be32(block, at, 0);
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    be32(block, at, !sum);
}

fn vhd_footer(kind: u32, size: u64) -> Vec<u8> {
    let mut f = vec![0; 512];
    put(&mut f, 0, b"conectix");
    be32(&mut f, 8, 2);
    be32(&mut f, 12, 0x10000);
    be64(&mut f, 16, if kind == 2 { u64::MAX } else { 512 });
    be64(&mut f, 40, size);
    be64(&mut f, 48, size);
    be32(&mut f, 60, kind);
    vhd_sum(&mut f, 64);
    f
}

pub fn vhd_fixed() -> Vec<u8> {
    let mut b = vec![0; MIB];
    b.extend(vhd_footer(2, MIB as u64));
    b
}

/// A dynamic VHD of 4 MiB; `change` edits the dynamic header before its checksum is made.
pub fn vhd_dynamic(kind: u32, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut h = vec![0; 1024];
    put(&mut h, 0, b"cxsparse");
    be64(&mut h, 8, u64::MAX);
    be64(&mut h, 16, 1536);
    be32(&mut h, 24, 0x10000);
    be32(&mut h, 28, 2);
    be32(&mut h, 32, 2 << 20);
    change(&mut h);
    vhd_sum(&mut h, 36);
    let footer = vhd_footer(kind, 4 << 20);
    let mut b = footer.clone();
    b.extend(h);
    b.extend(vec![0xff; 512]);
    b.extend(footer);
    b
}

const GUID_BAT: u128 = 0x2dc27766_f623_4200_9d64_115e9bfd4a08;
const GUID_METADATA: u128 = 0x8b7ca206_4790_4b9a_b8fe_575f050f886e;
const GUID_PARAMETERS: u128 = 0xcaa16737_fa36_4d43_b3b6_33f0aa44e76b;
const GUID_SIZE: u128 = 0x2fa54224_cd1b_4876_b211_5dbed83bf4b8;
const GUID_PARENT: u128 = 0xa8d35f2d_b30b_454d_abf7_d3d84834ab0c;

/// The mixed order GUIDs are stored in.
fn guid(n: u128) -> [u8; 16] {
    let mut b = n.to_be_bytes();
    b[0..4].reverse();
    b[4..6].reverse();
    b[6..8].reverse();
    b
}

fn vhdx_region(b: &mut [u8], i: usize, id: u128, offset: u64, length: u32) {
    let at = (192 << 10) + 16 + 32 * i;
    put(b, at, &guid(id));
    le64(b, at + 16, offset);
    le32(b, at + 24, length);
    le32(b, at + 28, 1);
}

fn vhdx_item(b: &mut [u8], i: usize, id: u128, offset: u32, length: u32) {
    let at = 2 * MIB + 32 + 32 * i;
    put(b, at, &guid(id));
    le32(b, at + 16, offset);
    le32(b, at + 20, length);
    le32(b, at + 24, 4);
}

/// An empty VHDX of 1 GiB with the block table at 1 MiB and metadata at 2 MiB.
pub fn vhdx() -> Vec<u8> {
    let mut b = vec![0; 3 * MIB];
    put(&mut b, 0, b"vhdxfile");
    put(&mut b, 64 << 10, b"head");
    put(&mut b, 128 << 10, b"head");
    put(&mut b, 192 << 10, b"regi");
    le32(&mut b, (192 << 10) + 8, 2);
    vhdx_region(&mut b, 0, GUID_BAT, MIB as u64, MIB as u32);
    vhdx_region(&mut b, 1, GUID_METADATA, 2 * MIB as u64, MIB as u32);
    put(&mut b, 2 * MIB, b"metadata");
    le16(&mut b, 2 * MIB + 10, 2);
    vhdx_item(&mut b, 0, GUID_PARAMETERS, 64 << 10, 8);
    vhdx_item(&mut b, 1, GUID_SIZE, (64 << 10) + 8, 8);
    le32(&mut b, 2 * MIB + (64 << 10), 8 << 20);
    le64(&mut b, 2 * MIB + (64 << 10) + 8, 1 << 30);
    b
}

/// A dynamic VDI of 8 MiB with nothing in it.
pub fn vdi() -> Vec<u8> {
    let mut b = vec![0; MIB];
    put(&mut b, 0, b"<<< Oracle VM VirtualBox Disk Image >>>\n");
    put(&mut b, 0x40, b"\x7f\x10\xda\xbe");
    le32(&mut b, 0x44, 0x0001_0001);
    le32(&mut b, 0x48, 0x180);
    le32(&mut b, 0x4c, 1);
    le32(&mut b, 0x154, 0x200);
    le32(&mut b, 0x158, 0x400);
    le32(&mut b, 0x168, 512);
    le64(&mut b, 0x170, 8 << 20);
    le32(&mut b, 0x178, 1 << 20);
    le32(&mut b, 0x180, 8);
    for i in 0..8 {
        le32(&mut b, 0x200 + 4 * i, u32::MAX);
    }
    b
}

pub fn iso() -> Vec<u8> {
    let mut b = vec![0; 64 << 10];
    put(&mut b, 0x8000, b"\x01CD001\x01\0");
    le32(&mut b, 0x8000 + 80, 32);
    le16(&mut b, 0x8000 + 128, 2048);
    put(&mut b, 0x8800, b"\xffCD001\x01");
    b
}

fn mbr() -> Vec<u8> {
    with(vec![0; MIB], |b| {
        put(b, 446, &[0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 100, 0, 0, 0]);
        put(b, 510, &[0x55, 0xaa]);
    })
}

fn gpt() -> Vec<u8> {
    with(mbr(), |b| {
        b[450] = 0xee;
        put(b, 512, b"EFI PART");
    })
}

fn tar(name: &str) -> Vec<u8> {
    with(vec![0; 10_240], |b| {
        put(b, 0, name.as_bytes());
        put(b, 257, b"ustar\x0000");
    })
}

/// Images that must pass, with the size of the disk inside.
pub fn good() -> Vec<(Case, u64)> {
    let gib = 1 << 30;
    vec![
        (case("raw-empty", "raw", vec![]), 0),
        (case("raw-byte", "raw", vec![7]), 1),
        (case("raw-511", "raw", vec![0; 511]), 511),
        (case("raw-text", "raw", b"hello\n".to_vec()), 6),
        (case("raw-mbr", "raw", mbr()), MIB as u64),
        (case("raw-gpt", "raw", gpt()), MIB as u64),
        (case("qcow2-v2", "qcow2", qcow2(2, gib)), gib),
        (case("qcow2-v3", "qcow2", qcow2(3, gib)), gib),
        (case("qcow2-tiny", "qcow2", qcow2(3, 512)), 512),
        (
            case(
                "qcow2-zstd",
                "qcow2",
                qcow2_with(|b| {
                    be64(b, 72, 8);
                    be32(b, 100, 112);
                    b[104] = 1;
                }),
            ),
            gib,
        ),
        (
            case(
                "qcow2-extended-l2",
                "qcow2",
                qcow2_with(|b| {
                    be64(b, 72, 16);
                    be32(b, 36, 4);
                }),
            ),
            gib,
        ),
        (case("qcow2-feature-names", "qcow2", qcow2_extension(0x6803_f857, &[0; 96])), gib),
        (case("vmdk-sparse", "vmdk", good_vmdk()), MIB as u64),
        (case("vmdk-stream", "vmdk", vmdk_stream()), MIB as u64),
        (case("vhd-fixed", "vhd", vhd_fixed()), MIB as u64),
        (case("vhd-dynamic", "vhd", vhd_dynamic(3, |_| {})), 4 << 20),
        (case("vhdx", "vhdx", vhdx()), gib),
        (case("vdi", "vdi", vdi()), 8 << 20),
        (case("iso", "iso", iso()), 64 << 10),
        (case("iso-hybrid", "iso", with(iso(), |b| put(b, 510, &[0x55, 0xaa]))), 64 << 10),
        (case("kernel", "aki", with(vec![0; 4096], |b| put(b, 514, b"HdrS"))), 4096),
        (case("ramdisk", "ari", b"\x1f\x8b\x08\0rest".to_vec()), 8),
        (case("ami", "ami", mbr()), MIB as u64),
    ]
}

/// Images that must be refused.
pub fn hostile() -> Vec<Case> {
    let mut out = Vec::new();
    qcow2_cases(&mut out);
    vmdk_cases(&mut out);
    other_cases(&mut out);
    mixed_cases(&mut out);
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
        add(format!("IMG-01/02 backing {name}"), qcow2_backed(name));
    }
    add("IMG-25 backing beyond the end".into(), qcow2_with(|b| be64(b, 8, u64::MAX)));
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
        ("luks 1", b"LUKS\xba\xbe\0\x01"),
        ("luks 2", b"LUKS\xba\xbe\0\x02"),
        ("luks 3", b"LUKS\xba\xbe\0\x03"),
        ("parallels", b"WithoutFreeSpace"),
        ("parallels 2", b"WithouFreSpacExt"),
        ("bochs", b"Bochs Virtual HD Image"),
        ("cloop", b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop"),
    ] {
        for format in ["raw", "ploop", "ami", "qcow2"] {
            add(format!("IMG-18/19 {name} as {format}"), format, with(vec![0; 4096], |b| put(b, 0, mark)));
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
