//! Which service listens where.

use anyhow::bail;
use ferrostack_settings::Settings;
use std::net::{SocketAddr, TcpListener};

/// Every address the all-in-one listens on, with the settings key that says so.
pub fn all(settings: &Settings) -> [(&'static str, &'static str, SocketAddr); 6] {
    [
        ("identity", "identity.listen", settings.identity.listen),
        ("image", "image.listen", settings.image.listen),
        ("compute", "compute.listen", settings.compute.listen),
        ("network", "network.listen", settings.network.listen),
        ("scheduler", "scheduler.listen", settings.scheduler.listen),
        ("agent", "agent.listen", settings.agent.listen),
    ]
}

/// Fails naming the first address that cannot be had, before anything is started.
pub fn check_free(settings: &Settings) -> anyhow::Result<()> {
    for (service, key, address) in all(settings) {
        if let Err(error) = TcpListener::bind(address) {
            bail!("{service} cannot listen on {address} ({key}): {error}");
        }
    }
    Ok(())
}
