//! Feeds the filter of addresses that users give: what passes is http, has no user, an allowed port and no inner address.
#![no_main]

use ferrostack_settings::ImageFetch;
use libfuzzer_sys::fuzz_target;
use parsers::fetch::{address::may_connect, rules::Rules};
use std::{net::IpAddr, sync::LazyLock};
use url::Host;

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules::new(&ImageFetch::default()));

fuzz_target!(|text: &str| {
    let Ok(url) = RULES.read(text) else { return };
    assert!(matches!(url.scheme(), "http" | "https"), "{url}");
    assert!(url.username().is_empty() && url.password().is_none(), "{url}");
    assert!(matches!(url.port_or_known_default(), Some(80 | 443)), "{url}");
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(name)) => {
            assert!(!name.is_empty() && name.parse::<IpAddr>().is_err(), "{url}");
            None
        }
        None => panic!("no host in {url}"),
    };
    if let Some(address) = address {
        assert!(may_connect(address, &[]) && !address.is_loopback() && !address.is_unspecified(), "{url}");
    }
    // What was read is read again as the same.
    assert_eq!(RULES.read(url.as_str()).as_ref(), Ok(&url), "{text}");
});
