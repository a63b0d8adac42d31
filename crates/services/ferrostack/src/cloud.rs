//! Starting and ending all services together.

use anyhow::{Context, anyhow};
use ferrostack_bus::Bus;
use ferrostack_client::verifier;
use ferrostack_compute_agent::RunningAgent;
use ferrostack_http::Running;
use ferrostack_model::Error;
use ferrostack_scheduler::RunningScheduler;
use ferrostack_settings::Settings;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The running services.
pub struct Cloud {
    apis: Vec<Running>,
    scheduler: RunningScheduler,
    agent: RunningAgent,
    stop: CancellationToken,
}

impl Cloud {
    /// Starts everything on `bus`. An error names the service that did not start.
    pub async fn start(settings: &Settings, bus: Arc<dyn Bus>) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        // Whatever has started ends again if a later service does not start.
        let guard = stop.clone().drop_guard();
        let ours = |name: &'static str| move |e: Error| anyhow!("{name}: {}", e.for_log());
        let identity = ferrostack_identity::start(settings, bus.clone(), stop.clone())
            .await
            .map_err(ours("identity"))?;
        let verifier = verifier(settings, bus.clone(), stop.clone()).await.map_err(ours("tokens"))?;
        let mut apis = vec![identity];
        macro_rules! api {
            ($name:literal, $service:ident) => {
                apis.push(
                    $service::start(settings, bus.clone(), verifier.clone(), stop.clone())
                        .await
                        .map_err(ours($name))?,
                );
            };
        }
        api!("image", ferrostack_image);
        api!("network", ferrostack_network_api);
        api!("compute", ferrostack_compute_api);
        let scheduler = ferrostack_scheduler::start(settings, bus.clone(), stop.clone())
            .await
            .map_err(ours("scheduler"))?;
        let agent = ferrostack_compute_agent::start(settings, bus, verifier, stop.clone())
            .await
            .map_err(ours("agent"))
            .context("compute agent")?;
        guard.disarm();
        Ok(Self { apis, scheduler, agent, stop })
    }

    /// Ends everything; guests go on running.
    pub async fn stop(self) {
        self.stop.cancel();
        for api in self.apis {
            api.stop().await;
        }
        self.scheduler.wait().await;
        self.agent.wait().await;
    }

    /// Ends everything when dropped, without waiting for it: for tests that fail.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }
}
