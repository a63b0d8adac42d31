//! The cloud under test.

use crate::{Api, TestDatabase};
use ferrostack::Cloud;
use ferrostack_bus::Bus;
use ferrostack_settings::{HypervisorKind, Settings};
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};
use tempfile::TempDir;

/// Where the tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// Files in the test's directory.
    Sqlite,
    /// A fresh database on `FERROSTACK_TEST_POSTGRES`.
    Postgres,
}

/// What a test wants of its cloud.
pub struct Options {
    /// Where the tables are.
    pub database: Database,
    /// Fake hosts.
    pub hosts: u32,
    /// Changes the settings before the start.
    pub adjust: fn(&mut Settings),
}

impl Default for Options {
    fn default() -> Self {
        Self { database: Database::Sqlite, hosts: 3, adjust: |_| {} }
    }
}

/// Every service in this process. Dropping it ends them.
pub struct TestCloud {
    /// The settings in force.
    pub settings: Settings,
    /// The bus the services share.
    pub bus: Arc<dyn Bus>,
    /// The admin, logged in, project admin.
    pub admin: Api,
    cloud: Option<Cloud>,
    database: Option<TestDatabase>,
    _directory: TempDir,
}

impl TestCloud {
    /// A cloud on SQLite with three hosts.
    pub async fn start() -> Self {
        Self::with(Options::default()).await.expect("SQLite is always there")
    }

    /// A cloud as `options` says; `None` if they want a PostgreSQL that is not given.
    pub async fn with(options: Options) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let database = match options.database {
            Database::Sqlite => None,
            Database::Postgres => Some(TestDatabase::create().await?),
        };
        let mut settings = settings(directory.path(), options.hosts);
        if let Some(database) = &database {
            settings.database.url.clone_from(&database.url);
            settings.database.max_connections = 5;
        }
        (options.adjust)(&mut settings);
        std::fs::write(&settings.credentials.password_file, "service-secret").unwrap();
        if let Some(file) = &settings.identity.admin_password_file {
            std::fs::write(file, "admin-secret").unwrap();
        }
        let bus = ferrostack_bus::connect(&settings.bus.url, "test").await.unwrap();
        let cloud = Cloud::start(&settings, bus.clone()).await.unwrap();
        let nobody = Api {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            identity: format!("http://{}", settings.identity.listen),
            image: format!("http://{}", settings.image.listen),
            compute: format!("http://{}/v2.1", settings.compute.listen),
            network: format!("http://{}", settings.network.listen),
            token: None,
            microversion: None,
        };
        let admin = nobody.login("admin", "admin-secret", "admin").await;
        Some(Self { settings, bus, admin, cloud: Some(cloud), database, _directory: directory })
    }

    /// Ends every service and removes what they kept.
    pub async fn stop(mut self) {
        if let Some(cloud) = self.cloud.take() {
            cloud.stop().await;
        }
        if let Some(database) = self.database.take() {
            database.drop_now().await;
        }
    }
}

impl Drop for TestCloud {
    fn drop(&mut self) {
        if let Some(cloud) = &self.cloud {
            cloud.stop_token().cancel();
        }
    }
}

/// Settings for a cloud of its own below `directory`, on ports that are free now.
fn settings(directory: &std::path::Path, hosts: u32) -> Settings {
    let mut s = Settings::default();
    let [identity, image, compute, network, scheduler, agent] = free_ports();
    (s.identity.listen, s.image.listen, s.compute.listen) = (identity, image, compute);
    (s.network.listen, s.scheduler.listen, s.agent.listen) = (network, scheduler, agent);
    s.database.url = format!("sqlite:{}", directory.join("db").display());
    s.credentials.auth_url = format!("http://{identity}/v3");
    s.credentials.password_file = directory.join("service-password");
    s.tokens.feed_poll_ms = 200;
    s.identity.key_directory = directory.join("keys");
    s.identity.admin_password_file = Some(directory.join("admin-password"));
    s.identity.bcrypt_cost = 4;
    s.image.store_directory = directory.join("images");
    s.compute.image_url = Some(format!("http://{image}"));
    s.compute.network_url = Some(format!("http://{network}"));
    s.agent.hypervisor = HypervisorKind::Fake;
    s.agent.fake.hosts = hosts;
    s.agent.image_url = format!("http://{image}");
    s.agent.state_directory = directory.join("agent");
    s.agent.metadata_listen.clear();
    s.agent.report_seconds = 1;
    for workers in
        [&mut s.identity.workers, &mut s.image.workers, &mut s.compute.workers, &mut s.network.workers]
    {
        *workers = 1;
    }
    s
}

fn free_ports() -> [SocketAddr; 6] {
    // Held together so that all differ; another process may still take one before we do.
    let held: Vec<TcpListener> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    std::array::from_fn(|i| held[i].local_addr().unwrap())
}
