//! The agent's files: verified images and config drives.

pub mod config_drive;
mod images;
mod inspect;
mod snapshots;
pub mod transfer;

pub use images::blocking;

use crate::store::Ledger;
use ferrostack_client::ServiceClient;
use ferrostack_hypervisor::{Guest, Rescue};
use ferrostack_model::{Error, Result, guest::GuestSpec, guest_change::RescueSpec, id, image::ImageSource};
use ferrostack_settings::Settings;
use images::Images;
use snapshots::Snapshots;
use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Files that guests start from.
pub struct Files {
    images: Images,
    /// Snapshots on their way out.
    pub snapshots: Snapshots,
    config_drives: PathBuf,
    /// Calls to other services and agents.
    pub client: ServiceClient,
}

impl Files {
    /// The files below the agent's state directory.
    pub fn open(settings: &Settings, ledger: Ledger) -> Result<Self> {
        let agent = &settings.agent;
        let config_drives = agent.state_directory.join("config-drives");
        directory(&config_drives, 0o711)?;
        let client = ServiceClient::new(&settings.credentials)?;
        let snapshots =
            Snapshots::open(agent.state_directory.join("snapshots"), client.clone(), &agent.image_url)?;
        let images = Images::open(
            agent.state_directory.join("images"),
            agent.image_cache_bytes,
            client.clone(),
            &agent.image_url,
            ledger,
        )?;
        Ok(Self { images, snapshots, config_drives, client })
    }

    /// Everything on disk that `spec` needs, fetched and made where it is missing.
    pub async fn guest(&self, spec: &GuestSpec, request_id: Option<&str>) -> Result<Guest> {
        let base = self.images.disk(&spec.image, request_id).await?;
        let file = async |source: &Option<ImageSource>| match source {
            Some(source) => self.images.file(source, request_id).await.map(Some),
            None => Ok(None),
        };
        let kernel = file(&spec.kernel).await?;
        let ramdisk = file(&spec.ramdisk).await?;
        let config_drive = match spec.config_drive {
            true => Some(self.make_config_drive(spec).await?),
            false => None,
        };
        Ok(Guest { spec: spec.clone(), base: Some(base), kernel, ramdisk, config_drive })
    }

    /// Has an image ready for guests to come.
    pub async fn cache(&self, image: &ImageSource, request_id: Option<&str>) -> Result<()> {
        self.images.file(image, request_id).await.map(|_| ())
    }

    /// The files of a rescue.
    pub async fn rescue(
        &self,
        spec: &RescueSpec,
        rescue: Rescue,
        request_id: Option<&str>,
    ) -> Result<Rescue> {
        let base = Some(self.images.disk(&spec.image, request_id).await?);
        let file = async |source: &Option<ImageSource>| match source {
            Some(source) => self.images.file(source, request_id).await.map(Some),
            None => Ok(None),
        };
        Ok(Rescue { base, kernel: file(&spec.kernel).await?, ramdisk: file(&spec.ramdisk).await?, ..rescue })
    }

    async fn make_config_drive(&self, spec: &GuestSpec) -> Result<PathBuf> {
        let path = self
            .config_drive_path(&spec.server_id)
            .ok_or_else(|| Error::bad_request("The server's id is not a UUID."))?;
        let (to, spec) = (path.clone(), spec.clone());
        blocking(move || config_drive::write(&spec, &to)).await?;
        Ok(path)
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
