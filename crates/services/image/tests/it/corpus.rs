//! Images made byte by byte: how they are built, and those that must pass.
#![allow(dead_code, clippy::unwrap_used)]

pub use crate::refused::hostile;

/// An image with what it is declared to be.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name; hostile ones begin with the corpus id.
    pub name: String,
    pub disk_format: &'static str,
    pub bytes: Vec<u8>,
}

pub fn case(name: impl Into<String>, disk_format: &'static str, bytes: Vec<u8>) -> Case {
    Case { name: name.into(), disk_format, bytes }
}

pub const MIB: usize = 1 << 20;
/// A file no image may lead to.
pub const CANARY: &str = "/etc/hostname";

pub fn put(bytes: &mut [u8], at: usize, data: &[u8]) {
    bytes[at..at + data.len()].copy_from_slice(data);
}
pub fn be32(bytes: &mut [u8], at: usize, n: u32) {
    put(bytes, at, &n.to_be_bytes());
}
pub fn be64(bytes: &mut [u8], at: usize, n: u64) {
    put(bytes, at, &n.to_be_bytes());
}
pub fn le16(bytes: &mut [u8], at: usize, n: u16) {
    put(bytes, at, &n.to_le_bytes());
}
pub fn le32(bytes: &mut [u8], at: usize, n: u32) {
    put(bytes, at, &n.to_le_bytes());
}
pub fn le64(bytes: &mut [u8], at: usize, n: u64) {
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

pub fn with(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut bytes);
    bytes
}

pub fn qcow2_with(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    with(qcow2(3, 1 << 30), change)
}

pub fn qcow2_backed(name: &str) -> Vec<u8> {
    qcow2_with(|b| {
        be64(b, 8, 0x200);
        be32(b, 16, u32::try_from(name.len()).unwrap());
        put(b, 0x200, name.as_bytes());
    })
}

pub fn qcow2_extension(kind: u32, data: &[u8]) -> Vec<u8> {
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

pub fn good_vmdk() -> Vec<u8> {
    vmdk(&vmdk_text("monolithicSparse", "RW 2048 SPARSE \"disk.vmdk\"", ""))
}

/// A stream-optimised VMDK with its grain directory named by the footer.
pub fn vmdk_stream() -> Vec<u8> {
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

pub fn vhd_sum(block: &mut [u8], at: usize) {
    be32(block, at, 0);
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    be32(block, at, !sum);
}

pub fn vhd_footer(kind: u32, size: u64) -> Vec<u8> {
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

pub const GUID_BAT: u128 = 0x2dc27766_f623_4200_9d64_115e9bfd4a08;
pub const GUID_METADATA: u128 = 0x8b7ca206_4790_4b9a_b8fe_575f050f886e;
pub const GUID_PARAMETERS: u128 = 0xcaa16737_fa36_4d43_b3b6_33f0aa44e76b;
pub const GUID_SIZE: u128 = 0x2fa54224_cd1b_4876_b211_5dbed83bf4b8;
pub const GUID_PARENT: u128 = 0xa8d35f2d_b30b_454d_abf7_d3d84834ab0c;

/// The mixed order GUIDs are stored in.
pub fn guid(n: u128) -> [u8; 16] {
    let mut b = n.to_be_bytes();
    b[0..4].reverse();
    b[4..6].reverse();
    b[6..8].reverse();
    b
}

pub fn vhdx_region(b: &mut [u8], i: usize, id: u128, offset: u64, length: u32) {
    let at = (192 << 10) + 16 + 32 * i;
    put(b, at, &guid(id));
    le64(b, at + 16, offset);
    le32(b, at + 24, length);
    le32(b, at + 28, 1);
}

pub fn vhdx_item(b: &mut [u8], i: usize, id: u128, offset: u32, length: u32) {
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

pub fn mbr() -> Vec<u8> {
    with(vec![0; MIB], |b| {
        put(b, 446, &[0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 100, 0, 0, 0]);
        put(b, 510, &[0x55, 0xaa]);
    })
}

/// A disk with a GPT; `entry` edits the protective MBR's first entry.
pub fn gpt_with(entry: impl FnOnce(&mut [u8])) -> Vec<u8> {
    with(mbr(), |b| {
        put(b, 446, &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 255, 7, 0, 0]);
        put(b, 512, b"EFI PART");
        entry(&mut b[446..510]);
    })
}

pub fn gpt() -> Vec<u8> {
    gpt_with(|_| {})
}

/// A member of a tar archive: its header with a right checksum, and its data.
pub fn tar_member(kind: u8, name: &str, link: &str, data: &[u8]) -> Vec<u8> {
    let mut b = vec![0; 512];
    put(&mut b, 0, name.as_bytes());
    put(&mut b, 100, b"0000644\0");
    put(&mut b, 124, format!("{:011o}\0", data.len()).as_bytes());
    b[156] = kind;
    put(&mut b, 157, link.as_bytes());
    put(&mut b, 257, b"ustar\x0000");
    tar_sum(&mut b);
    b.extend(data);
    b.resize(b.len().next_multiple_of(512), 0);
    b
}

pub fn tar_sum(header: &mut [u8]) {
    put(header, 148, b"        ");
    let sum: u32 = header[..512].iter().map(|b| u32::from(*b)).sum();
    put(header, 148, format!("{sum:06o}\0 ").as_bytes());
}

/// An archive of members, with its end.
pub fn tar_of(members: &[Vec<u8>]) -> Vec<u8> {
    let mut b = members.concat();
    b.extend([0; 1024]);
    b
}

pub fn tar(name: &str) -> Vec<u8> {
    tar_of(&[tar_member(b'0', name, "", b"data")])
}

/// A zip with one file that is not compressed; `change` edits the local header, the entry and the end record.
pub fn zip(name: &str, change: impl FnOnce(&mut [Vec<u8>; 3])) -> Vec<u8> {
    let data = b"data";
    let mut local = vec![0; 30];
    put(&mut local, 0, b"PK\x03\x04");
    le32(&mut local, 18, 4);
    le32(&mut local, 22, 4);
    le16(&mut local, 26, name.len() as u16);
    local.extend(name.as_bytes());
    local.extend(data);
    let mut entry = vec![0; 46];
    put(&mut entry, 0, b"PK\x01\x02");
    le16(&mut entry, 4, 0x031e);
    le32(&mut entry, 20, 4);
    le32(&mut entry, 24, 4);
    le16(&mut entry, 28, name.len() as u16);
    le32(&mut entry, 38, 0o100_644 << 16);
    entry.extend(name.as_bytes());
    let mut end = vec![0; 22];
    put(&mut end, 0, b"PK\x05\x06");
    le16(&mut end, 8, 1);
    le16(&mut end, 10, 1);
    le32(&mut end, 12, entry.len() as u32);
    le32(&mut end, 16, local.len() as u32);
    let mut parts = [local, entry, end];
    change(&mut parts);
    parts.concat()
}

/// A ploop of 8 MiB in clusters of 1 MiB with nothing in it.
pub fn ploop() -> Vec<u8> {
    let mut b = vec![0; 4096];
    put(&mut b, 0, b"WithouFreSpacExt");
    le32(&mut b, 16, 2);
    le32(&mut b, 20, 16);
    le32(&mut b, 24, 32);
    le32(&mut b, 28, 2048);
    le32(&mut b, 32, 8);
    le64(&mut b, 36, 16384);
    le32(&mut b, 48, 8);
    b
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
        (case("ploop", "ploop", ploop()), 8 << 20),
        (case("iso", "iso", iso()), 64 << 10),
        (
            case(
                "iso-udf",
                "iso",
                with(vec![0; 64 << 10], |b| {
                    put(b, 0x8000, b"\0BEA01\x01");
                    put(b, 0x8800, b"\0NSR02\x01");
                }),
            ),
            64 << 10,
        ),
        (case("iso-hybrid", "iso", with(iso(), |b| put(b, 510, &[0x55, 0xaa]))), 64 << 10),
        (case("kernel", "aki", with(vec![0; 4096], |b| put(b, 514, b"HdrS"))), 4096),
        (case("ramdisk", "ari", b"\x1f\x8b\x08\0rest".to_vec()), 8),
        (case("ami", "ami", mbr()), MIB as u64),
    ]
}
