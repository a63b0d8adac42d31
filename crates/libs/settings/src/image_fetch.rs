//! `[image.fetch]`: what the image service may fetch from elsewhere, for imports and for images at HTTP locations.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[image.fetch]`. The lists have the names, defaults and meaning of Glance's `[import_filtering_opts]`: where both
/// lists of a pair are set, only the allowed one counts. Addresses inside (private, loopback, link-local and so on)
/// are refused whatever the lists say, unless `allowed_networks` names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageFetch {
    /// Schemes that are fetched: of http and https, no other is known.
    pub allowed_schemes: Vec<String>,
    /// Schemes that are not fetched.
    pub disallowed_schemes: Vec<String>,
    /// Hosts that may be fetched from; empty: any.
    pub allowed_hosts: Vec<String>,
    /// Hosts that may not be fetched from.
    pub disallowed_hosts: Vec<String>,
    /// Ports that may be fetched from; empty: any.
    pub allowed_ports: Vec<u16>,
    /// Ports that may not be fetched from.
    pub disallowed_ports: Vec<u16>,
    /// Networks (`10.1.0.0/16`) that may be fetched from although they are not of the public internet.
    pub allowed_networks: Vec<IpNet>,
    /// Redirects that are followed, each checked like the first address.
    pub max_redirects: usize,
    /// Milliseconds for the name, the connection and TLS. What fails earlier is told after so long too.
    pub connect_timeout_ms: u64,
    /// Milliseconds without a byte after which a server counts as dead.
    pub idle_timeout_ms: u64,
    /// Seconds a whole fetch may take.
    pub total_timeout_seconds: u64,
    /// Certificates (PEM) of authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for ImageFetch {
    fn default() -> Self {
        Self {
            allowed_schemes: vec!["http".into(), "https".into()],
            disallowed_schemes: Vec::new(),
            allowed_hosts: Vec::new(),
            disallowed_hosts: Vec::new(),
            allowed_ports: vec![80, 443],
            disallowed_ports: Vec::new(),
            allowed_networks: Vec::new(),
            max_redirects: 10,
            connect_timeout_ms: 10_000,
            idle_timeout_ms: 60_000,
            total_timeout_seconds: 21_600,
            ca_file: None,
        }
    }
}
