//! The file store: one directory, one file an image, nothing visible before it is durable.
//!
//! A file is written as `<name>.part`, synced, renamed to `<name>`, and the directory is synced.

use super::{Opened, Store, Writer, is_ours};
use crate::download::BLOCK;
use bytes::Bytes;
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};
use url::Url;

/// The store directory.
#[derive(Clone, Debug)]
pub struct FileStore {
    directory: PathBuf,
}

impl FileStore {
    /// Makes the directory (mode 0700) if it is missing and checks that it can be written to.
    pub fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let probe = directory.join(format!(".probe-{}", std::process::id()));
        File::create(&probe)?;
        fs::remove_file(&probe)?;
        Ok(Self { directory: directory.to_owned() })
    }

    fn part(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.part"))
    }
}

impl Store for FileStore {
    /// Readable and writable by us alone.
    fn create(&self, name: &str) -> io::Result<Box<dyn Writer>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(self.part(name))?;
        Ok(Box::new(Growing::new(file, self.clone(), name.to_owned())))
    }

    fn open(&self, name: &str) -> io::Result<Opened> {
        let file = File::open(self.directory.join(name))?;
        let size = file.metadata()?.len();
        Ok(Opened::File(file, size))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        for path in [self.part(name), self.directory.join(name)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn list(&self) -> io::Result<HashSet<String>> {
        let mut names = HashSet::new();
        for entry in fs::read_dir(&self.directory)? {
            if let Ok(name) = entry?.file_name().into_string() {
                let name = name.strip_suffix(".part").unwrap_or(&name);
                if is_ours(name) {
                    names.insert(name.to_owned());
                }
            }
        }
        Ok(names)
    }

    fn ping(&self) -> io::Result<()> {
        fs::metadata(&self.directory).map(|_| ())
    }

    fn url(&self, name: &str) -> String {
        let path = self.directory.join(name);
        Url::from_file_path(&path).map_or_else(|()| format!("file://{}", path.display()), Into::into)
    }

    fn properties(&self) -> Value {
        json!({"data_dir": self.directory.display().to_string(), "chunk_size": BLOCK, "thin_provisioning": false})
    }
}

/// After so many bytes more the disk begins to write them, so that little is left to do at the end.
const EARLY: u64 = 64 << 20;

/// A file that has not got its name yet.
struct Growing {
    file: File,
    size: u64,
    store: FileStore,
    name: String,
    /// Written out, or about to be.
    synced: u64,
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl Growing {
    fn new(file: File, store: FileStore, name: String) -> Self {
        Self { file, size: 0, store, name, synced: 0, syncing: None }
    }

    /// Lets a thread sync what there is, unless one is still at it.
    fn sync_early(&mut self) -> io::Result<()> {
        if self.size - self.synced < EARLY || self.syncing.as_ref().is_some_and(|s| !s.is_finished()) {
            return Ok(());
        }
        self.end_sync()?;
        let file = self.file.try_clone()?;
        self.synced = self.size;
        self.syncing =
            Some(thread::Builder::new().name("image sync".into()).spawn(move || file.sync_data())?);
        Ok(())
    }

    /// Waits for the thread. The kernel tells an error once: what it told the thread the last sync would not hear.
    fn end_sync(&mut self) -> io::Result<()> {
        match self.syncing.take().map(JoinHandle::join) {
            Some(Ok(done)) => done,
            Some(Err(_)) => Err(io::Error::other("syncing broke")),
            None => Ok(()),
        }
    }
}

impl Writer for Growing {
    fn write(&mut self, batch: &[Bytes]) -> io::Result<()> {
        for chunk in batch {
            self.file.write_all(chunk)?;
            self.size += chunk.len() as u64;
        }
        self.sync_early()
    }

    fn publish(mut self: Box<Self>) -> io::Result<Opened> {
        self.end_sync()?;
        self.file.sync_all()?;
        fs::rename(self.store.part(&self.name), self.store.directory.join(&self.name))?;
        File::open(&self.store.directory)?.sync_all()?;
        Ok(Opened::File(self.file, self.size))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::stores::object_name;

    const ID: &str = "70a599e0-31e7-49b7-b260-868f441e862b";

    #[test]
    fn nothing_has_its_name_before_it_is_published() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        let name = object_name(ID, &"a".repeat(32));
        let mut file = store.create(&name).unwrap();
        file.write(&[Bytes::from_static(b"da"), Bytes::from_static(b"ta")]).unwrap();
        assert!(store.open(&name).is_err());
        assert!(store.create(&name).is_err(), "a begun file is never taken over");
        assert_eq!(store.list().unwrap().len(), 1, "a begun file is seen by the sweep");
        assert_eq!(file.publish().unwrap().size(), 4);
        assert_eq!(store.open(&name).unwrap().size(), 4);
        fs::write(dir.path().join("README"), "not ours").unwrap();
        assert_eq!(store.list().unwrap(), HashSet::from([name.clone()]));
        store.remove(&name).unwrap();
        store.remove(&name).unwrap();
        assert!(store.list().unwrap().is_empty());
    }
}
