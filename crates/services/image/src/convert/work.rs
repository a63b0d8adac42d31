//! The directory a conversion works in: beside the target, so that the result only has to be renamed.

use super::confine::User;
use crate::inspect::CheckedImage;
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown},
    },
    path::{Path, PathBuf},
};

/// The image to read.
pub const SOURCE: &str = "source";
/// The image to write.
pub const TARGET: &str = "target";
/// What the directories' names begin with: what is left of them after a crash may go.
pub const PREFIX: &str = ".convert-";

/// Goes with everything in it when dropped.
pub struct Work {
    path: PathBuf,
    /// The source, if its group was changed, and what it was.
    lent: Option<(File, u32, u32)>,
}

impl Work {
    /// Makes the directory, with a link to the image that `user` may read.
    pub fn new(target: &Path, image: &CheckedImage, user: Option<&User>) -> io::Result<Self> {
        let parent = target.parent().ok_or_else(|| io::Error::other("the target has no directory"))?;
        if target.symlink_metadata().is_ok() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the target is already there"));
        }
        let path = parent.join(format!("{PREFIX}{}", ferrostack_model::id::hex()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let mut work = Self { path, lent: None };
        let source = work.path.join(SOURCE);
        link(image.file(), &source)?;
        if let Some(user) = user {
            chown(&work.path, Some(user.uid), Some(user.gid))?;
            work.lend(image, user)?;
        }
        Ok(work)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the user's group read the image. Nobody else of that group reaches it: the directories around the
    /// other links are closed to them.
    fn lend(&mut self, image: &CheckedImage, user: &User) -> io::Result<()> {
        let file = File::open(self.path.join(SOURCE))?;
        let before = file.metadata()?;
        // A copy has a link of its own and belongs to the user altogether.
        let copied = before.ino() != image.file().metadata()?.ino();
        self.lent = Some((file.try_clone()?, before.gid(), before.mode()));
        fchown(&file, copied.then_some(user.uid), Some(user.gid))?;
        file.set_permissions(fs::Permissions::from_mode(0o640))
    }

    /// The result, durable and ours, at its place.
    pub fn take(self, target: &Path) -> io::Result<File> {
        let made = self.path.join(TARGET);
        // What is opened must be the file and no link to another: the child's user owns the directory.
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NOFOLLOW).open(&made)?;
        let about = file.metadata()?;
        if !about.is_file() || about.nlink() != 1 {
            return Err(io::Error::other("the result is no file of its own"));
        }
        let own = fs::metadata(target.parent().unwrap_or(target))?;
        if own.uid() != about.uid() {
            fchown(&file, Some(nix::unistd::geteuid().as_raw()), Some(nix::unistd::getegid().as_raw()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.sync_all()?;
        fs::rename(&made, target)?;
        if let Some(parent) = target.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(file)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some((file, gid, mode)) = self.lent.take() {
            let back = fchown(&file, None, Some(gid))
                .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode & 0o7777)));
            if let Err(error) = back {
                tracing::warn!(%error, "an image's group stays as it was lent for a conversion");
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "directory of a conversion is left");
        }
    }
}

/// A second name of an open file; a copy where the file system has none across directories.
fn link(file: &File, to: &Path) -> io::Result<()> {
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    let (here, flags) = (nix::fcntl::AT_FDCWD, nix::fcntl::AtFlags::AT_SYMLINK_FOLLOW);
    if nix::unistd::linkat(here, from.as_str(), here, to, flags).is_ok() {
        return Ok(());
    }
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut source = File::open(&from)?;
    io::copy(&mut source, &mut copy).map(drop)
}
