//! The files of a guest: `instances/<server id>/`, and the record of what else on the host is its own.

use ferrostack_model::{Error, Result, guest::GuestSpec};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// All guests' files.
#[derive(Clone, Debug)]
pub struct Instances {
    root: PathBuf,
}

/// One guest's files.
#[derive(Clone, Debug)]
pub struct GuestFiles {
    dir: PathBuf,
}

/// The suffix of files that are being made; they are void after a crash.
const PART: &str = ".part";
/// How names of files of rescues begin.
const RESCUE: &str = "rescue-";

impl Instances {
    /// `state_dir/instances`, made if it is not there.
    ///
    /// # Errors
    /// Names the directory that cannot be made.
    pub fn open(state_dir: &Path) -> Result<Self> {
        let fail = |dir: &Path, e| Error::internal(format!("making the directory {}: {e}", dir.display()));
        if let Some(parent) = state_dir.parent() {
            fs::create_dir_all(parent).map_err(|e| fail(parent, e))?;
        }
        make_dir(state_dir).map_err(|e| fail(state_dir, e))?;
        let state_dir = state_dir.canonicalize().map_err(|e| fail(state_dir, e))?;
        let root = state_dir.join("instances");
        make_dir(&root).map_err(|e| fail(&root, e))?;
        Ok(Self { root })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files of a server.
    ///
    /// # Errors
    /// `BadRequest` if the id is not a UUID: anything else could name another place.
    pub fn guest(&self, server_id: &str) -> Result<GuestFiles> {
        Ok(GuestFiles { dir: self.root.join(canonical_id(server_id)?) })
    }

    /// Server ids that have files here.
    pub fn ids(&self) -> Result<Vec<String>> {
        let fail = |e| Error::internal(format!("reading the directory {}: {e}", self.root.display()));
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            if let Some(id) = name.to_str().and_then(|name| canonical_id(name).ok()) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Whether a guest other than `server_id` is recorded on the network.
    pub fn network_in_use(&self, network_id: &str, server_id: &str) -> Result<bool> {
        for id in self.ids()? {
            if id != server_id
                && let Some(record) = self.guest(&id)?.record()?
                && record.ports.iter().any(|port| port.network_id == network_id)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The UUID in the form that libvirt and the file names use.
pub fn canonical_id(server_id: &str) -> Result<String> {
    Uuid::try_parse(server_id)
        .map(|id| id.hyphenated().to_string())
        .map_err(|_| Error::bad_request(format!("{server_id:?} is not a server id.")))
}

/// What a guest has on the host beside its domain and files; written before any of it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its ports.
    pub ports: Vec<PortRecord>,
}

/// A port of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRecord {
    /// Network id.
    pub network_id: String,
    /// MAC address.
    pub mac: String,
}

impl Record {
    /// The record of a spec.
    pub fn of(spec: &GuestSpec) -> Self {
        let port = |nic: &ferrostack_model::network::NicSpec| PortRecord {
            network_id: nic.network.id.clone(),
            mac: nic.mac_address.to_ascii_lowercase(),
        };
        Self { ports: spec.nics.iter().map(port).collect() }
    }

    /// This record and what an older one holds besides: it is still on the host.
    pub fn join(mut self, older: Option<Self>) -> Self {
        for port in older.into_iter().flat_map(|older| older.ports) {
            if !self.ports.contains(&port) {
                self.ports.push(port);
            }
        }
        self
    }
}

impl GuestFiles {
    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of all guests' files.
    pub fn instances(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// The root disk.
    pub fn root_disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    /// The ephemeral disk.
    pub fn ephemeral(&self) -> PathBuf {
        self.dir.join("disk.eph0")
    }

    /// The swap disk.
    pub fn swap(&self) -> PathBuf {
        self.dir.join("disk.swap")
    }

    /// The config drive.
    pub fn config_drive(&self) -> PathBuf {
        self.dir.join("disk.config")
    }

    /// The kernel of a direct boot.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("kernel")
    }

    /// The ramdisk of a direct boot.
    pub fn ramdisk(&self) -> PathBuf {
        self.dir.join("ramdisk")
    }

    /// Who the files belong to on storage that hosts share: the id of a host.
    fn owner_file(&self) -> PathBuf {
        self.dir.join("owner")
    }

    /// The host that the files belong to; none if that was never said.
    pub fn owner(&self) -> Result<Option<String>> {
        let path = self.owner_file();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::internal(format!("reading {}: {e}", path.display()))),
        }
    }

    /// Says that the files belong to `host`.
    pub fn own(&self, host: &str) -> Result<()> {
        if self.owner()?.as_deref() == Some(host) {
            return Ok(());
        }
        self.make(&self.owner_file(), |part| {
            let mut file = fs::File::create(part)?;
            file.write_all(host.as_bytes())?;
            file.sync_all()
        })
    }

    /// A file by which another host sees that it shares these; void like everything half-made.
    ///
    /// # Errors
    /// `BadRequest` if `name` is not a UUID: anything else could name another place.
    pub fn marker(&self, name: &str) -> Result<PathBuf> {
        Ok(self.dir.join(format!("{}{PART}", canonical_id(name)?)))
    }

    /// A file of the rescue with this number: its `disk`, the `base` of that, `kernel`, `ramdisk`.
    pub fn rescue(&self, tag: i64, what: &str) -> PathBuf {
        self.dir.join(format!("{RESCUE}{tag}.{what}"))
    }

    /// Removes the files of every rescue.
    pub fn remove_rescue(&self) -> Result<()> {
        let fail = |e| Error::internal(format!("removing rescue files of {}: {e}", self.dir.display()));
        for entry in fs::read_dir(&self.dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_name().to_string_lossy().starts_with(RESCUE) {
                remove_file(&entry.path()).map_err(fail)?;
            }
        }
        Ok(())
    }

    /// The serial console's log.
    pub fn console_log(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// Whether there are any files.
    pub fn exist(&self) -> bool {
        self.dir.is_dir()
    }

    /// Makes the directory and the console log, and removes half-made files of an interrupted run.
    pub fn prepare(&self) -> Result<()> {
        let fail = |e| Error::internal(format!("preparing the directory {}: {e}", self.dir.display()));
        make_dir(&self.dir).map_err(fail)?;
        for entry in fs::read_dir(&self.dir).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if path.to_string_lossy().ends_with(PART) {
                remove_file(&path).map_err(fail)?;
            }
        }
        // libvirtd would make it for root alone; it appends to what is there.
        fs::OpenOptions::new().create(true).append(true).open(self.console_log()).map_err(fail)?;
        Ok(())
    }

    /// What is recorded; `None` if nothing is, or not readably (it is then made anew).
    pub fn record(&self) -> Result<Option<Record>> {
        let path = self.dir.join("record.json");
        match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(record) => Ok(Some(record)),
                Err(e) => {
                    tracing::warn!(file = %path.display(), error = %e, "ignoring a damaged guest record");
                    Ok(None)
                }
            },
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::internal(format!("reading {}: {e}", path.display()))),
        }
    }

    /// Writes the record, all or nothing.
    pub fn write_record(&self, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec(record).map_err(|e| Error::internal(format!("guest record: {e}")))?;
        self.make(&self.dir.join("record.json"), |part| {
            let mut file = fs::File::create(part)?;
            file.write_all(&bytes)?;
            file.sync_all()
        })
    }

    /// Makes `target` by way of a name that is void after a crash.
    ///
    /// # Errors
    /// Names the file.
    pub fn make(&self, target: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<()> {
        let part = part(target);
        make(&part)
            .and_then(|()| fs::rename(&part, target))
            .map_err(|e| Error::internal(format!("writing {}: {e}", target.display())))
    }

    /// Puts `source` at `target` without copying where the file system allows.
    pub fn link(&self, source: &Path, target: &Path) -> Result<()> {
        let same = |a: fs::Metadata, b: fs::Metadata| a.dev() == b.dev() && a.ino() == b.ino();
        if let (Ok(a), Ok(b)) = (fs::metadata(source), fs::metadata(target))
            && same(a, b)
        {
            return Ok(());
        }
        self.make(target, |part| {
            remove_file(part)?;
            match fs::hard_link(source, part) {
                Ok(()) => Ok(()),
                Err(_) => fs::copy(source, part).map(drop),
            }
        })
    }

    /// Copies `source` to `target` (an own file: the source may be temporary).
    pub fn copy(&self, source: &Path, target: &Path) -> Result<()> {
        if source == target {
            return Ok(());
        }
        self.make(target, |part| {
            remove_file(part)?;
            fs::copy(source, part)?;
            fs::set_permissions(part, fs::Permissions::from_mode(0o600))
        })
    }

    /// Removes what a guest has written to, and what it boots from beside its disk. `preserve_ephemeral` keeps the
    /// second disk and the swap disk.
    pub fn wipe(&self, preserve_ephemeral: bool) -> Result<()> {
        let mut files = vec![self.root_disk(), self.config_drive(), self.kernel(), self.ramdisk()];
        if !preserve_ephemeral {
            files.extend([self.ephemeral(), self.swap()]);
        }
        for file in files {
            remove_file(&file).map_err(|e| Error::internal(format!("removing {}: {e}", file.display())))?;
        }
        Ok(())
    }

    /// Removes everything. Success if there is nothing.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(Error::internal(format!("removing {}: {e}", self.dir.display())))
            }
            _ => Ok(()),
        }
    }
}

/// The name that `target` has while it is made.
pub fn part(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(PART);
    name.into()
}

fn remove_file(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// A directory that others may pass through but not list: QEMU runs as another user.
fn make_dir(dir: &Path) -> std::io::Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(0o711)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(e) => Err(e),
    }
}

/// The first directory on the way to `dir` that a user cannot pass through.
pub fn impassable(dir: &Path, uid: u32, gid: u32) -> Option<PathBuf> {
    if uid == 0 {
        return None;
    }
    let mut way: Vec<&Path> = dir.ancestors().collect();
    way.reverse();
    way.into_iter()
        .find(|dir| {
            fs::metadata(dir).is_ok_and(|meta| {
                let bit = match () {
                    () if meta.uid() == uid => 0o100,
                    () if meta.gid() == gid => 0o010,
                    () => 0o001,
                };
                meta.mode() & bit == 0
            })
        })
        .map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const ID: &str = "2d6f7a1c-4f0e-4f7c-9a55-0c3b6f1f7d11";

    #[test]
    fn an_id_that_is_not_a_uuid_names_no_place() {
        let temp = tempfile::tempdir().unwrap();
        let instances = Instances::open(temp.path()).unwrap();
        for id in
            ["", "..", "../../etc", "/etc", "a\0b", &"x".repeat(300), "2d6f7a1c-4f0e-4f7c-9a55-0c3b6f1f7d1/"]
        {
            assert!(instances.guest(id).is_err(), "{id:?}");
        }
        assert!(instances.guest(ID).is_ok());
        assert!(instances.guest(&ID.to_uppercase()).unwrap().dir().ends_with(ID));
    }

    #[test]
    fn directories_are_passable_whatever_the_umask() {
        let temp = tempfile::tempdir().unwrap();
        let instances = Instances::open(&temp.path().join("a/state")).unwrap();
        instances.guest(ID).unwrap().prepare().unwrap();
        for dir in [instances.root().parent().unwrap(), instances.root(), &instances.root().join(ID)] {
            assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o711, "{}", dir.display());
        }
    }

    #[test]
    fn half_made_files_go_and_whole_ones_stay() {
        let temp = tempfile::tempdir().unwrap();
        let files = Instances::open(temp.path()).unwrap().guest(ID).unwrap();
        files.prepare().unwrap();
        fs::write(files.root_disk(), "whole").unwrap();
        fs::write(part(&files.swap()), "half").unwrap();
        files.prepare().unwrap();
        assert_eq!(fs::read(files.root_disk()).unwrap(), b"whole");
        assert!(!part(&files.swap()).exists());
        files.remove().unwrap();
        files.remove().unwrap();
        assert!(!files.exist());
    }

    #[test]
    fn records_tell_who_uses_a_network() {
        let temp = tempfile::tempdir().unwrap();
        let instances = Instances::open(temp.path()).unwrap();
        let files = instances.guest(ID).unwrap();
        files.prepare().unwrap();
        let port = |net: &str| PortRecord { network_id: net.into(), mac: "fa:16:3e:00:00:01".into() };
        files.write_record(&Record { ports: vec![port("n1")] }).unwrap();
        assert!(instances.network_in_use("n1", "other").unwrap());
        assert!(!instances.network_in_use("n1", ID).unwrap(), "a guest does not keep its own network");
        assert!(!instances.network_in_use("n2", "other").unwrap());
        let joined = Record { ports: vec![port("n2")] }.join(files.record().unwrap());
        assert_eq!(joined.ports, [port("n2"), port("n1")]);
        fs::write(files.dir().join("record.json"), "{").unwrap();
        assert_eq!(files.record().unwrap(), None, "a damaged record stops nobody");
    }

    #[test]
    fn a_closed_directory_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let closed = temp.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let inside = closed.join("x");
        assert_eq!(impassable(&inside, 64055, 108), Some(closed.clone()));
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(impassable(&inside, 64055, 108), None);
    }
}
