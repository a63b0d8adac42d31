//! A cloud of six separate processes on PostgreSQL and RabbitMQ, by `deploy/local/up`.

use crate::{root, run};
use ferrostack_testkit::Api;
use std::{collections::BTreeMap, fs::Permissions, os::unix::fs::PermissionsExt, path::PathBuf};
use tempfile::TempDir;

/// The cloud; dropping it ends the processes and removes its database and vhost.
pub struct LocalCloud {
    directory: TempDir,
    offset: u16,
}

impl LocalCloud {
    /// Starts one on the standard ports plus `offset`, with `extra` arguments for `deploy/local/up`.
    pub fn up(offset: u16, extra: &[&str]) -> Self {
        let cloud = Self { directory: tempfile::tempdir().expect("temporary directory"), offset };
        // QEMU runs as a user of its own and must reach the guests' disks.
        std::fs::set_permissions(cloud.directory.path(), Permissions::from_mode(0o711)).expect("permissions");
        let (state, port) = (cloud.state(), offset.to_string());
        let mut arguments = vec!["--state", state.to_str().expect("path"), "--port-offset", &port];
        arguments.extend(extra);
        let text = run(root().join("deploy/local/up").to_str().expect("path"), &arguments);
        assert!(text.lines().any(|l| l.starts_with("ready")), "not ready:\n{text}");
        cloud
    }

    /// Its state directory.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("cloud")
    }

    /// The processes by name.
    pub fn pids(&self) -> BTreeMap<String, i32> {
        std::fs::read_to_string(self.state().join("pids"))
            .expect("pids file")
            .lines()
            .filter_map(|line| {
                let (name, pid) = line.split_once(' ')?;
                Some((name.to_owned(), pid.trim().parse().ok()?))
            })
            .collect()
    }

    /// Starts the named process again.
    pub fn restart(&self, name: &str) {
        let state = self.state();
        run(
            root().join("deploy/local/restart").to_str().expect("path"),
            &["--state", state.to_str().expect("path"), name],
        );
    }

    /// The variables of `openrc`.
    pub fn openrc(&self) -> BTreeMap<String, String> {
        std::fs::read_to_string(self.state().join("openrc"))
            .expect("openrc")
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.trim_matches(['"', '\'']).to_owned()))
            .collect()
    }

    /// The admin, logged in.
    pub async fn admin(&self) -> Api {
        let at = |port: u16| format!("http://127.0.0.1:{}", port + self.offset);
        let password = self.openrc()["OS_PASSWORD"].clone();
        let nobody = Api {
            http: reqwest::Client::builder().no_proxy().build().expect("client"),
            identity: at(5000),
            image: at(9292),
            compute: at(8774) + "/v2.1",
            network: at(9696),
            token: None,
            microversion: None,
        };
        nobody.login("admin", &password, "admin").await
    }
}

impl Drop for LocalCloud {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The logs are what tells why; show their ends before they go.
            for entry in std::fs::read_dir(self.state().join("logs")).into_iter().flatten().flatten() {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let lines: Vec<_> = text.lines().rev().filter(|l| !l.contains("access")).take(15).collect();
                eprintln!("--- {}", entry.path().display());
                for line in lines.iter().rev() {
                    eprintln!("{line}");
                }
            }
        }
        let _ = std::process::Command::new(root().join("deploy/local/down"))
            .args(["--purge", "--state", &self.state().to_string_lossy()])
            .status();
    }
}
