//! The agent's files: verified images and config drives.

use ferrostack_hypervisor::Guest;
use ferrostack_model::{Error, Result, guest::GuestSpec, id};
use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Files that guests start from.
pub struct Files {
    config_drives: PathBuf,
}

impl Files {
    /// The files below `state`.
    pub fn new(state: &Path) -> Self {
        Self { config_drives: state.join("config-drives") }
    }

    /// Everything on disk that `spec` needs.
    pub async fn guest(&self, _spec: &GuestSpec, _request_id: Option<&str>) -> Result<Guest> {
        Err(Error::new(ferrostack_model::ErrorKind::NotImplemented, "Images are not supported yet."))
    }

    /// Removes the config drive, if there is one.
    pub async fn remove_config_drive(&self, server_id: &str) -> Result<()> {
        let Some(path) = self.config_drive_path(server_id) else { return Ok(()) };
        match tokio::fs::remove_file(&path).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file_error(&path, e)),
            _ => Ok(()),
        }
    }

    /// Only for ids that can be nothing but a file name.
    fn config_drive_path(&self, server_id: &str) -> Option<PathBuf> {
        id::is_uuid_like(server_id).then(|| self.config_drives.join(format!("{server_id}.img")))
    }
}

/// An error that names the file.
pub fn file_error(path: &Path, error: std::io::Error) -> Error {
    Error::internal(format!("{}: {error}", path.display()))
}

/// Makes a directory that only we may enter.
pub fn private_directory(path: &Path) -> Result<()> {
    directory(path, 0o700)
}

/// Makes a directory with `mode`, and its parents.
pub fn directory(path: &Path, mode: u32) -> Result<()> {
    if !path.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|e| file_error(path, e))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| file_error(path, e))
}
