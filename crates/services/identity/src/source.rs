//! Where a request comes from, for limits on logins.

use actix_web::HttpRequest;
use ipnet::IpNet;
use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

/// Said once: clients can send the header as well.
static TOLD: AtomicBool = AtomicBool::new(false);

/// An IPv4 address, or the /64 of an IPv6 address: whoever has one address of that has them all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source(String);

impl Source {
    /// The peer; behind `trusted` proxies the last address in `X-Forwarded-For` that is none of theirs. What others
    /// write into that header counts for nothing.
    pub fn of(req: &HttpRequest, trusted: &[IpNet]) -> Self {
        let Some(peer) = req.peer_addr().map(|address| address.ip()) else { return Self("unknown".into()) };
        let forwarded: Vec<&str> =
            req.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect();
        if !forwarded.is_empty() && trusted.is_empty() && !TOLD.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %peer,
                "X-Forwarded-For is not believed: identity.security.trusted_proxies is empty. If that is our proxy, all its clients count as one."
            );
        }
        Self::behind(peer, &forwarded.join(","), trusted)
    }

    fn behind(peer: IpAddr, forwarded: &str, trusted: &[IpNet]) -> Self {
        let mut nearest = peer.to_canonical();
        let mut hops = forwarded.rsplit(',');
        while trusted.iter().any(|net| net.contains(&nearest)) {
            let Some(hop) = hops.next().and_then(address) else { break };
            nearest = hop.to_canonical();
        }
        match nearest {
            IpAddr::V4(address) => Self(address.to_string()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(format!("{a:x}:{b:x}:{c:x}:{d:x}::/64"))
            }
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|s| s.ip()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()].to_vec();
        let of = |peer: &str, forwarded: &str, trusted: &[IpNet]| {
            Source::behind(peer.parse().unwrap(), forwarded, trusted).0
        };
        assert_eq!(of("192.0.2.1", "198.51.100.9", &[]), "192.0.2.1");
        assert_eq!(of("192.0.2.1", "198.51.100.9", &trusted), "192.0.2.1");
        assert_eq!(of("10.0.0.1", "198.51.100.9", &trusted), "198.51.100.9");
        // What the client itself wrote stands left of what our proxy added.
        assert_eq!(of("10.0.0.1", "203.0.113.5, 198.51.100.9", &trusted), "198.51.100.9");
        assert_eq!(of("10.0.0.1", "198.51.100.9, 10.2.3.4", &trusted), "198.51.100.9");
        assert_eq!(of("10.0.0.1", "198.51.100.9:4711", &trusted), "198.51.100.9");
        assert_eq!(of("10.0.0.1", "", &trusted), "10.0.0.1");
        assert_eq!(of("10.0.0.1", "198.51.100.9, rubbish", &trusted), "10.0.0.1");
        assert_eq!(of("10.0.0.1", "10.0.0.2, 10.0.0.3", &trusted), "10.0.0.2");
        assert_eq!(of("::ffff:192.0.2.1", "", &trusted), "192.0.2.1");
        assert_eq!(of("fd00::1", "[2001:db8:1:2:3:4:5:6]", &trusted), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::7", "", &trusted), "2001:db8:1:2::/64");
    }
}
