//! The state directory: passwords, settings, `openrc` and `clouds.yaml`.

use crate::cli::StateArgs;
use anyhow::Context;
use ferrostack_settings::{Log, Settings};
use nix::fcntl::{Flock, FlockArg};
use rand::Rng;
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// A prepared state directory.
pub struct StateDir {
    pub path: PathBuf,
    pub settings: Settings,
}

impl StateDir {
    /// Makes the directory, the passwords and the files for clients; existing passwords are kept.
    pub fn prepare(args: &StateArgs) -> anyhow::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&args.state)
            .with_context(|| format!("cannot create the state directory {}", args.state.display()))?;
        let path = args.state.canonicalize().with_context(|| format!("{}", args.state.display()))?;
        let admin_password = keep_secret(&path.join("admin-password"))?;
        keep_secret(&path.join("service-password"))?;
        let settings = settings(args, &path)?;
        let dir = Self { path, settings };
        dir.write("ferrostack.toml", 0o600, &toml::to_string_pretty(&dir.settings)?)?;
        dir.write("openrc", 0o600, &dir.openrc(&admin_password))?;
        dir.write("clouds.yaml", 0o600, &dir.clouds_yaml(&admin_password))?;
        Ok(dir)
    }

    /// Keeps a second process out of this directory for as long as the lock lives.
    pub fn lock(&self) -> anyhow::Result<Flock<File>> {
        let path = self.path.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| anyhow::anyhow!("another ferrostack runs on {} (lock held)", self.path.display()))
    }

    fn auth_url(&self) -> String {
        format!("{}:{}/v3", self.settings.identity.public_base, self.settings.identity.listen.port())
    }

    fn openrc(&self, password: &str) -> String {
        let (url, region) = (self.auth_url(), &self.settings.identity.region);
        format!(
            "# Source this file: . {}\nunset OS_CLOUD OS_TOKEN OS_PROJECT_ID OS_TENANT_ID\nexport OS_AUTH_URL={url}\nexport OS_IDENTITY_API_VERSION=3\nexport OS_IMAGE_API_VERSION=2\nexport OS_USERNAME=admin\nexport OS_PASSWORD={password}\nexport OS_PROJECT_NAME=admin\nexport OS_USER_DOMAIN_NAME=Default\nexport OS_PROJECT_DOMAIN_NAME=Default\nexport OS_REGION_NAME={region}\n",
            self.path.join("openrc").display()
        )
    }

    fn clouds_yaml(&self, password: &str) -> String {
        let (url, region) = (self.auth_url(), &self.settings.identity.region);
        format!(
            "clouds:\n  ferrostack:\n    auth:\n      auth_url: {url}\n      username: admin\n      password: {password}\n      project_name: admin\n      user_domain_name: Default\n      project_domain_name: Default\n    region_name: {region}\n    identity_api_version: 3\n    image_api_version: 2\n"
        )
    }

    fn write(&self, name: &str, mode: u32, text: &str) -> anyhow::Result<()> {
        let (path, temporary) = (self.path.join(name), self.path.join(format!(".{name}.new")));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(mode)
            .open(&temporary)
            .with_context(|| format!("cannot write {}", temporary.display()))?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        fs::rename(&temporary, &path).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The secret in `path`; a new one of 32 letters and digits, mode 0600, if there is none.
fn keep_secret(path: &Path) -> anyhow::Result<String> {
    if let Ok(text) = fs::read_to_string(path)
        && !text.trim().is_empty()
    {
        return Ok(text.trim().to_owned());
    }
    let secret: String =
        rand::rng().sample_iter(rand::distr::Alphanumeric).take(32).map(char::from).collect();
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    Ok(secret)
}

fn shift(address: &mut SocketAddr, offset: u16, what: &str) -> anyhow::Result<()> {
    let port = address
        .port()
        .checked_add(offset)
        .with_context(|| format!("--port-offset {offset}: the port of {what} would be above 65535"))?;
    address.set_port(port);
    Ok(())
}

fn settings(args: &StateArgs, dir: &Path) -> anyhow::Result<Settings> {
    let mut s = Settings::load(args.config.as_deref())?;
    let here = |name: &str| dir.join(name);
    if s.log == Log::default() {
        // One terminal for all services: the request lines would hide what matters.
        s.log.level = "info,access=warn,actix_server=warn".into();
    }
    s.database.url = args.database_url.clone().unwrap_or_else(|| format!("sqlite:{}", here("db").display()));
    s.bus.url = args.bus_url.clone().unwrap_or_else(|| "local:".into());
    if s.bus.url == "local:" {
        // This bus loses what is under way when the process dies: agents are asked sooner.
        s.compute.build_inquiry_seconds = s.compute.build_inquiry_seconds.min(5);
    }
    for (address, what) in [
        (&mut s.identity.listen, "identity"),
        (&mut s.image.listen, "image"),
        (&mut s.compute.listen, "compute"),
        (&mut s.network.listen, "network"),
        (&mut s.scheduler.listen, "scheduler"),
        (&mut s.agent.listen, "agent"),
    ] {
        shift(address, args.port_offset, what)?;
    }
    let base = s.identity.public_base.clone();
    s.credentials.auth_url = format!("http://{}/v3", reachable(s.identity.listen));
    s.credentials.password_file = here("service-password");
    s.identity.key_directory = here("token-keys");
    s.identity.admin_password_file = Some(here("admin-password"));
    s.identity.public_base = base;
    s.image.store_directory = here("images");
    s.compute.image_url = Some(format!("http://{}", reachable(s.image.listen)));
    s.compute.network_url = Some(format!("http://{}", reachable(s.network.listen)));
    s.agent.image_url = format!("http://{}", reachable(s.image.listen));
    s.agent.state_directory = here("agent");
    s.agent.hypervisor = args.hypervisor.into();
    s.agent.libvirt_uri = args.libvirt_uri.clone();
    s.agent.fake.hosts = args.hosts;
    if args.hypervisor == crate::cli::Hypervisor::Fake {
        s.agent.metadata_listen.clear();
    }
    Ok(s)
}

/// An address to connect to for one to listen on.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(a) if a.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], a.port())),
        SocketAddr::V6(a) if a.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, a.port()))
        }
        other => other,
    }
}
