//! Files with secrets that others on the machine can read.

use crate::Settings;
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A file that holds a secret and that others than its owner and group can read or write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The file.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// What it holds.
    pub holds: &'static str,
}

impl Exposed {
    fn of(path: &Path, holds: &'static str) -> Option<Self> {
        let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (mode & 0o007 != 0).then(|| Self { path: path.to_owned(), mode, holds })
    }

    /// Says so in the log.
    pub fn warn(&self) {
        let (path, mode) = (self.path.display(), format!("{:o}", self.mode));
        tracing::warn!(%path, mode, "{} can be read by everybody on this machine", self.holds);
    }
}

/// Those of the files that `settings` name, and of `file`, where they were read from.
pub fn exposed(settings: &Settings, file: Option<&Path>) -> Vec<Exposed> {
    let has_password =
        |text: &str| url::Url::parse(text).is_ok_and(|url| url.password().is_some_and(|p| !p.is_empty()));
    let file = file.filter(|_| has_password(&settings.database.url) || has_password(&settings.bus.url));
    [
        file.and_then(|path| Exposed::of(path, "the settings file, which holds a password,")),
        Exposed::of(&settings.credentials.password_file, "the file with the service users' password"),
        settings
            .identity
            .admin_password_file
            .as_deref()
            .and_then(|path| Exposed::of(path, "the file with the admin's password")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// CVE-2013-1977, OSSN-0003.
    #[test]
    fn cve_2013_1977_files_that_everybody_can_read_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, "x").unwrap();
            path
        };
        let allow = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let (file, admin, service) = (path("settings.toml"), path("admin"), path("service"));
        let mut settings = Settings::default();
        settings.identity.admin_password_file = Some(admin.clone());
        settings.credentials.password_file = service.clone();
        let found = |settings: &Settings| {
            exposed(settings, Some(&file)).into_iter().map(|e| e.path).collect::<Vec<_>>()
        };
        for path in [&file, &admin, &service] {
            allow(path, 0o640);
        }
        assert!(found(&settings).is_empty());
        for path in [&file, &admin, &service] {
            allow(path, 0o644);
        }
        // The settings file matters only with a password in it.
        assert_eq!(found(&settings), [service.clone(), admin.clone()]);
        settings.bus.url = "amqp://fs:hunter2@127.0.0.1/x".into();
        assert_eq!(found(&settings), [file.clone(), service, admin]);
        settings.identity.admin_password_file = Some("/nosuch".into());
        allow(&file, 0o602);
        assert_eq!(found(&settings)[0], file);
    }
}
