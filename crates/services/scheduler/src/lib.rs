//! Filter-and-weigh scheduler.
//!
//! It keeps every host in memory as compute-api tells them by fanout, answers each request with a choice and
//! alternates, and owns no truth: the claim in the compute database decides, so any number may run.

#[cfg(test)]
mod aggregate_tests;
pub mod decide;
pub mod filters;
mod metrics;
pub mod registry;
mod reports;
mod requests;
#[cfg(test)]
mod tests;
mod view;
pub mod weighers;

pub use view::View;

use async_trait::async_trait;
use ferrostack_bus::{Bus, Source};
use ferrostack_http::{HealthCheck, Running, ServiceSpec, Style, TokenVerifier};
use ferrostack_model::{Caller, Error, Result};
use ferrostack_policy::Enforcer;
use ferrostack_settings::Settings;
use requests::{HostsHandler, RequestHandler, Scheduler};
use std::{net::SocketAddr, sync::Arc};
use tokio_util::sync::CancellationToken;

/// Requests handled at once.
const PREFETCH: u16 = 64;
/// Host updates handled at once: in order matters less than generations, but there is nothing to gain.
const UPDATES_PREFETCH: u16 = 1;

/// A scheduler that runs.
pub struct RunningScheduler {
    /// Where `/healthcheck` and `/metrics` answer.
    pub address: SocketAddr,
    http: Running,
    scheduler: Arc<Scheduler>,
    stop: CancellationToken,
}

impl RunningScheduler {
    /// How many hosts it knows.
    pub fn hosts_known(&self) -> usize {
        self.scheduler.hosts_known()
    }

    /// Waits for the `stop` given at start, then ends what is under way.
    pub async fn wait(self) {
        self.stop.cancelled().await;
        self.http.stop().await;
    }
}

/// Starts the scheduler; an error names the setting or address at fault.
pub async fn start(
    settings: &Settings,
    bus: Arc<dyn Bus>,
    stop: CancellationToken,
) -> Result<RunningScheduler> {
    let config = registry::config(&settings.scheduler)?;
    let scheduler = Arc::new(Scheduler::new(config, settings.scheduler.service_down_time, bus.clone()));
    let http = ferrostack_http::serve(
        ServiceSpec {
            name: "scheduler",
            style: Style::Keystone,
            routes: Vec::new(),
            verifier: Arc::new(NoTokens),
            policy: Arc::new(Enforcer::new(&[])?),
            health: Arc::new(BusHealth(bus.clone())),
            state: Arc::new(|_| {}),
            workers: 1,
        },
        settings.scheduler.listen,
    )?;
    // Updates first: a request that finds no hosts would have to wait for them.
    let updates = Arc::new(HostsHandler(scheduler.clone()));
    bus.consume(Source::Hosts, UPDATES_PREFETCH, updates, stop.clone()).await?;
    let requests = Arc::new(RequestHandler { scheduler: scheduler.clone(), stop: stop.clone() });
    bus.consume(Source::Scheduler, PREFETCH, requests, stop.clone()).await?;
    tokio::spawn(requests::keep_fresh(scheduler.clone(), stop.clone()));
    tokio::spawn(reports::run(bus, stop.clone()));
    Ok(RunningScheduler { address: http.address, http, scheduler, stop })
}

/// The scheduler has no route that takes a token.
struct NoTokens;

#[async_trait]
impl TokenVerifier for NoTokens {
    async fn verify(&self, _: &str) -> Result<Arc<Caller>> {
        Err(Error::unauthorized())
    }
    fn auth_uri(&self) -> String {
        String::new()
    }
}

struct BusHealth(Arc<dyn Bus>);

#[async_trait]
impl HealthCheck for BusHealth {
    async fn check(&self) -> Vec<(&'static str, Result<()>)> {
        vec![("bus", self.0.ping().await)]
    }
}
