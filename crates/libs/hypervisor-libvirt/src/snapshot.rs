//! A copy of a guest's root disk as it is at one moment.
//!
//! A guest that is on is copied by QEMU itself (a push backup: what the guest overwrites meanwhile is saved to the copy
//! first). The guest runs on, and nothing in its chain of disk files changes, so whatever ends this early leaves no
//! trace in the guest. Of one that is off the overlay is read directly, under the guest's lock. In both ways
//! `qemu-img convert` makes the result: flat, without the clusters that hold only zeros, of the format asked for.
//! The source's format is always said: bytes that a guest wrote decide nothing (OSSA-2016-001).

use crate::{
    connection::{CallResult, Connection, already},
    disks::{self, Limits},
    files::{GuestFiles, Instances},
    guests,
    locks::Locks,
    xml::{self, backup},
};
use ferrostack_hypervisor::{Compression, SnapshotWish};
use ferrostack_model::{Error, ErrorKind, Result, snapshot::SnapshotFormat};
use std::{
    ffi::{CString, OsString},
    fs,
    io::Read,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use virt::{
    connect::Connect,
    domain::Domain,
    error::{Error as VirtError, ErrorNumber},
    sys,
};

/// How often a copy under way is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long an abandoned copy has to end.
const ABORT: Duration = Duration::from_secs(20);
/// What a qcow2 file may be larger than its disk: tables, and a little.
const OVERHEAD: u64 = 64 << 20;

/// Makes the snapshot of a guest; `of` is what names the guest in libvirt and on the disk.
pub async fn take(
    connection: &Connection,
    locks: &Arc<Locks>,
    of: &GuestFiles,
    id: &str,
    wish: &SnapshotWish,
) -> Result<()> {
    let root = of.root_disk();
    let overlay = overlay(&root)?;
    room(&root, &overlay, wish)?;
    let size = overlay.size;
    if let Some(copy) = live(connection, locks, id, &root, wish).await? {
        let done = convert(&copy.path, size, wish).await;
        remove(&copy.path)?;
        return done;
    }
    let _lock = locks.lock(id).await;
    convert(&root, size, wish).await
}

/// What the header of one of our overlays says: nothing of it is what the guest wrote.
struct Overlay {
    /// Bytes of the disk.
    size: u64,
    /// The base image.
    base: Option<PathBuf>,
}

fn overlay(path: &Path) -> Result<Overlay> {
    let fail = |why: &str| Error::internal(format!("{}: {why}", path.display()));
    let mut head = Vec::new();
    match fs::File::open(path) {
        Ok(file) => drop(file.take(1 << 16).read_to_end(&mut head).map_err(|e| fail(&e.to_string()))?),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::not_found("The guest is not defined on this host."));
        }
        Err(e) => return Err(fail(&e.to_string())),
    }
    let number = |at: usize, bytes: usize| {
        let field = head.get(at..at + bytes)?;
        Some(field.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte)))
    };
    let size = number(24, 8).filter(|size| *size > 0 && *size <= disks::LARGEST);
    let size = size.filter(|_| head.starts_with(b"QFI\xfb")).ok_or_else(|| fail("not an overlay of ours"))?;
    let place = |n: u64| usize::try_from(n).ok();
    let base = number(8, 8).and_then(place).zip(number(16, 4).and_then(place)).filter(|(at, _)| *at > 0);
    let base = base.and_then(|(at, bytes)| head.get(at..at.checked_add(bytes)?));
    let base = base.map(|name| PathBuf::from(std::ffi::OsStr::from_bytes(name)));
    Ok(Overlay { size, base })
}

/// Refuses what could fill the file system that the guests' disks share: the data may come to lie there twice more.
fn room(root: &Path, overlay: &Overlay, wish: &SnapshotWish) -> Result<()> {
    let fail = |e: &dyn std::fmt::Display| Error::internal(format!("space for a snapshot: {e}"));
    let allocated = |path: &Path| fs::metadata(path).map(|meta| meta.blocks().saturating_mul(512));
    let own = allocated(root).map_err(|e| fail(&e))?;
    let base = overlay.base.as_deref().map_or(0, |base| allocated(base).unwrap_or(0));
    let directory = wish.to.parent().unwrap_or(Path::new("/"));
    let there = nix::sys::statvfs::statvfs(directory).map_err(|e| fail(&e))?;
    let free = there.blocks_available().saturating_mul(there.fragment_size());
    let wanted = own.saturating_add(base).saturating_mul(2);
    if free < wanted {
        return Err(Error::new(ErrorKind::Internal, "The host has too little disk space for the snapshot.")
            .with_internal(format!("{wanted} bytes wanted, {free} free in {}", directory.display())));
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::internal(format!("removing {}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

/// A copy that QEMU makes. If this value goes before it is finished the copy is ended, and QEMU with it.
struct Copy {
    path: PathBuf,
    connection: Connection,
    locks: Arc<Locks>,
    id: String,
    finished: bool,
}

impl Drop for Copy {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (connection, locks, id) = (self.connection.clone(), self.locks.clone(), self.id.clone());
        let path = self.path.clone();
        runtime.spawn(async move {
            // The beginning may still be under way and holds the lock.
            let _lock = locks.lock(&id).await;
            let domain = id.clone();
            let ended = connection
                .call(format!("ending the copy of guest {id}"), move |connect| {
                    guests::find(connect, &domain)?.map_or(Ok(()), |domain| abort(&domain))
                })
                .await
                .and_then(|()| remove(&path));
            if let Err(error) = ended {
                tracing::warn!(server_id = id, error = error.for_log(), "copy of a disk not ended");
            }
        });
    }
}

/// Copies the root disk of a guest that is on; `None` if it is off.
async fn live(
    connection: &Connection,
    locks: &Arc<Locks>,
    id: &str,
    root: &Path,
    wish: &SnapshotWish,
) -> Result<Option<Copy>> {
    let mut copy = Copy {
        path: beside(&wish.to, ".copy"),
        connection: connection.clone(),
        locks: locks.clone(),
        id: id.to_owned(),
        finished: false,
    };
    let begun = {
        let (connection, locks, id) = (connection.clone(), locks.clone(), id.to_owned());
        let (root, target, quiesce) = (root.to_owned(), copy.path.clone(), wish.quiesce);
        // To its end even if the caller goes away.
        tokio::spawn(async move {
            let _lock = locks.lock(&id).await;
            connection
                .call(format!("copying the disk of guest {id}"), move |connect| {
                    begin(&guests::get(connect, &id)?, &root, &target, quiesce)
                })
                .await
        })
        .await
        .map_err(|e| Error::internal(format!("a hypervisor operation ended abnormally: {e}")))??
    };
    if !begun {
        copy.finished = true;
        return Ok(None);
    }
    loop {
        let domain = id.to_owned();
        let state = connection
            .call(format!("looking at the copy of guest {id}"), move |connect| {
                state(&guests::get(connect, &domain)?)
            })
            .await?;
        match state {
            State::Working => tokio::time::sleep(LOOK).await,
            State::Done => {
                copy.finished = true;
                return Ok(Some(copy));
            }
            State::Failed(why) => {
                copy.finished = true;
                remove(&copy.path)?;
                return Err(Error::internal(format!("the copy of the disk of guest {id} failed: {why}")));
            }
        }
    }
}

/// Begins the copy; `false` if the guest is off.
fn begin(domain: &Domain, root: &Path, target: &Path, quiesce: bool) -> CallResult<bool> {
    if !domain.is_active()? {
        return Ok(false);
    }
    let disks: backup::DomainDisks = xml::from_str("domain", &domain.xml_desc(0)?)?;
    let is_root = |disk: &&backup::Disk| disk.source.as_ref().is_some_and(|s| Path::new(&s.file) == root);
    let device = disks.devices.disk.iter().find(is_root);
    let device = device.ok_or_else(|| Error::internal("the running guest does not use our root disk"))?;
    let wanted = backup::DomainBackup {
        mode: "push",
        disks: backup::BackupDisks {
            disk: vec![backup::BackupDisk {
                name: device.target.dev.clone(),
                backup: "yes",
                kind: "file",
                target: backup::BackupTarget { file: target.to_string_lossy().into_owned() },
                driver: backup::BackupDriver { kind: "qcow2" },
            }],
        },
    };
    let wanted = xml::to_string("domainbackup", &wanted)?;
    let wanted = CString::new(wanted).map_err(|_| Error::internal("the backup XML holds a NUL"))?;
    // One that an earlier process began, or the first run of this call.
    abort(domain)?;
    remove(target)?;
    if quiesce {
        freeze(domain)?;
    }
    // SAFETY: the domain's pointer is valid while `domain` lives, the text for the call.
    let begun = unsafe { sys::virDomainBackupBegin(domain.as_ptr(), wanted.as_ptr(), std::ptr::null(), 0) };
    let begun = if begun < 0 { Err(VirtError::last_error()) } else { Ok(()) };
    if quiesce {
        thaw(domain);
    }
    already(begun, || domain.is_active().map(|on| !on))?;
    // If it went off at this moment there is nothing to wait for.
    Ok(domain.is_active()?)
}

fn freeze(domain: &Domain) -> CallResult<()> {
    // What an agent that was killed left frozen would refuse a second time.
    thaw(domain);
    // SAFETY: the domain's pointer is valid while `domain` lives; no mount points: all of them.
    let frozen = unsafe { sys::virDomainFSFreeze(domain.as_ptr(), std::ptr::null_mut(), 0, 0) };
    if frozen < 0 {
        let why = VirtError::last_error();
        return Err(Error::new(ErrorKind::Conflict, "The instance's file systems could not be frozen.")
            .with_internal(why.to_string())
            .into());
    }
    Ok(())
}

fn thaw(domain: &Domain) {
    // SAFETY: as for freezing.
    let thawed = unsafe { sys::virDomainFSThaw(domain.as_ptr(), std::ptr::null_mut(), 0, 0) };
    if thawed < 0 {
        tracing::warn!(error = %VirtError::last_error(), "a guest's file systems were not thawed");
    }
}

enum State {
    Working,
    Done,
    Failed(String),
}

/// Whether the domain has a copy under way.
fn is_copied(domain: &Domain) -> CallResult<bool> {
    // SAFETY: the domain's pointer is valid while `domain` lives; the text is freed below.
    let text = unsafe { sys::virDomainBackupGetXMLDesc(domain.as_ptr(), 0) };
    if text.is_null() {
        let error = VirtError::last_error();
        let none = error.code().is(ErrorNumber::NoDomainBackup)
            || error.code().is(ErrorNumber::OperationInvalid)
            || crate::connection::is_missing(&error);
        return if none { Ok(false) } else { Err(error.into()) };
    }
    // SAFETY: libvirt gave the text to us, allocated by malloc.
    unsafe { nix::libc::free(text.cast()) };
    Ok(true)
}

fn state(domain: &Domain) -> CallResult<State> {
    if is_copied(domain)? {
        return Ok(State::Working);
    }
    let flags = sys::VIR_DOMAIN_JOB_STATS_COMPLETED | sys::VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED;
    Ok(match domain.job_stats(flags) {
        Ok(job) if i64::from(job.r#type) == i64::from(sys::VIR_DOMAIN_JOB_COMPLETED) => State::Done,
        Ok(job) => State::Failed(format!("libvirt says {} of the job", job.r#type)),
        Err(error) => State::Failed(error.to_string()),
    })
}

/// Ends a copy that is under way and waits until it has.
fn abort(domain: &Domain) -> CallResult<()> {
    let end = Instant::now() + ABORT;
    let mut asked = false;
    while is_copied(domain)? {
        if !asked {
            // SAFETY: the domain's pointer is valid while `domain` lives.
            let done = unsafe { sys::virDomainAbortJob(domain.as_ptr()) };
            let done = if done < 0 { Err(VirtError::last_error()) } else { Ok(()) };
            already(done, || Ok(true))?;
            asked = true;
        }
        if Instant::now() > end {
            return Err(Error::unavailable("a copy of a guest's disk does not end").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Ends the copies that an earlier process began: nobody waits for them.
pub fn abort_all(connect: &Connect, instances: &Instances) -> CallResult<()> {
    for domain in connect.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)? {
        if guests::mark(&domain, instances.root())?.is_some() {
            abort(&domain)?;
        }
    }
    Ok(())
}

/// `source` (qcow2, always said) as the file that is wished for.
async fn convert(source: &Path, size: u64, wish: &SnapshotWish) -> Result<()> {
    // Made first, for the owner only: the tool keeps the mode of what is there.
    let made = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&wish.to);
    made.map_err(|e| Error::internal(format!("making {}: {e}", wish.to.display())))?;
    let mut command = disks::tool("qemu-img");
    command.args(["convert", "-q", "-f", "qcow2", "-O", wish.format.as_str()]);
    if wish.format == SnapshotFormat::Qcow2 {
        match wish.compression {
            Compression::None => {}
            Compression::Zlib => {
                command.args(["-c", "-o", "compression_type=zlib"]);
            }
            Compression::Zstd => {
                command.args(["-c", "-o", "compression_type=zstd"]);
            }
        }
    }
    command.arg(source).arg(&wish.to);
    let most = size.saturating_add(size / 64).saturating_add(OVERHEAD);
    let most = if wish.max_bytes > 0 { most.min(wish.max_bytes) } else { most };
    let limits = Limits {
        file_bytes: Some(most),
        // Its threads' stacks and heaps count too.
        memory_bytes: 4 * disks::GIB,
        cpu_seconds: 6 * 3600,
        wall: None,
        dies_with_us: true,
    };
    match disks::run_within(command, "qemu-img convert", limits).await {
        // SIGXFSZ, or what the tool says of EFBIG.
        Err(e) if e.for_log().contains("signal: 25") || e.for_log().contains("File too large") => {
            Err(Error::new(ErrorKind::TooLarge, "The snapshot is larger than this host allows.")
                .with_internal(e.for_log()))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::process::Command;

    fn qemu_img(arguments: &[&str]) -> bool {
        match Command::new("qemu-img").args(arguments).output() {
            Ok(out) => {
                assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
                true
            }
            Err(_) => {
                eprintln!("qemu-img is not installed: nothing is tested");
                false
            }
        }
    }

    fn wish(to: PathBuf, format: SnapshotFormat) -> SnapshotWish {
        SnapshotWish { to, format, compression: Compression::None, quiesce: false, max_bytes: 0 }
    }

    /// S-2016-001: a guest overwrites its raw disk with the header of an image that names a file of the host.
    #[tokio::test]
    async fn a_header_that_the_guest_wrote_is_data() {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("canary"), vec![b'S'; 1 << 20]).unwrap();
        let hostile = path("hostile");
        if !qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &path("canary"), &hostile]) {
            return;
        }
        let header = fs::read(&hostile).unwrap();
        // The base of the overlay is itself such a file, declared raw; and the guest wrote it to its overlay too.
        let mut base = header.clone();
        base.resize(2 << 20, 0);
        for (name, written) in [("in-base", false), ("in-overlay", true)] {
            let (base_file, disk) = (path(&format!("{name}-base")), path(&format!("{name}-disk")));
            fs::write(&base_file, if written { vec![0; 2 << 20] } else { base.clone() }).unwrap();
            qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &base_file, &disk, "4194304"]);
            if written {
                // As the guest does it: through the disk.
                let out = Command::new("qemu-io")
                    .args([
                        "-f",
                        "qcow2",
                        "-c",
                        &format!("write -s {hostile} 0 {}", header.len() / 512 * 512),
                        &disk,
                    ])
                    .output()
                    .unwrap();
                assert!(
                    out.status.success() && !String::from_utf8_lossy(&out.stdout).contains("error"),
                    "{out:?}"
                );
            }
            let Overlay { size, base } = overlay(Path::new(&disk)).unwrap();
            assert_eq!(base.unwrap().to_str().unwrap(), base_file);
            assert_eq!(size, 4 << 20);
            let raw = temp.path().join(format!("{name}.raw"));
            convert(Path::new(&disk), size, &wish(raw.clone(), SnapshotFormat::Raw)).await.unwrap();
            let qcow2 = temp.path().join(format!("{name}.qcow2"));
            convert(Path::new(&disk), size, &wish(qcow2.clone(), SnapshotFormat::Qcow2)).await.unwrap();
            let back = path("back");
            qemu_img(&["convert", "-f", "qcow2", "-O", "raw", qcow2.to_str().unwrap(), &back]);
            for seen in [fs::read(&raw).unwrap(), fs::read(&back).unwrap()] {
                assert_eq!(seen.len(), 4 << 20);
                assert_eq!(&seen[..512], &header[..512], "{name}: the literal header");
                assert!(!seen.windows(64).any(|w| w == [b'S'; 64]), "{name}: the canary came along");
            }
            let info = Command::new("qemu-img").args(["info", "--output=json"]).arg(&qcow2).output().unwrap();
            assert!(!String::from_utf8_lossy(&info.stdout).contains("backing"), "flat");
            assert_eq!(fs::metadata(&qcow2).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn zeros_take_no_room_and_a_limit_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
        let mut content = vec![0; 8 << 20];
        for (n, byte) in content[..4 << 20].iter_mut().enumerate() {
            *byte = (n * 7 % 251) as u8;
        }
        fs::write(path("base"), &content).unwrap();
        if !qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &path("base"), &path("disk")]) {
            return;
        }
        let disk = temp.path().join("disk");
        let mut sizes = Vec::new();
        for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
            let to = temp.path().join(format!("{compression:?}"));
            let wish = SnapshotWish { compression, ..wish(to.clone(), SnapshotFormat::Qcow2) };
            convert(&disk, 8 << 20, &wish).await.unwrap();
            qemu_img(&["compare", "-f", "qcow2", "-F", "raw", to.to_str().unwrap(), &path("base")]);
            sizes.push(fs::metadata(to).unwrap().len());
        }
        assert!(sizes[0] < 5 << 20, "{sizes:?}");
        assert!(sizes[1] < sizes[0] && sizes[2] < sizes[0], "{sizes:?}");
        let small =
            SnapshotWish { max_bytes: 1 << 20, ..wish(temp.path().join("small"), SnapshotFormat::Qcow2) };
        let error = convert(&disk, 8 << 20, &small).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge, "{}", error.for_log());
        assert!(fs::metadata(temp.path().join("small")).unwrap().len() <= 1 << 20);
        fs::write(path("short"), "QFI").unwrap();
        assert!(overlay(&temp.path().join("short")).is_err());
        assert_eq!(overlay(&temp.path().join("none")).err().unwrap().kind, ErrorKind::NotFound);
    }
}
