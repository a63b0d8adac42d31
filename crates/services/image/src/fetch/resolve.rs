//! Names to addresses, once for each connection: what was checked is what is connected to.

use super::rules::Rules;
use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Looks names up.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// All addresses of a name.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
pub struct System;

#[async_trait]
impl Lookup for System {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// The only resolver of the HTTP client. The connector asks it once for a connection and connects to what it
/// answers, so a name that changes its address between two lookups gains nothing.
pub(super) struct Gate {
    pub lookup: Arc<dyn Lookup>,
    /// `None`: the operator named the host.
    pub rules: Option<Arc<Rules>>,
}

impl Resolve for Gate {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, rules) = (self.lookup.clone(), self.rules.clone());
        Box::pin(async move {
            let found = lookup.lookup(name.as_str()).await?;
            // One bad address is enough: a name that leads inside and outside is a trap.
            if let Some(rules) = rules
                && let Some(bad) = found.iter().find(|ip| !rules.may_connect(**ip))
            {
                return Err(format!("the name leads to {bad}").into());
            }
            if found.is_empty() {
                return Err("the name has no address".into());
            }
            let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}
