//! Disk files on their way to another host or another size.
//!
//! A disk is known by its name and our own definition of it, never by looking into it: the root disk is a qcow2 file on
//! its base image, the others are raw. What is kept aside for a revert has a name of its own beside the guest's files.

use crate::disks::{self, GIB, LARGEST, Limits, run_within, tool};
use crate::files::{GuestFiles, part};
use ferrostack_hypervisor::{BaseImage, DiskFile, DiskSource, Guest};
use ferrostack_model::{Error, Result};
use futures_util::TryStreamExt;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;

/// The disks that move, by name. The config drive is made anew.
const NAMES: [&str; 3] = ["disk", "disk.eph0", "disk.swap"];
/// Suffix of what is kept aside for a revert.
const KEPT: &str = ".kept";
/// What was received, written when all of it is there.
const RECEIVED: &str = "received.json";
/// Bytes written at once.
const BUFFER: usize = 1 << 20;

/// The place of a disk, if `name` is one of ours.
fn place(files: &GuestFiles, name: &str) -> Option<PathBuf> {
    NAMES.contains(&name).then(|| files.dir().join(name))
}

fn kept(disk: &Path) -> PathBuf {
    let mut name = disk.as_os_str().to_owned();
    name.push(KEPT);
    name.into()
}

fn file_error(path: &Path, error: std::io::Error) -> Error {
    Error::internal(format!("{}: {error}", path.display()))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(file_error(path, e)),
        _ => Ok(()),
    }
}

/// The disk files there are.
pub fn list(files: &GuestFiles) -> Result<Vec<DiskFile>> {
    let mut found = Vec::new();
    for name in NAMES {
        let path = files.dir().join(name);
        match fs::metadata(&path) {
            Ok(meta) => found.push(DiskFile {
                name: name.into(),
                bytes: meta.len(),
                stamp: format!(
                    "{}-{}-{}-{}.{:09}",
                    meta.dev(),
                    meta.ino(),
                    meta.len(),
                    meta.mtime(),
                    meta.mtime_nsec()
                ),
            }),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(file_error(&path, e)),
        }
    }
    Ok(found)
}

/// Opens a disk file.
pub async fn open(files: &GuestFiles, name: &str) -> Result<tokio::fs::File> {
    let missing = || Error::not_found("The guest has no such disk.");
    let path = place(files, name).ok_or_else(missing)?;
    tokio::fs::File::open(&path).await.map_err(|e| match e.kind() {
        ErrorKind::NotFound => missing(),
        _ => file_error(&path, e),
    })
}

/// Whether these very disks were received already.
fn is_received(files: &GuestFiles, disks: &[DiskFile]) -> bool {
    let noted = fs::read(files.dir().join(RECEIVED)).ok();
    let noted: Option<Vec<DiskFile>> = noted.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    noted.is_some_and(|noted| noted == disks) && files.root_disk().exists()
}

/// Fetches the disks of a guest that is not defined here; what is left of another move is void. May be dropped and
/// called again at any point.
pub async fn fetch(guest: &Guest, files: &GuestFiles, source: &dyn DiskSource) -> Result<()> {
    let base = guest.base.as_ref().ok_or_else(|| Error::internal("the guest has no base image file"))?;
    let found = source.disks().await?;
    if is_received(files, &found) {
        return Ok(());
    }
    remove(&files.dir().join(RECEIVED))?;
    for name in NAMES {
        let path = files.dir().join(name);
        remove(&path)?;
        remove(&kept(&path))?;
    }
    if !found.iter().any(|disk| disk.name == "disk") {
        return Err(Error::internal("the other host has no root disk of the guest"));
    }
    let wanted = found.iter().filter(|disk| disk.name != "disk.swap" || same_swap(guest, disk.bytes));
    let mut arrived = Vec::new();
    for disk in wanted {
        // A name that is none of ours is nothing we could use.
        let Some(path) = place(files, &disk.name) else { continue };
        if arrived.contains(&path) || disk.bytes > LARGEST {
            return Err(Error::internal("the other host's disks make no sense"));
        }
        receive(disk, &part(&path), source).await?;
        arrived.push(path);
    }
    rebase(&part(&files.root_disk()), base).await?;
    for path in arrived {
        files.make(&path, |part| fs::File::open(part)?.sync_all())?;
    }
    let note = serde_json::to_vec(&found).map_err(|e| Error::internal(format!("received disks: {e}")))?;
    files.make(&files.dir().join(RECEIVED), |part| fs::write(part, &note))
}

async fn receive(disk: &DiskFile, to: &Path, source: &dyn DiskSource) -> Result<()> {
    let fail = |e| file_error(to, e);
    let file = tokio::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(to)
        .await
        .map_err(fail)?;
    let mut file = tokio::io::BufWriter::with_capacity(BUFFER, file);
    let mut stream = source.read(disk);
    let mut bytes: u64 = 0;
    while let Some(data) = stream.try_next().await? {
        bytes += data.len() as u64;
        if bytes > disk.bytes {
            return Err(Error::internal("more came of a disk than it has"));
        }
        file.write_all(&data).await.map_err(fail)?;
    }
    if bytes != disk.bytes {
        return Err(Error::unavailable("a disk's copy ended too early"));
    }
    file.flush().await.map_err(fail)?;
    file.get_ref().sync_all().await.map_err(fail)
}

/// The header of a qcow2 file of ours: its virtual size. Anything that would let QEMU open another file is refused.
fn virtual_size(path: &Path) -> Result<u64> {
    let mut head = [0u8; 104];
    let mut file = fs::File::open(path).map_err(|e| file_error(path, e))?;
    let length = file.read(&mut head).map_err(|e| file_error(path, e))?;
    let version = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let eight = |at: usize| u64::from_be_bytes(std::array::from_fn(|n| head[at + n]));
    // Incompatible features: bit 2 is an external data file.
    let features = if version >= 3 { eight(72) } else { 0 };
    if length < 72 || &head[..4] != b"QFI\xfb" || !(2..=3).contains(&version) || features & 4 != 0 {
        return Err(Error::internal(format!("{}: not a root disk of ours", path.display())));
    }
    Ok(eight(24))
}

fn limits() -> Limits {
    Limits { file_bytes: None, memory_bytes: GIB, cpu_seconds: 300, wall: None, dies_with_us: true }
}

/// Says to a root disk from another host where its base image is here; its data are not touched.
async fn rebase(disk: &Path, base: &BaseImage) -> Result<()> {
    virtual_size(disk)?;
    let format = base_format(base)?;
    let path = base
        .path
        .canonicalize()
        .map_err(|e| Error::internal(format!("the base image {}: {e}", base.path.display())))?;
    let mut command = tool("qemu-img");
    command.args(["rebase", "-q", "-u", "-f", "qcow2", "-F", format, "-b"]).arg(path).arg(disk);
    run_within(command, "qemu-img rebase", limits()).await
}

fn base_format(base: &BaseImage) -> Result<&'static str> {
    match base.format.as_str() {
        "qcow2" => Ok("qcow2"),
        "raw" => Ok("raw"),
        other => Err(Error::internal(format!("base image format {other:?} cannot be used as it is"))),
    }
}

fn same_swap(guest: &Guest, bytes: u64) -> bool {
    guest.spec.flavor.swap_mb.checked_mul(1 << 20) == Some(bytes)
}

/// Brings a guest's disks, which nobody uses, to the sizes of its flavor: they grow, and a swap disk of another size is
/// made anew. Never smaller: what is on them stays.
pub async fn grow(guest: &Guest, files: &GuestFiles) -> Result<()> {
    let flavor = &guest.spec.flavor;
    let base = guest.base.as_ref().ok_or_else(|| Error::internal("the guest has no base image file"))?;
    let (disk, wanted) = (files.root_disk(), disks::root_size(flavor.root_gb, base)?);
    if virtual_size(&disk)? < wanted {
        let mut command = tool("qemu-img");
        command.args(["resize", "-q", "-f", "qcow2"]).arg(&disk).arg(wanted.to_string());
        run_within(command, "qemu-img resize", limits()).await?;
    }
    let length = |path: &Path| fs::metadata(path).ok().map(|meta| meta.len());
    let ephemeral = files.ephemeral();
    if let Some(bytes) = length(&ephemeral) {
        let wanted = flavor.ephemeral_gb.checked_mul(GIB).filter(|bytes| *bytes <= LARGEST).unwrap_or(bytes);
        if bytes < wanted {
            let file = fs::OpenOptions::new().write(true).open(&ephemeral);
            file.and_then(|file| file.set_len(wanted)).map_err(|e| file_error(&ephemeral, e))?;
        }
    }
    let swap = files.swap();
    if length(&swap).is_some_and(|bytes| !same_swap(guest, bytes)) {
        remove(&swap)?;
    }
    Ok(())
}

/// Copies the disks of a guest that is off aside, unless that was done before.
pub async fn keep(files: &GuestFiles) -> Result<()> {
    // The root disk comes last: where its copy is, the others are.
    if kept(&files.root_disk()).exists() {
        return Ok(());
    }
    for name in NAMES.iter().rev() {
        let disk = files.dir().join(name);
        remove(&files.dir().join(format!("{name}.back")))?;
        if !disk.exists() {
            continue;
        }
        let to = kept(&disk);
        let mut command = tool("cp");
        command.args(["--reflink=auto", "--sparse=always", "--"]).arg(&disk).arg(part(&to));
        run_within(command, "cp", Limits { memory_bytes: GIB, cpu_seconds: 3600, ..limits() }).await?;
        files.make(&to, |part| {
            fs::set_permissions(part, fs::Permissions::from_mode(0o600))?;
            fs::File::open(part)?.sync_all()
        })?;
    }
    Ok(())
}

/// Whether disks are kept aside.
pub fn are_kept(files: &GuestFiles) -> bool {
    kept(&files.root_disk()).exists()
}

/// Puts the kept disks back; those that only the new size had go. Success if none are kept.
pub fn put_back(files: &GuestFiles) -> Result<()> {
    if !are_kept(files) {
        return Ok(());
    }
    for name in NAMES.iter().rev() {
        let disk = files.dir().join(name);
        let from = kept(&disk);
        // One that was put back before a crash has lost its kept copy and must stay.
        let noted = files.dir().join(format!("{name}.back"));
        match fs::rename(&from, &disk) {
            Ok(()) => fs::write(&noted, b"").map_err(|e| file_error(&noted, e))?,
            Err(e) if e.kind() == ErrorKind::NotFound && noted.exists() => {}
            Err(e) if e.kind() == ErrorKind::NotFound => remove(&disk)?,
            Err(e) => return Err(file_error(&disk, e)),
        }
    }
    for name in NAMES {
        remove(&files.dir().join(format!("{name}.back")))?;
    }
    Ok(())
}

/// Removes the kept disks.
pub fn forget(files: &GuestFiles) -> Result<()> {
    NAMES.iter().try_for_each(|name| remove(&kept(&files.dir().join(name))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::files::Instances;

    const ID: &str = "2d6f7a1c-4f0e-4f7c-9a55-0c3b6f1f7d11";

    /// S-2016-007, S-2026-002: what a guest wrote into a disk is never taken for a format.
    #[test]
    fn s_2016_007_only_our_own_kind_of_root_disk_is_taken() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("disk");
        let mut head = vec![0u8; 104];
        head[..4].copy_from_slice(b"QFI\xfb");
        head[7] = 3;
        head[24..32].copy_from_slice(&(5u64 << 30).to_be_bytes());
        fs::write(&path, &head).unwrap();
        assert_eq!(virtual_size(&path).unwrap(), 5 << 30);
        head[79] = 4;
        fs::write(&path, &head).unwrap();
        assert!(virtual_size(&path).is_err(), "an external data file");
        for bad in [&b"raw bytes of a guest"[..], b"QFI\xfb", b""] {
            fs::write(&path, bad).unwrap();
            assert!(virtual_size(&path).is_err());
        }
    }

    #[tokio::test]
    async fn kept_disks_come_back_whatever_interrupts() {
        let temp = tempfile::tempdir().unwrap();
        let files = Instances::open(temp.path()).unwrap().guest(ID).unwrap();
        files.prepare().unwrap();
        fs::write(files.root_disk(), "old root").unwrap();
        fs::write(files.ephemeral(), "old eph").unwrap();
        keep(&files).await.map_err(|e| e.for_log()).unwrap();
        fs::write(files.root_disk(), "new root").unwrap();
        fs::write(files.swap(), "new swap").unwrap();
        // A second call keeps what was kept first.
        keep(&files).await.map_err(|e| e.for_log()).unwrap();
        // A crash after the first rename.
        fs::rename(kept(&files.ephemeral()), files.ephemeral()).unwrap();
        fs::write(files.dir().join("disk.eph0.back"), b"").unwrap();
        for _ in 0..2 {
            put_back(&files).unwrap();
        }
        assert_eq!(fs::read(files.root_disk()).unwrap(), b"old root");
        assert_eq!(fs::read(files.ephemeral()).unwrap(), b"old eph");
        assert!(!files.swap().exists());
        keep(&files).await.unwrap();
        forget(&files).unwrap();
        forget(&files).unwrap();
        assert!(!are_kept(&files));
        put_back(&files).unwrap();
        assert_eq!(fs::read(files.root_disk()).unwrap(), b"old root");
    }

    #[tokio::test]
    async fn only_disks_have_names() {
        let temp = tempfile::tempdir().unwrap();
        let files = Instances::open(temp.path()).unwrap().guest(ID).unwrap();
        files.prepare().unwrap();
        fs::write(files.root_disk(), "root").unwrap();
        assert_eq!(list(&files).unwrap().len(), 1);
        assert!(open(&files, "disk").await.is_ok());
        for name in ["console.log", "record.json", "../disk", "/etc/passwd", "", "disk.swap", "disk.config"] {
            assert!(open(&files, name).await.is_err(), "{name:?}");
        }
    }
}
