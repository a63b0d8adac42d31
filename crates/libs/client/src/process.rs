//! What the `main` of every service process does.

use crate::{LocalVerifier, verifier};
use ferrostack_bus::Bus;
use ferrostack_model::Error;
use ferrostack_settings::Settings;
use std::{path::PathBuf, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a service process starts from.
pub struct Process {
    /// The cloud's settings.
    pub settings: Settings,
    /// The bus, connected.
    pub bus: Arc<dyn Bus>,
    /// Cancelled by SIGTERM and SIGINT.
    pub stop: CancellationToken,
}

impl Process {
    /// Reads the settings (`--config FILE` or the environment), starts logging and connects to the bus.
    pub async fn begin(name: &str, config: Option<PathBuf>) -> anyhow::Result<Self> {
        let settings = Settings::load(config.as_deref())?;
        ferrostack_settings::init_telemetry(&settings.log)?;
        for file in ferrostack_settings::exposed(&settings, config.as_deref()) {
            file.warn();
        }
        let stop = CancellationToken::new();
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let token = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            token.cancel();
        });
        let bus =
            ferrostack_bus::connect(&settings.bus.url, name).await.map_err(|e| startup("bus.url", e))?;
        Ok(Self { settings, bus, stop })
    }

    /// The verifier for services that receive tokens.
    pub async fn verifier(&self) -> anyhow::Result<Arc<LocalVerifier>> {
        verifier(&self.settings, self.bus.clone(), self.stop.clone()).await.map_err(|e| startup("tokens", e))
    }

    /// Waits for the signal, then ends `running`.
    pub async fn end(self, running: ferrostack_http::Running) {
        tracing::info!(address = %running.address, "listening");
        self.stop.cancelled().await;
        running.stop().await;
    }
}

/// A start-up error for the operator, naming the settings key it is about.
pub fn startup(key: &str, error: Error) -> anyhow::Error {
    anyhow::anyhow!("{key}: {}", error.for_log())
}
