//! Putting an agent together and taking it down.

use crate::{
    files::{Files, directory, file_error},
    host::{Host, Shared},
    metadata::Listen,
    orders::OrderHandler,
    outbox::Outbox,
    policy, routes,
    store::Ledger,
};
use async_trait::async_trait;
use ferrostack_bus::{Bus, Source};
use ferrostack_http::{HealthCheck, Running, ServiceSpec, Style, TokenVerifier, actix_web::web};
use ferrostack_hypervisor::{
    Hypervisor,
    fake::{FakeHypervisor, FakeOptions},
};
use ferrostack_hypervisor_libvirt::{LibvirtHypervisor, LibvirtOptions};
use ferrostack_model::{Error, Result, Timestamp};
use ferrostack_policy::Enforcer;
use ferrostack_settings::{Agent, HypervisorKind, Settings, VirtType};
use futures_util::TryStreamExt;
use std::{
    collections::HashMap,
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Where guests expect the metadata service.
const METADATA_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
/// Orders of one host taken in at once.
const PREFETCH: u16 = 16;
/// Queues declared at once.
const PARALLEL_STARTS: usize = 32;
/// How long the work under way may take when the agent is asked to end.
const GRACE: Duration = Duration::from_secs(5);
/// How long the hypervisor has to answer a health check.
const HEALTH_WAIT: Duration = Duration::from_secs(5);
/// Between looks for what the ledger need not keep.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// An agent that runs.
pub struct RunningAgent {
    /// Where its HTTP endpoint listens.
    pub address: SocketAddr,
    fakes: HashMap<String, Arc<FakeHypervisor>>,
    http: Running,
    shared: Arc<Shared>,
    /// Held as long as the agent runs: one agent per state directory.
    _lock: File,
}

impl RunningAgent {
    /// The fake hypervisor of `host`, with its fault switches.
    pub fn fake(&self, host: &str) -> Option<&Arc<FakeHypervisor>> {
        self.fakes.get(host)
    }

    /// Waits for the `stop` given at start, then lets the work under way end. Guests keep running; orders that
    /// are not finished are resumed by the next start.
    pub async fn wait(self) {
        self.shared.stop.cancelled().await;
        self.shared.tasks.close();
        if tokio::time::timeout(GRACE, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("orders under way are left to the next start");
        }
        self.kill().await;
    }

    /// Ends at once, wherever every task stands: for tests, what the death of the process would do.
    pub async fn kill(self) {
        self.shared.stop.cancel();
        self.shared.kill.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.http.stop().await;
    }
}

/// Starts the agent that `settings` describe: one host with libvirt, or any number of fake ones.
pub async fn start(
    settings: &Settings,
    bus: Arc<dyn Bus>,
    verifier: Arc<dyn TokenVerifier>,
    stop: CancellationToken,
) -> Result<RunningAgent> {
    let agent = &settings.agent;
    match agent.hypervisor {
        HypervisorKind::Fake => {
            let fakes: Vec<_> = (1..=agent.fake.hosts).map(|n| fake(settings, n)).collect();
            let hosts = fakes.iter().map(|(n, f)| (n.clone(), f.clone() as Arc<dyn Hypervisor>)).collect();
            let mut running = start_with(settings, hosts, bus, verifier, stop).await?;
            running.fakes = fakes.into_iter().collect();
            Ok(running)
        }
        HypervisorKind::Libvirt => {
            let driver = Arc::new(LibvirtHypervisor::connect(libvirt_options(agent)).await?);
            let listener = driver.clone();
            let listen: Listen = Arc::new(move |address| match address.ip() {
                // The driver gives this address to the guests' bridges.
                METADATA_ADDRESS => listener.metadata_listener(address.port()),
                _ => TcpListener::bind(address),
            });
            let hosts = vec![(host_name(agent)?, driver as Arc<dyn Hypervisor>)];
            launch(settings, hosts, listen, bus, verifier, stop).await
        }
    }
}

fn libvirt_options(agent: &Agent) -> LibvirtOptions {
    LibvirtOptions {
        virt_type: match agent.virt_type {
            VirtType::Auto => ferrostack_hypervisor_libvirt::VirtType::Auto,
            VirtType::Kvm => ferrostack_hypervisor_libvirt::VirtType::Kvm,
            VirtType::Qemu => ferrostack_hypervisor_libvirt::VirtType::Qemu,
        },
        metadata_address: agent.metadata_listen.iter().any(|a| a.ip() == METADATA_ADDRESS),
        netns: agent.libvirt_netns.clone(),
        migration_uri: (!agent.migration_uri.is_empty()).then(|| agent.migration_uri.clone()),
        ..LibvirtOptions::new(&agent.libvirt_uri, &agent.state_directory)
    }
}

/// The service host name: as set, else the machine's.
fn host_name(agent: &Agent) -> Result<String> {
    if !agent.host.is_empty() {
        return Ok(agent.host.clone());
    }
    let path = Path::new("/proc/sys/kernel/hostname");
    let name = std::fs::read_to_string(path).map_err(|e| file_error(path, e))?;
    Ok(name.trim().to_owned())
}

fn fake(settings: &Settings, number: u32) -> (String, Arc<FakeHypervisor>) {
    let (agent, name) = (&settings.agent, format!("fake-{number:04}"));
    let fake = FakeHypervisor::new(FakeOptions {
        host: name.clone(),
        vcpus: agent.fake.vcpus,
        memory_mb: agent.fake.memory_mb,
        local_gb: agent.fake.local_gb,
        delay: Duration::from_millis(agent.fake.delay_ms),
        failure_rate: agent.fake.failure_rate,
        directory: Some(agent.state_directory.join("fake").join(&name)),
    });
    (name, fake)
}

/// Starts an agent for these hosts (name and hypervisor each).
pub async fn start_with(
    settings: &Settings,
    hosts: Vec<(String, Arc<dyn Hypervisor>)>,
    bus: Arc<dyn Bus>,
    verifier: Arc<dyn TokenVerifier>,
    stop: CancellationToken,
) -> Result<RunningAgent> {
    launch(settings, hosts, Arc::new(TcpListener::bind::<SocketAddr>), bus, verifier, stop).await
}

async fn launch(
    settings: &Settings,
    hosts: Vec<(String, Arc<dyn Hypervisor>)>,
    listen: Listen,
    bus: Arc<dyn Bus>,
    verifier: Arc<dyn TokenVerifier>,
    stop: CancellationToken,
) -> Result<RunningAgent> {
    let state = &settings.agent.state_directory;
    // QEMU's user passes through to the images.
    directory(state, 0o711)?;
    let lock = lock(state)?;
    let ledger = Ledger::open(&state.join("ledger")).await?;
    let kill = CancellationToken::new();
    let (outbox, outbox_task) = Outbox::new(bus.clone(), ledger.clone(), kill.clone());
    let shared = Arc::new(Shared {
        settings: settings.agent.clone(),
        url: OnceLock::new(),
        files: Files::open(settings, ledger.clone())?,
        ledger,
        bus,
        outbox,
        started: Timestamp::now(),
        tasks: TaskTracker::new(),
        stop,
        kill,
    });
    let hosts: routes::console::Hosts =
        hosts.into_iter().map(|(n, h)| (n.clone(), Host::new(n, h, shared.clone()))).collect();
    let http = serve(&shared, hosts.clone(), verifier)?;
    // Set before anything reports.
    let _ = shared.url.set(match settings.agent.public_url.trim_end_matches('/') {
        "" => format!("http://{}", http.address),
        url => url.to_owned(),
    });
    let kill = shared.kill.clone();
    // Outlives `stop`: the answers of the last orders want to go out.
    tokio::spawn(outbox_task);
    let begun = begin(&shared, &hosts, listen).await;
    if let Err(error) = begun {
        kill.cancel();
        http.stop().await;
        return Err(error);
    }
    Ok(RunningAgent { address: http.address, fakes: HashMap::new(), http, shared, _lock: lock })
}

/// Takes up what the last start left, then begins to take orders and to report.
async fn begin(shared: &Arc<Shared>, hosts: &routes::console::Hosts, listen: Listen) -> Result<()> {
    for row in shared.ledger.unsent().await? {
        if let (true, Some(outcome)) = (hosts.contains_key(&row.host), row.outcome.clone()) {
            shared.outbox.order(&row, outcome);
        }
    }
    crate::returning::ask(shared, hosts).await?;
    futures_util::stream::iter(hosts.values().map(Ok))
        .try_for_each_concurrent(PARALLEL_STARTS, |host| async move {
            let handler = Arc::new(OrderHandler(host.clone()));
            let source = Source::Agent(host.name.clone());
            shared.bus.consume(source, PREFETCH, handler, shared.stop.clone()).await?;
            host.start_reports();
            Ok::<(), Error>(())
        })
        .await?;
    let fake = shared.settings.hypervisor == HypervisorKind::Fake;
    for address in shared.settings.metadata_listen.clone() {
        // Guests that do not exist ask nobody; a cloud of real ones beside us may need the address.
        if fake && address.ip() == METADATA_ADDRESS {
            continue;
        }
        shared.spawn(crate::metadata::serve(shared.clone(), address, listen.clone()));
    }
    let pruned = shared.clone();
    shared.spawn(async move {
        loop {
            if let Err(error) = pruned.ledger.prune().await {
                tracing::warn!(error = error.for_log(), "ledger not pruned");
            }
            tokio::select! {
                () = tokio::time::sleep(PRUNE_EVERY) => {}
                () = pruned.stop.cancelled() => return,
            }
        }
    });
    Ok(())
}

/// One agent per state directory: two would carry out each other's orders.
fn lock(state: &Path) -> Result<File> {
    let path = state.join("lock");
    let file = File::create(&path).map_err(|e| file_error(&path, e))?;
    file.try_lock().map_err(|e| match e {
        std::fs::TryLockError::WouldBlock => {
            Error::internal(format!("another agent runs with agent.state_directory = {}", state.display()))
        }
        std::fs::TryLockError::Error(e) => file_error(&path, e),
    })?;
    Ok(file)
}

fn serve(
    shared: &Arc<Shared>,
    hosts: routes::console::Hosts,
    verifier: Arc<dyn TokenVerifier>,
) -> Result<Running> {
    let hosts = web::Data::new(hosts);
    ferrostack_http::serve(
        ServiceSpec {
            name: "agent",
            style: Style::Keystone,
            routes: routes::table(),
            verifier,
            policy: Arc::new(Enforcer::new(policy::RULES)?),
            health: Arc::new(Health { shared: shared.clone(), hosts: hosts.clone() }),
            state: Arc::new(move |config| {
                config.app_data(hosts.clone());
            }),
            workers: 1,
        },
        shared.settings.listen,
    )
}

struct Health {
    shared: Arc<Shared>,
    hosts: web::Data<routes::console::Hosts>,
}

#[async_trait]
impl HealthCheck for Health {
    async fn check(&self) -> Vec<(&'static str, Result<()>)> {
        let mut parts =
            vec![("bus", self.shared.bus.ping().await), ("ledger", self.shared.ledger.ping().await)];
        // Fake hosts are many and always well.
        if let (1, Some(host)) = (self.hosts.len(), self.hosts.values().next()) {
            let info = tokio::time::timeout(HEALTH_WAIT, host.hypervisor.host_info()).await;
            let late = |_| Err(Error::unavailable("the hypervisor does not answer"));
            parts.push(("hypervisor", info.unwrap_or_else(late).map(|_| ())));
        }
        parts
    }
}
