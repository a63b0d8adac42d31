//! Filters and weighers of groups and hints.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{
    DifferentHostFilter, JsonFilter, REGISTRY, SameHostFilter, ServerGroupAffinityFilter,
    ServerGroupAntiAffinityFilter, SimpleCIDRAffinityFilter,
};
use crate::{
    decide::{Filter, Wish, decide},
    registry::config,
};
use ferrostack_model::{
    Timestamp,
    host::HostState,
    placement::{GroupPolicy, GroupWish, PlacementRequest},
};
use ferrostack_settings::Scheduler;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn host(name: &str) -> HostState {
    serde_json::from_value(json!({"host": name, "node": format!("{name}.example"), "availability_zone": "nova",
        "enabled": true, "last_seen": NOW, "vcpus": 8, "vcpus_used": 2, "memory_mb": 16_384, "memory_mb_used": 1024,
        "local_gb": 100, "local_gb_used": 10, "cpu_allocation_ratio": 4.0, "ram_allocation_ratio": 1.0,
        "disk_allocation_ratio": 1.0, "num_instances": 3, "num_io_ops": 1, "hypervisor_type": "QEMU",
        "hypervisor_version": 7_002_004, "arch": "x86_64", "cpu_info": {"vendor": "Intel", "topology": {"cores": 4}},
        "generation": 1, "host_ip": "192.0.2.7"}))
    .unwrap()
}

fn fits(filter: &dyn Filter, request: &PlacementRequest, host: &HostState) -> bool {
    filter.check(&Wish { request, now: NOW }, host).is_ok()
}

fn grouped(policy: GroupPolicy, max: Option<i64>, hosts: &[(&str, i64)]) -> PlacementRequest {
    let hosts = hosts.iter().map(|(host, n)| ((*host).to_owned(), *n)).collect();
    let group = Some(GroupWish { policy, max_server_per_host: max, hosts });
    PlacementRequest { vcpus: 1, memory_mb: 64, disk_gb: 1, group, ..PlacementRequest::default() }
}

fn hinted(hints: &[(&str, &[&str])]) -> PlacementRequest {
    let texts = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    PlacementRequest {
        hints: hints.iter().map(|(name, list)| ((*name).to_owned(), texts(list))).collect(),
        hosts_of: [("s1".to_owned(), "a".to_owned()), ("s2".to_owned(), "b".to_owned())].into(),
        ..PlacementRequest::default()
    }
}

#[test]
fn affinity_keeps_a_group_together() {
    let check = |hosts, name: &str| {
        fits(&ServerGroupAffinityFilter, &grouped(GroupPolicy::Affinity, None, hosts), &host(name))
    };
    assert!(check(&[], "a"), "the first may go anywhere");
    assert!(check(&[("a", 1)], "a") && !check(&[("a", 1)], "b"));
    let other = grouped(GroupPolicy::SoftAffinity, None, &[("a", 1)]);
    assert!(fits(&ServerGroupAffinityFilter, &other, &host("b")), "soft is no rule");
}

#[test]
fn anti_affinity_keeps_a_group_apart_as_its_rule_says() {
    let check = |max, hosts, name: &str| {
        let request = grouped(GroupPolicy::AntiAffinity, max, hosts);
        fits(&ServerGroupAntiAffinityFilter, &request, &host(name))
    };
    assert!(check(None, &[("a", 1)], "b") && !check(None, &[("a", 1)], "a"));
    assert!(check(Some(3), &[("a", 2)], "a") && !check(Some(3), &[("a", 3)], "a"));
    assert!(fits(&ServerGroupAntiAffinityFilter, &PlacementRequest::default(), &host("a")));
}

#[test]
fn soft_policies_prefer_and_do_not_refuse() {
    let config = config(&Scheduler::default()).unwrap();
    let chosen = |request: &PlacementRequest| {
        let hosts = [host("a"), host("b")];
        decide(&Wish { request, now: NOW }, &hosts, &config, &mut StdRng::seed_from_u64(1)).hosts
    };
    for (policy, wanted) in [(GroupPolicy::SoftAffinity, "b"), (GroupPolicy::SoftAntiAffinity, "a")] {
        let hosts = chosen(&grouped(policy, None, &[("b", 2)]));
        assert_eq!((hosts.len(), hosts[0].as_str()), (2, wanted), "{policy:?}");
    }
}

#[test]
fn same_and_different_host() {
    let same = hinted(&[("same_host", &["s1", "gone"])]);
    assert!(fits(&SameHostFilter, &same, &host("a")) && !fits(&SameHostFilter, &same, &host("b")));
    assert!(!fits(&SameHostFilter, &hinted(&[("same_host", &["gone"])]), &host("a")), "it is nowhere");
    let different = hinted(&[("different_host", &["s1", "s2"])]);
    assert!(!fits(&DifferentHostFilter, &different, &host("a")));
    assert!(fits(&DifferentHostFilter, &different, &host("c")));
    for none in [hinted(&[]), hinted(&[("same_host", &[]), ("different_host", &[])])] {
        assert!(fits(&SameHostFilter, &none, &host("c")) && fits(&DifferentHostFilter, &none, &host("a")));
    }
}

#[test]
fn near_an_address() {
    let check = |near: &str, cidr: Option<&str>, address: &str| {
        let cidr: Vec<&str> = cidr.into_iter().collect();
        let mut request = hinted(&[("build_near_host_ip", &[near])]);
        if let Some(cidr) = cidr.first() {
            request.hints.insert("cidr".into(), vec![(*cidr).to_owned()]);
        }
        fits(&SimpleCIDRAffinityFilter, &request, &HostState { host_ip: address.into(), ..host("a") })
    };
    assert!(check("192.0.2.200", None, "192.0.2.7"), "/24 if nothing is said");
    assert!(!check("192.0.3.1", None, "192.0.2.7"));
    assert!(check("192.0.3.1", Some("/23"), "192.0.2.7"));
    assert!(!check("192.0.2.5", Some("/30"), "192.0.2.8") && check("192.0.2.5", Some("/30"), "192.0.2.7"));
    assert!(check("192.0.2.7", Some("/32"), "192.0.2.7") && check("10.0.0.1", Some("/0"), "192.0.2.7"));
    assert!(check("192.0.2.200", Some("/255.255.255.0"), "192.0.2.7"));
    assert!(check("2001:db8::1", Some("/64"), "2001:db8::ffff"));
    for (near, cidr) in [
        ("x", "/24"),
        ("192.0.2.1", "24"),
        ("192.0.2.1", "/33"),
        ("192.0.2.1", "/"),
        ("::1", "/24"),
        ("192.0.2.1", "/255.0.255.0"),
    ] {
        assert!(!check(near, Some(cidr), "192.0.2.7"), "{near} {cidr}");
    }
    assert!(!check("192.0.2.1", None, ""), "a host that tells no address");
    assert!(fits(&SimpleCIDRAffinityFilter, &hinted(&[("cidr", &["/24"])]), &host("a")));
}

#[test]
fn queries_as_in_nova() {
    let check = |query: Value| fits(&JsonFilter, &hinted(&[("query", &[&query.to_string()])]), &host("a"));
    for yes in [
        json!([]),
        json!(["and", [">=", "$free_ram_mb", 15_360], [">=", "$free_disk_mb", 90 * 1024]]),
        json!([">", "$vcpus_total", "$vcpus_used"]),
        json!(["=", "$hypervisor_hostname", "a.example"]),
        json!(["in", "$host", "b", "a"]),
        json!(["or", ["<", "$num_instances", 3], ["<=", "$num_instances", 3]]),
        json!(["not", ["=", "$host", "b"]]),
        json!(["=", "$cpu_info.vendor", "Intel"]),
        json!(["=", "$cpu_info.topology.cores", 4]),
        json!(["not", false, true]),
    ] {
        assert!(check(yes.clone()), "{yes}");
    }
    for no in [
        json!([">", "$free_ram_mb", 15_360]),
        json!(["=", "$free_ram_mb"]),
        json!(["=", "$no_such_thing", "x"]),
        json!(["not", true, true]),
        json!(["<", "$host", 1]),
        json!(["exec", "$host"]),
        json!({"a": 1}),
        json!("text"),
    ] {
        assert!(!check(no.clone()), "{no}");
    }
    let raw = |text: &str| fits(&JsonFilter, &hinted(&[("query", &[text])]), &host("a"));
    assert!(raw(""), "no query");
    assert!(!raw("not json") && !raw("[\"and\", "));
    // Neither depth nor length takes the scheduler along.
    assert!(!raw(&format!("{}{}", "[\"and\",".repeat(100), "[]".to_owned() + &"]".repeat(100))));
    assert!(!raw(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))));
    assert!(!check(json!(["and", (0..20_000).map(|_| json!([])).collect::<Vec<_>>()])));
}

/// S-2017-005: of the filters those run that Nova runs on a rebuild, and capacity is not asked for twice.
#[test]
fn s_2017_005_a_rebuild_is_filtered_by_what_the_image_wants() {
    let config = config(&Scheduler::default()).unwrap();
    let full = HostState { memory_mb_used: 16_384, enabled: false, ..host("a") };
    let refused = |properties: &[(&str, &str)], wanted: &str| {
        let request = PlacementRequest {
            vcpus: 1,
            memory_mb: 1024,
            host: Some(wanted.into()),
            rebuild: true,
            image_properties: properties.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            ..PlacementRequest::default()
        };
        let wish = Wish { request: &request, now: NOW };
        decide(&wish, std::slice::from_ref(&full), &config, &mut StdRng::seed_from_u64(1)).hosts.is_empty()
    };
    assert!(!refused(&[], "a"), "a full and disabled host keeps what it has");
    assert!(refused(&[("hw_architecture", "aarch64")], "a"));
    assert!(refused(&[("img_hv_type", "xen")], "a"));
    assert!(refused(&[], "b"), "no other host");
}

#[test]
fn every_filter_has_the_name_that_it_is_registered_under() {
    for (name, make) in REGISTRY {
        assert_eq!(make(&Scheduler::default()).name(), *name);
    }
}
