//! The file store: one directory, one file an image, nothing visible before it is durable.
//!
//! A file is written as `<image id>.<upload token>.part`, synced, renamed to `<image id>.<upload token>`, and the
//! directory is synced. Which files count is said by the database alone: what it does not name is swept.

use crate::store::upload::Claim;
use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The store directory. All calls block.
#[derive(Clone, Debug)]
pub struct FileStore {
    directory: PathBuf,
}

impl FileStore {
    /// Makes the directory (mode 0700) if it is missing and checks that it can be written to.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let probe = directory.join(format!(".probe-{}", std::process::id()));
        File::create(&probe)?;
        fs::remove_file(&probe)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The name of the finished file of an upload.
    pub fn name(image_id: &str, token: &str) -> String {
        format!("{image_id}.{token}")
    }

    fn part(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.part"))
    }

    /// Begins a file, readable and writable by us alone.
    pub fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.part(name))
    }

    /// Makes a begun file durable and gives it its name.
    pub fn publish(&self, name: &str, file: &File) -> io::Result<()> {
        file.sync_all()?;
        fs::rename(self.part(name), self.directory.join(name))?;
        File::open(&self.directory)?.sync_all()
    }

    /// Opens a finished file for reading.
    pub fn read(&self, name: &str) -> io::Result<File> {
        File::open(self.directory.join(name))
    }

    /// Removes a file, finished or not; it is fine if there is none.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        for path in [self.part(name), self.directory.join(name)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The names (without `.part`) of all files of ours. Other files are never touched.
    pub fn list(&self) -> io::Result<HashSet<String>> {
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

    /// Whether the directory can be reached.
    pub fn ping(&self) -> io::Result<()> {
        fs::metadata(&self.directory).map(|_| ())
    }
}

/// Which of `names` no living record or upload knows.
pub fn orphans(names: HashSet<String>, claims: &[Claim]) -> Vec<String> {
    let mut wanted = HashSet::new();
    for claim in claims.iter().filter(|c| !c.deleted) {
        wanted.extend(claim.file.clone());
        wanted.extend(claim.upload.as_deref().map(|token| FileStore::name(&claim.id, token)));
    }
    names.into_iter().filter(|name| !wanted.contains(name)).collect()
}

/// `<uuid>.<32 hex digits>`
fn is_ours(name: &str) -> bool {
    name.split_once('.').is_some_and(|(id, token)| {
        id.len() == 36
            && uuid::Uuid::try_parse(id).is_ok()
            && token.len() == 32
            && token.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    const ID: &str = "70a599e0-31e7-49b7-b260-868f441e862b";

    #[test]
    fn nothing_has_its_name_before_it_is_published() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        let name = FileStore::name(ID, &"a".repeat(32));
        let mut file = store.create(&name).unwrap();
        file.write_all(b"data").unwrap();
        assert!(store.read(&name).is_err());
        assert!(store.create(&name).is_err(), "a begun file is never taken over");
        store.publish(&name, &file).unwrap();
        assert!(store.read(&name).is_ok());
        store.remove(&name).unwrap();
        store.remove(&name).unwrap();
        assert!(store.list().unwrap().is_empty());
    }

    #[test]
    fn only_files_of_ours_without_a_claim_are_orphans() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        let name = |c: char| FileStore::name(ID, &c.to_string().repeat(32));
        for c in ['a', 'b', 'c', 'd'] {
            store.create(&name(c)).unwrap();
        }
        fs::write(dir.path().join("README"), "not ours").unwrap();
        let claim = |file: Option<char>, upload: Option<char>, deleted| Claim {
            id: ID.into(),
            file: file.map(name),
            upload: upload.map(|c| c.to_string().repeat(32)),
            deleted,
        };
        let claims =
            [claim(Some('a'), None, false), claim(None, Some('b'), false), claim(Some('c'), None, true)];
        let mut orphans = orphans(store.list().unwrap(), &claims);
        orphans.sort();
        assert_eq!(orphans, [name('c'), name('d')]);
    }
}
