//! Which addresses are of the public internet.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `address` may be connected to: it is public, or of one of the `allowed` networks.
///
/// An IPv4 address inside an IPv6 one (mapped, or by NAT64) is judged as what it leads to.
pub fn may_connect(address: IpAddr, allowed: &[IpNet]) -> bool {
    let target = canonical(address);
    let public = match target {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    };
    public || allowed.iter().any(|network| network.contains(&target))
}

/// The IPv4 address that a mapped address or one of the well-known NAT64 prefix stands for.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    match v6.segments() {
        // RFC 6052: 64:ff9b::/96
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Ipv4Addr::new(a, b, c, d).into()
        }
        _ => address,
    }
}

/// Not one of the special-purpose blocks of the IANA registry (RFC 6890 and its successors).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)              // this network, private, loopback
            | (100, 64..=127, _)          // shared by carriers
            | (169, 254, _)               // link-local: the metadata services
            | (172, 16..=31, _)           // private
            | (192, 0, 0 | 2)             // protocol assignments, documentation
            | (192, 88, 99)               // 6to4 relays
            | (192, 168, _)               // private
            | (198, 18..=19, _)           // benchmarks
            | (198, 51, 100)              // documentation
            | (203, 0, 113)               // documentation
            | (224..=255, _, _) // multicast, reserved, broadcast
    )
}

/// Of 2000::/3, the only block that is assigned for the public internet, and none of the special blocks in it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let special = matches!(
        (a, b),
        (0x2001, 0..=0x1ff)               // protocol assignments: Teredo, ORCHID, benchmarks
            | (0x2001, 0xdb8)             // documentation
            | (0x2002, _)                 // 6to4: any IPv4 address inside
            | (0x3fff, 0..=0xfff) // documentation
    );
    a & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn public(text: &str) -> bool {
        may_connect(text.parse().unwrap(), &[])
    }

    #[test]
    fn only_the_public_internet() {
        for address in ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1"] {
            assert!(public(address), "{address}");
        }
        for address in ["2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"] {
            assert!(public(address), "{address}");
        }
        let inside = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 \
            172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 \
            203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 \
            ::ffff:10.0.0.1 ::ffff:0.0.0.0 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::10.0.0.1 \
            64:ff9b:1::1.1.1.1 100::1 2001::1 2001:10::1 2001:db8::1 2002:7f00:1::1 2002:101:101::1 3fff::1 5f00::1 \
            fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1";
        for address in inside.split_whitespace() {
            assert!(!public(address), "{address}");
        }
    }

    #[test]
    fn a_network_is_allowed_by_name_and_no_other() {
        let allowed = ["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()];
        for (address, may) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("fd00:1::5", true),
            ("fd00:2::5", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(may_connect(address.parse().unwrap(), &allowed), may, "{address}");
        }
    }

    proptest! {
        #[test]
        fn what_the_standard_library_calls_inside_is_refused(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from(bits);
            let inside = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
            prop_assert!(!(inside && may_connect(v4.into(), &[])));
            // However it is wrapped, the verdict is the same or harder.
            prop_assert_eq!(may_connect(v4.into(), &[]), may_connect(v4.to_ipv6_mapped().into(), &[]));
            prop_assert!(!may_connect(v4.to_ipv6_compatible().into(), &[]));
        }

        #[test]
        fn nothing_outside_of_the_global_block(bits in any::<u128>()) {
            let v6 = Ipv6Addr::from(bits);
            let global = v6.segments()[0] & 0xe000 == 0x2000;
            prop_assert!(global || v6.to_ipv4_mapped().is_some() || !may_connect(v6.into(), &[]));
        }
    }
}
