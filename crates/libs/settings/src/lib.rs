//! Typed settings: defaults < TOML file < environment `FERROSTACK__SECTION__KEY`; and telemetry set-up.
//!
//! One file configures every service of a cloud; each reads its own section and the shared ones.

mod agent;
mod exposed;
mod formats;
mod image_fetch;
mod image_import;
mod image_metadefs;
mod image_quota;
mod image_records;
mod image_storage;
mod image_transfers;
mod notifications;
mod sections;
mod security;
mod telemetry;

pub use agent::{Agent, FakeHypervisor, HypervisorKind, SnapshotCompression, VirtType};
pub use exposed::{Exposed, exposed};
pub use formats::{ImageConvert, ImageFormats};
pub use image_fetch::ImageFetch;
pub use image_import::ImageImport;
pub use image_metadefs::ImageMetadefs;
pub use image_quota::ImageQuota;
pub use image_records::PropertyProtectionFormat;
pub use image_storage::{ImageStorage, ImageStore, ImageStoreKind};
pub use image_transfers::ImageTransfers;
pub use notifications::Notifications;
pub use sections::{
    Bus, Compute, Credentials, Database, Identity, Image, LimitModel, Log, LogFormat, Network, NetworkQuota,
    Quota, Scheduler, Tokens,
};
pub use security::Security;
pub use telemetry::init as init_telemetry;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All settings of a cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Logs.
    pub log: Log,
    /// Where the tables are.
    pub database: Database,
    /// Where the messages go.
    pub bus: Bus,
    /// Who this process is when it calls other services.
    pub credentials: Credentials,
    /// How tokens of others are verified.
    pub tokens: Tokens,
    /// Keystone.
    pub identity: Identity,
    /// Glance.
    pub image: Image,
    /// Nova.
    pub compute: Compute,
    /// The scheduler.
    pub scheduler: Scheduler,
    /// The compute agent.
    pub agent: Agent,
    /// Neutron.
    pub network: Network,
}

impl Settings {
    /// Reads `file` (if given it must exist) and the environment. Errors name the file and the key.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut builder = config::Config::builder();
        if let Some(path) = file {
            anyhow::ensure!(path.is_file(), "settings file {} does not exist", path.display());
            readable(path)?;
            builder = builder.add_source(config::File::from(path).format(config::FileFormat::Toml));
        }
        builder
            .add_source(
                config::Environment::with_prefix("FERROSTACK")
                    .prefix_separator("__")
                    .separator("__")
                    .try_parsing(true),
            )
            .build()
            .and_then(config::Config::try_deserialize)
            .with_context(|| match file {
                Some(path) => format!("settings from {} and FERROSTACK__*", path.display()),
                None => "settings from FERROSTACK__*".into(),
            })
    }

    /// The settings as TOML, secrets hidden: for `ferrostack admin config` and the example file.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        let mut shown = self.clone();
        shown.database.url = without_password(&shown.database.url);
        shown.bus.url = without_password(&shown.bus.url);
        Ok(toml::to_string_pretty(&shown)?)
    }
}

/// An error for a file that is no TOML. It names the line but does not show it, as the parser would: there may be a
/// password in it.
fn readable(path: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("settings file {}", path.display()))?;
    if let Err(error) = toml::from_str::<toml::Table>(&text) {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        anyhow::bail!("settings file {}, line {line}: {}", path.display(), error.message());
    }
    Ok(())
}

/// A URL with its password replaced by `***`.
pub fn without_password(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(mut url) if url.password().is_some() => {
            let _ = url.set_password(Some("***"));
            url.to_string()
        }
        _ => text.to_owned(),
    }
}

/// This machine's name, as services report it.
pub fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".into(),
        name => name.chars().take(255).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn defaults_round_trip_and_hide_passwords() {
        let mut settings = Settings::default();
        settings.database.url = "postgres://fs:hunter2@127.0.0.1/x".into();
        let text = settings.to_toml().unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        let back: Settings = toml::from_str(&text).unwrap();
        assert_eq!(back.identity, settings.identity);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = toml::from_str::<Settings>("[identity]\nlissten = 1\n").unwrap_err().to_string();
        assert!(error.contains("lissten"), "{error}");
    }
}
