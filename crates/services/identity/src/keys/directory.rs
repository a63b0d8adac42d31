//! The directory of the token keys: whoever can write there can make tokens, so it is checked before it is trusted.

use super::failed;
use ferrostack_model::{Result, Timestamp};
use nix::{libc, unistd::Uid};
use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions, Permissions},
    io::Read,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};
use zeroize::Zeroizing;

/// Largest key file, bytes.
const MAX_FILE: u64 = 64 << 10;
/// Write permission of group and others.
const WRITABLE: u32 = 0o022;

/// Makes the directory, mode 0700, if there is none; refuses one that others could put keys into.
pub fn prepare(directory: &Path) -> Result<()> {
    if !directory.exists() && std::fs::symlink_metadata(directory).is_err() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|e| failed(directory, &e.to_string()))?;
    }
    check(directory)
}

/// Refuses a symbolic link, a directory that group or others may write to, and one of another user.
pub fn check(directory: &Path) -> Result<()> {
    let found = std::fs::symlink_metadata(directory).map_err(|e| failed(directory, &e.to_string()))?;
    if found.is_symlink() {
        return Err(failed(directory, "is a symbolic link: name the directory itself"));
    }
    if !found.is_dir() {
        return Err(failed(directory, "is not a directory"));
    }
    let mode = found.mode() & 0o7777;
    if mode & WRITABLE != 0 {
        return Err(failed(
            directory,
            &format!("mode {mode:o} lets others write: look for keys that are not yours, then chmod 700"),
        ));
    }
    let me = Uid::effective();
    // Root (the operator's tool) works on the directory of the service's user.
    if found.uid() != 0 && found.uid() != me.as_raw() && !me.is_root() {
        return Err(failed(directory, &format!("belongs to user {}, not to user {me}", found.uid())));
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let above = std::fs::metadata(parent).map_err(|e| failed(parent, &e.to_string()))?.mode();
    if above & 0o002 != 0 && above & 0o1000 == 0 {
        return Err(failed(
            directory,
            &format!("is in {}, where everybody may exchange it", parent.display()),
        ));
    }
    if mode & 0o077 != 0 && found.uid() == me.as_raw() {
        std::fs::set_permissions(directory, Permissions::from_mode(0o700))
            .map_err(|e| failed(directory, &e.to_string()))?;
    }
    Ok(())
}

/// The key files, with the times they were made.
pub fn list(directory: &Path) -> Result<Vec<(String, Timestamp)>> {
    let fault = |e: std::io::Error| failed(directory, &e.to_string());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "pem")
            && let Some(kid) = path.file_stem().and_then(|s| s.to_str())
        {
            match entry.metadata() {
                Ok(metadata) => found.push((kid.to_owned(), made_at(&metadata))),
                // Taken away while we were looking.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(failed(&path, &e.to_string())),
            }
        }
    }
    Ok(found)
}

/// The file of a key.
pub fn file(directory: &Path, kid: &str) -> PathBuf {
    directory.join(format!("{kid}.pem"))
}

/// A secret file's content and time. Refuses links, and files that others may read or write (its group may read).
pub fn read(path: &Path) -> Result<(Zeroizing<String>, Timestamp)> {
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).map_err(
            |e| match e.raw_os_error() {
                Some(libc::ELOOP) => failed(path, "is a symbolic link"),
                _ => failed(path, &e.to_string()),
            },
        )?;
    let metadata = file.metadata().map_err(|e| failed(path, &e.to_string()))?;
    if !metadata.is_file() {
        return Err(failed(path, "is not a file"));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o037 != 0 {
        return Err(failed(path, &format!("mode {mode:o} lets others at it: chmod 600")));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|e| failed(path, &e.to_string()))?;
    Ok((text, made_at(&metadata)))
}

/// Gives a new file to the directory's owner, so that the service can read what root has made for it.
pub fn hand_over(directory: &Path, file: &File) -> std::io::Result<()> {
    let (above, mine) = (std::fs::metadata(directory)?, file.metadata()?);
    if Uid::effective().is_root() && above.uid() != mine.uid() {
        std::os::unix::fs::fchown(file, Some(above.uid()), Some(above.gid()))?;
    }
    Ok(())
}

fn made_at(metadata: &Metadata) -> Timestamp {
    let since = metadata.modified().ok().and_then(|m| m.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(result: Result<()>) -> String {
        let error = result.unwrap_err();
        assert!(!error.public.contains('/'), "{}", error.public);
        error.for_log().to_string()
    }
    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn ossa_2013_010_no_directory_that_others_can_write_to() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("a/keys");
        prepare(&keys).unwrap();
        assert_eq!(std::fs::metadata(&keys).unwrap().mode() & 0o7777, 0o700);
        for mode in [0o720, 0o702, 0o777, 0o1777, 0o722] {
            chmod(&keys, mode);
            let text = refused(prepare(&keys));
            assert!(text.contains("lets others write") && text.contains("keys"), "{text}");
            assert_eq!(std::fs::metadata(&keys).unwrap().mode() & 0o7777, mode, "left as found");
        }
        chmod(&keys, 0o755);
        prepare(&keys).unwrap();
        assert_eq!(std::fs::metadata(&keys).unwrap().mode() & 0o7777, 0o700);

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&keys, &link).unwrap();
        assert!(refused(prepare(&link)).contains("symbolic link"));
        let nowhere = dir.path().join("nowhere");
        std::os::unix::fs::symlink(dir.path().join("x"), &nowhere).unwrap();
        assert!(refused(prepare(&nowhere)).contains("symbolic link"));
        assert!(!dir.path().join("x").exists());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(refused(prepare(&file)).contains("not a directory"));
        chmod(&dir.path().join("a"), 0o777);
        assert!(refused(prepare(&keys)).contains("everybody may exchange it"));
        chmod(&dir.path().join("a"), 0o1777);
        prepare(&keys).unwrap();
    }

    #[test]
    fn ossa_2013_010_no_file_that_others_can_read_or_exchange() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "k");
        std::fs::write(&path, "text").unwrap();
        for mode in [0o644, 0o660, 0o604, 0o602] {
            chmod(&path, mode);
            assert!(refused(read(&path).map(drop)).contains("lets others at it"), "{mode:o}");
        }
        for mode in [0o600, 0o400, 0o640] {
            chmod(&path, mode);
            assert_eq!(read(&path).unwrap().0.as_str(), "text");
        }
        let link = file(dir.path(), "link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(refused(read(&link).map(drop)).contains("symbolic link"));
        std::fs::create_dir(file(dir.path(), "d")).unwrap();
        assert!(refused(read(&file(dir.path(), "d")).map(drop)).contains("not a file"));
        assert!(read(&file(dir.path(), "none")).is_err());
    }
}
