//! What may be fetched, as far as the text of an address says it: before any name is looked up.

use super::address::may_connect;
use ferrostack_settings::ImageFetch;
use std::net::IpAddr;
use url::{Host, Url};

/// Longest address that is looked at, bytes.
const MAX_LENGTH: usize = 2048;

/// The filter of a service.
#[derive(Clone, Debug)]
pub struct Rules {
    settings: ImageFetch,
}

impl Rules {
    /// The filter that the settings describe.
    pub fn new(settings: &ImageFetch) -> Self {
        let mut settings = settings.clone();
        for list in [&mut settings.allowed_schemes, &mut settings.disallowed_schemes] {
            list.iter_mut().for_each(|s| s.make_ascii_lowercase());
        }
        for list in [&mut settings.allowed_hosts, &mut settings.disallowed_hosts] {
            list.iter_mut().for_each(|h| *h = plain(h));
        }
        Self { settings }
    }

    /// Reads an address given by a client; the reason if it is refused.
    ///
    /// What is returned is what is connected to: nothing parses the text a second time.
    pub fn read(&self, text: &str) -> Result<Url, &'static str> {
        if text.len() > MAX_LENGTH {
            return Err("longer than 2048 bytes");
        }
        // A URL parser drops or rewrites these silently.
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err("holds spaces, control characters or backslashes");
        }
        let after = text.split_once("://").map(|(_, rest)| rest);
        if after.is_none_or(|rest| rest.starts_with('/')) {
            return Err("no host");
        }
        let url = Url::parse(text).map_err(|_| "not a URL")?;
        self.check(&url)?;
        Ok(url)
    }

    /// The reason if `url` may not be fetched.
    pub fn check(&self, url: &Url) -> Result<(), &'static str> {
        let s = &self.settings;
        let known = matches!(url.scheme(), "http" | "https");
        if !known || !passes(&url.scheme().to_owned(), &s.allowed_schemes, &s.disallowed_schemes) {
            return Err("scheme");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user or password");
        }
        let port = url.port_or_known_default().ok_or("no port")?;
        if port == 0 || !passes(&port, &s.allowed_ports, &s.disallowed_ports) {
            return Err("port");
        }
        let host = url.host().ok_or("no host")?;
        if !passes(&plain(&host.to_string()), &s.allowed_hosts, &s.disallowed_hosts) {
            return Err("host");
        }
        match host {
            Host::Ipv4(v4) if !self.may_connect(v4.into()) => Err("address"),
            Host::Ipv6(v6) if !self.may_connect(v6.into()) => Err("address"),
            Host::Domain(name) if plain(name).is_empty() => Err("no host"),
            _ => Ok(()),
        }
    }

    /// Whether `address` may be connected to.
    pub fn may_connect(&self, address: IpAddr) -> bool {
        may_connect(address, &self.settings.allowed_networks)
    }
}

/// As Glance does: an allowed list that is not empty is the only one that counts.
fn passes<T: PartialEq>(value: &T, allowed: &[T], disallowed: &[T]) -> bool {
    if allowed.is_empty() { !disallowed.contains(value) } else { allowed.contains(value) }
}

/// A host name as it is compared: in lower case, without the dot of the root.
fn plain(host: &str) -> String {
    host.to_ascii_lowercase().trim_end_matches('.').trim_matches(['[', ']']).to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rules(change: impl Fn(&mut ImageFetch)) -> Rules {
        let mut settings = ImageFetch::default();
        change(&mut settings);
        Rules::new(&settings)
    }

    #[test]
    fn defaults_are_glances() {
        let rules = rules(|_| {});
        for good in ["http://images.example/x", "https://images.example/x?y=z", "HTTP://Images.Example:80/"] {
            assert!(rules.read(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "images.example/x",
            "http://",
            "http:///x",
            "http://.",
            "http://images.example:8080/x",
            "http://images.example:0/x",
            "https://images.example:22/x",
            "http://images.example:99999/x",
        ] {
            assert!(rules.read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ossa_2015_002_only_known_schemes_in_any_case() {
        // Even where an operator lists them.
        let all = "file FILE filesystem rbd cinder swift swift+config http+unix jar dict gopher ftp data ssh ldap \
            javascript view-source unix smb tftp netdoc";
        let rules = rules(|s| s.allowed_schemes.extend(all.split_whitespace().map(str::to_owned)));
        for scheme in all.split_whitespace() {
            for rest in ["///etc/passwd", "//images.example/x", ":images.example"] {
                assert!(rules.read(&format!("{scheme}:{rest}")).is_err(), "{scheme}:{rest}");
            }
        }
    }

    #[test]
    fn allowed_lists_win_over_disallowed_ones() {
        let both = rules(|s| {
            s.allowed_hosts = vec!["Good.Example".into()];
            s.disallowed_hosts = vec!["good.example".into(), "bad.example".into()];
            s.disallowed_schemes = vec!["https".into()];
        });
        assert!(both.read("https://good.example/").is_ok());
        assert!(both.read("http://GOOD.example./").is_ok());
        assert!(both.read("http://other.example/").is_err());
        let denied = rules(|s| {
            s.allowed_schemes.clear();
            s.disallowed_schemes = vec!["HTTP".into()];
            s.allowed_ports.clear();
            s.disallowed_ports = vec![22];
            s.disallowed_hosts = vec!["bad.example".into()];
        });
        assert!(denied.read("https://other.example:8443/").is_ok());
        for bad in ["http://other.example/", "https://other.example:22/", "https://Bad.Example./"] {
            assert!(denied.read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ossa_2026_004_no_way_to_write_an_inner_address_passes() {
        let rules = rules(|s| s.allowed_ports.clear());
        let hosts = "127.0.0.1 127.1 127.0.1 0 0.0.0.0 2130706433 0x7f000001 0x7F.1 0177.1 0177.0.0.01 017700000001 \
            127.0.0.1. 0x7f000001. 127.000.000.001 %31%32%37.0.0.1 \u{ff11}27.0.0.1 127\u{3002}0.0.1 [::1] [::] \
            [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1] [64:ff9b::127.0.0.1] \
            [2002:7f00:1::] [fe80::1] [fd00:ec2::254] 169.254.169.254 2852039166 0xa9fea9fe 10.0.0.1 192.168.1.1 \
            172.16.0.1 100.64.0.1 3232235777 224.0.0.1 255.255.255.255 user@127.0.0.1 images.example@127.0.0.1 \
            images.example:80@127.0.0.1 [fe80::1%25eth0] 127.0.0.1%00.images.example";
        for host in hosts.split_whitespace() {
            for form in [format!("http://{host}/x"), format!("https://{host}:9292/x"), format!("http:{host}")]
            {
                assert!(rules.read(&form).is_err(), "{form} passes");
            }
        }
        for bad in [
            "http://images.example\\@127.0.0.1/",
            "http://127.0.0.1\\.images.example/",
            "http://user:secret@images.example/",
            "http://images.example/\r\nHost: inner",
            "http://images.example/\0",
            " http://images.example/",
            "ht\ttp://images.example/",
        ] {
            assert!(rules.read(bad).is_err(), "{bad}");
        }
        assert!(rules.read(&format!("http://images.example/{}", "x".repeat(3000))).is_err());
    }
}
