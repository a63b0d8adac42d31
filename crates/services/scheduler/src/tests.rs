//! Filters, weighers and the choice.
#![allow(clippy::unwrap_used)]

use crate::{
    View,
    decide::{Config, Filter, Wish, decide},
    filters::*,
    registry::config,
    weighers::*,
};
use ferrostack_model::{
    Timestamp,
    host::HostState,
    message::HostsUpdate,
    placement::{Decision, PlacementRequest},
};
use ferrostack_settings::Scheduler;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;
use std::time::{Duration, Instant};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

pub fn host(name: &str) -> HostState {
    HostState {
        host: name.into(),
        node: format!("{name}.example"),
        availability_zone: "nova".into(),
        enabled: true,
        last_seen: NOW,
        vcpus: 8,
        vcpus_used: 0,
        memory_mb: 16_384,
        memory_mb_used: 0,
        local_gb: 100,
        local_gb_used: 0,
        cpu_allocation_ratio: 4.0,
        ram_allocation_ratio: 1.0,
        disk_allocation_ratio: 1.0,
        num_instances: 0,
        num_io_ops: 0,
        hypervisor_type: "QEMU".into(),
        hypervisor_version: 7_002_004,
        arch: "x86_64".into(),
        cpu_info: json!({"model": "Haswell", "vendor": "Intel", "features": ["aes", "sse4.2"],
            "topology": {"cores": 4, "threads": 2}}),
        generation: 1,
        host_ip: "192.0.2.7".into(),
        aggregates: Vec::new(),
    }
}

fn request() -> PlacementRequest {
    PlacementRequest { vcpus: 2, memory_mb: 2048, disk_gb: 10, ..PlacementRequest::default() }
}

fn check(filter: &dyn Filter, request: &PlacementRequest, host: &HostState) -> Result<(), String> {
    filter.check(&Wish { request, now: NOW }, host).map_err(|r| r.into_owned())
}

fn choose(request: &PlacementRequest, hosts: &[HostState], config: &Config, seed: u64) -> Decision {
    decide(&Wish { request, now: NOW }, hosts, config, &mut StdRng::seed_from_u64(seed))
}

fn defaults() -> Config {
    config(&Scheduler::default()).unwrap()
}

#[test]
fn retry_filter() {
    let request = PlacementRequest { excluded_hosts: vec!["a".into()], ..request() };
    assert!(check(&RetryFilter, &request, &host("a")).unwrap_err().contains("failed there before"));
    assert_eq!(check(&RetryFilter, &request, &host("b")), Ok(()));
}

#[test]
fn compute_filter() {
    let filter = ComputeFilter { service_down_time: 60 };
    assert_eq!(
        check(&filter, &request(), &HostState { last_seen: NOW.plus_seconds(-60), ..host("a") }),
        Ok(())
    );
    let down = HostState { last_seen: NOW.plus_seconds(-61), ..host("a") };
    assert!(check(&filter, &request(), &down).unwrap_err().contains("down"));
    let disabled = HostState { enabled: false, ..host("a") };
    assert!(check(&filter, &request(), &disabled).unwrap_err().contains("disabled"));
}

#[test]
fn availability_zone_filter() {
    let wants = |zone: &str| PlacementRequest { availability_zone: Some(zone.into()), ..request() };
    assert_eq!(check(&AvailabilityZoneFilter, &request(), &host("a")), Ok(()));
    assert_eq!(check(&AvailabilityZoneFilter, &wants("nova"), &host("a")), Ok(()));
    assert!(check(&AvailabilityZoneFilter, &wants("b"), &host("a")).unwrap_err().contains("zone b"));
}

#[test]
fn requested_host_filter() {
    let filter = RequestedHostFilter;
    let wants = |host: Option<&str>, node: Option<&str>| PlacementRequest {
        host: host.map(Into::into),
        node: node.map(Into::into),
        ..request()
    };
    assert_eq!(check(&filter, &request(), &host("a")), Ok(()));
    assert_eq!(check(&filter, &wants(Some("a"), Some("a.example")), &host("a")), Ok(()));
    assert!(check(&filter, &wants(Some("b"), None), &host("a")).is_err());
    assert!(check(&filter, &wants(None, Some("b.example")), &host("a")).is_err());
}

#[test]
fn capacity_filters_at_the_edge() {
    let filled = |vcpus_used, memory_mb_used, local_gb_used| HostState {
        vcpus_used,
        memory_mb_used,
        local_gb_used,
        ..host("a")
    };
    // 8 CPUs × 4.0, 16384 MiB, 100 GiB.
    assert_eq!(check(&CoreFilter, &request(), &filled(30, 0, 0)), Ok(()));
    assert!(check(&CoreFilter, &request(), &filled(31, 0, 0)).unwrap_err().contains("2 virtual CPUs"));
    assert_eq!(check(&RamFilter, &request(), &filled(0, 14_336, 0)), Ok(()));
    assert!(check(&RamFilter, &request(), &filled(0, 14_337, 0)).unwrap_err().contains("2048 MiB"));
    assert_eq!(check(&DiskFilter, &request(), &filled(0, 0, 90)), Ok(()));
    assert!(check(&DiskFilter, &request(), &filled(0, 0, 91)).unwrap_err().contains("10 GiB"));
    // Nobody overcommits against itself.
    let big = PlacementRequest { vcpus: 9, ..request() };
    assert!(check(&CoreFilter, &big, &host("a")).unwrap_err().contains("more than the host has"));
    // A ratio that makes no sense is none.
    for ratio in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let odd = HostState { cpu_allocation_ratio: ratio, vcpus_used: 7, ..host("a") };
        assert!(check(&CoreFilter, &request(), &odd).is_err(), "{ratio}");
    }
}

#[test]
fn compute_capabilities_filter() {
    let fits = |key: &str, value: &str| {
        let extra_specs = [(key.to_owned(), value.to_owned())].into();
        check(&ComputeCapabilitiesFilter, &PlacementRequest { extra_specs, ..request() }, &host("a"))
    };
    for (key, value) in [
        ("capabilities:cpu_info:vendor", "Intel"),
        ("capabilities:cpu_info:vendor", "s== Intel"),
        ("capabilities:cpu_info:topology:cores", ">= 4"),
        ("capabilities:cpu_info:features", "<in> aes"),
        ("capabilities:cpu_info:features", "<all-in> aes sse4.2"),
        ("capabilities:hypervisor_type", "<or> KVM <or> QEMU"),
        ("capabilities:vcpus_total", "= 8"),
        ("hypervisor_type", "QEMU"),
        ("free_ram_mb", ">= 16384"),
        // Not ours: other scopes, and keys without a scope that no host has.
        ("hw:cpu_policy", "dedicated"),
        ("quota:cpu_shares", "1"),
        ("hide_hypervisor_id", "true"),
        ("group_policy", "none"),
    ] {
        assert_eq!(fits(key, value), Ok(()), "{key} {value}");
    }
    for (key, value) in [
        ("capabilities:cpu_info:vendor", "AMD"),
        ("capabilities:cpu_info:topology:cores", "> 4"),
        ("capabilities:cpu_info:topology:cores:x", "1"),
        ("capabilities:cpu_info:features", "<all-in> aes avx"),
        ("capabilities:hypervisor_type", "<or> KVM <or> fake"),
        ("capabilities:no_such_thing", "1"),
        ("capabilities:", "1"),
        ("hypervisor_type", "KVM"),
    ] {
        assert!(fits(key, value).is_err(), "{key} {value}");
    }
}

#[test]
fn image_properties_filter() {
    let fits = |pairs: &[(&str, &str)], host: &HostState| {
        let image_properties = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        check(&ImagePropertiesFilter, &PlacementRequest { image_properties, ..request() }, host)
    };
    let (qemu, kvm) = (host("a"), HostState { hypervisor_type: "KVM".into(), ..host("b") });
    for pairs in [
        &[][..],
        &[("hw_architecture", "x86_64")],
        &[("hw_architecture", "AMD64")],
        &[("architecture", "i386")],
        &[("img_hv_type", "qemu")],
        &[("hw_vm_mode", "hvm")],
        &[("img_hv_requested_version", ">=7.0, <8.0")],
        &[("os_type", "linux"), ("hw_architecture", "")],
    ] {
        assert_eq!(fits(pairs, &qemu), Ok(()), "{pairs:?}");
        assert_eq!(fits(pairs, &kvm), Ok(()), "{pairs:?}");
    }
    for pairs in [
        &[("hw_architecture", "aarch64")][..],
        &[("img_hv_type", "xen")],
        &[("hw_vm_mode", "xen")],
        &[("img_hv_requested_version", ">=8")],
        &[("hw_architecture", "x86_64"), ("img_hv_requested_version", "<7")],
    ] {
        assert!(fits(pairs, &qemu).is_err(), "{pairs:?}");
    }
    assert!(fits(&[("img_hv_type", "kvm")], &qemu).is_err());
    assert_eq!(fits(&[("img_hv_type", "kvm")], &kvm), Ok(()));
}

fn only(weigher: &str, multiplier: f64) -> Config {
    let settings = Scheduler {
        enabled_filters: Vec::new(),
        weight_multipliers: [(weigher.to_owned(), multiplier)].into(),
        ..Scheduler::default()
    };
    config(&settings).unwrap()
}

#[test]
fn each_weigher_prefers_what_it_weighs_and_its_multiplier_turns_it_round() {
    let more = [
        ("RAMWeigher", HostState { memory_mb: 20_000, ..host("b") }),
        ("CPUWeigher", HostState { vcpus: 9, ..host("b") }),
        ("DiskWeigher", HostState { local_gb: 101, ..host("b") }),
        ("IoOpsWeigher", HostState { num_io_ops: 3, ..host("b") }),
    ];
    for (name, b) in more {
        let hosts = [host("a"), b, host("c")];
        assert_eq!(choose(&request(), &hosts, &only(name, 1.0), 0).hosts, ["b", "a", "c"], "{name}");
        assert_eq!(choose(&request(), &hosts, &only(name, -1.0), 0).hosts, ["a", "c", "b"], "{name}");
        // Off: by name.
        assert_eq!(choose(&request(), &hosts, &only(name, 0.0), 0).hosts, ["a", "b", "c"], "{name}");
    }
    let weigh = |w: &dyn crate::decide::Weigher| {
        let used =
            HostState { vcpus_used: 2, memory_mb_used: 84, local_gb_used: 1, num_io_ops: 5, ..host("a") };
        w.weigh(&Wish { request: &request(), now: NOW }, &used)
    };
    assert_eq!(weigh(&RamWeigher), 16_300.0);
    assert_eq!(weigh(&CpuWeigher), 30.0);
    assert_eq!(weigh(&DiskWeigher), 99.0);
    assert_eq!(weigh(&IoOpsWeigher), 5.0);
}

#[test]
fn weights_are_normalised_before_they_are_summed() {
    // Plenty of memory, counted in thousands, must not drown CPUs, counted in units.
    let hosts = [
        HostState { memory_mb_used: 8_000, ..host("a") },
        HostState { vcpus_used: 20, memory_mb_used: 6_000, ..host("b") },
        HostState { vcpus_used: 20, memory_mb_used: 8_000, ..host("c") },
    ];
    let settings = Scheduler {
        weight_multipliers: [("RAMWeigher".into(), 1.0), ("CPUWeigher".into(), 1.5)].into(),
        ..Scheduler::default()
    };
    assert_eq!(choose(&request(), &hosts, &config(&settings).unwrap(), 0).hosts, ["a", "b", "c"]);
}

#[test]
fn an_unknown_name_is_refused_with_the_known_ones() {
    let filter =
        Scheduler { enabled_filters: vec!["RamFilter".into(), "RamFliter".into()], ..Scheduler::default() };
    let text = config(&filter).err().unwrap().public;
    assert!(
        text.contains("scheduler.enabled_filters names 'RamFliter'") && text.contains("DiskFilter"),
        "{text}"
    );
    let weigher = Scheduler { weight_multipliers: [("Luck".to_owned(), 1.0)].into(), ..Scheduler::default() };
    let text = config(&weigher).err().unwrap().public;
    assert!(
        text.contains("scheduler.weight_multipliers names 'Luck'") && text.contains("IoOpsWeigher"),
        "{text}"
    );
    let nan = Scheduler {
        weight_multipliers: [("RAMWeigher".to_owned(), f64::NAN)].into(),
        ..Scheduler::default()
    };
    assert!(config(&nan).is_err());
}

#[test]
fn every_rejection_is_kept_and_grouped() {
    let hosts = [
        HostState { enabled: false, ..host("a") },
        HostState { memory_mb_used: 16_000, ..host("c") },
        HostState { memory_mb_used: 15_000, ..host("b") },
    ];
    let decision = choose(&request(), &hosts, &defaults(), 0);
    assert_eq!((decision.hosts.len(), decision.considered), (0, 3));
    let seen: Vec<_> = decision.rejections.iter().map(|r| (r.filter.as_str(), r.hosts.join(" "))).collect();
    assert_eq!(seen, [("ComputeFilter", "a".to_owned()), ("RamFilter", "b c".to_owned())]);
    assert!(decision.rejections.iter().all(|r| !r.reason.contains(['[', '{'])));
}

#[test]
fn the_choice_is_drawn_from_the_best_and_alternates_follow() {
    let hosts: Vec<_> =
        (0..10).map(|n| HostState { memory_mb_used: n * 1000, ..host(&format!("h{n}")) }).collect();
    let mut config = only("RAMWeigher", 1.0);
    config.host_subset_size = 3;
    config.alternates = 2;
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let chosen = choose(&request(), &hosts, &config, seed).hosts;
        assert_eq!(chosen.len(), 3);
        let best: Vec<_> = ["h0", "h1", "h2"].into_iter().filter(|h| *h != chosen[0]).collect();
        assert_eq!(chosen[1..], best);
        firsts.insert(chosen[0].clone());
    }
    assert_eq!(firsts.into_iter().collect::<Vec<_>>(), ["h0", "h1", "h2"]);
    config.host_subset_size = 0;
    assert_eq!(choose(&request(), &hosts[..1], &config, 0).hosts, ["h0"]);
    assert_eq!(choose(&request(), &[], &config, 0), Decision::default());
}

fn update(hosts: Vec<HostState>, full: bool) -> HostsUpdate {
    HostsUpdate { hosts, full }
}

#[test]
fn the_view_keeps_the_newest_state_of_each_host() {
    let mut view = View::default();
    assert!(!view.is_fresh(NOW, 30));
    view.update(update(vec![host("a")], false), NOW);
    assert!(!view.is_fresh(NOW, 30), "others may be missing");
    view.update(update(vec![host("a"), host("b")], true), NOW);
    assert!(view.is_fresh(NOW.plus_seconds(30), 30) && !view.is_fresh(NOW.plus_seconds(31), 30));
    let get = |view: &View, name: &str| view.hosts().find(|h| h.host == name).cloned().unwrap();
    // Consumed until a newer state comes; the same and older ones do not undo it.
    view.consume("a", &request(), NOW);
    let seen_again = HostState { last_seen: NOW.plus_seconds(5), ..host("a") };
    view.update(update(vec![seen_again], false), NOW);
    view.update(update(vec![HostState { generation: 0, ..host("a") }], false), NOW);
    let a = get(&view, "a");
    assert_eq!((a.vcpus_used, a.memory_mb_used, a.local_gb_used, a.num_io_ops), (2, 2048, 10, 1));
    assert_eq!(a.last_seen, NOW.plus_seconds(5));
    view.update(update(vec![HostState { generation: 2, vcpus_used: 1, ..host("a") }], false), NOW);
    assert_eq!(get(&view, "a").vcpus_used, 1);
    // Not named in a full update: gone.
    view.update(update(vec![host("b")], true), NOW);
    assert_eq!(view.len(), 1);
}

#[test]
fn what_a_choice_took_is_given_back_in_time_and_never_twice() {
    let mut view = View::default();
    view.update(update(vec![host("a"), host("b")], true), NOW);
    let used = |view: &View, name: &str| view.hosts().find(|h| h.host == name).unwrap().vcpus_used;
    view.consume("a", &request(), NOW);
    view.consume("b", &request(), NOW);
    view.consume("b", &request(), NOW.plus_seconds(10));
    assert!(view.hosts_as_told().iter().all(|h| h.vcpus_used == 0 && h.num_instances == 0));
    // The claim on "a" shows: from then on only its state counts.
    view.update(update(vec![HostState { generation: 2, vcpus_used: 2, ..host("a") }], false), NOW);
    view.expire(NOW.plus_seconds(15));
    assert_eq!((used(&view, "a"), used(&view, "b")), (2, 4));
    view.expire(NOW.plus_seconds(16));
    assert_eq!((used(&view, "a"), used(&view, "b")), (2, 2));
    view.expire(NOW.plus_seconds(26));
    assert_eq!((used(&view, "a"), used(&view, "b"), view.has_pending()), (2, 0, false));
}

fn any_host() -> impl Strategy<Value = HostState> {
    (0..40u8, 0..40i64, 0..20_000i64, 0..120i64, 0..3u8, any::<bool>(), 0..120i64).prop_map(
        |(name, vcpus_used, memory_mb_used, local_gb_used, zone, enabled, silent)| HostState {
            vcpus_used,
            memory_mb_used,
            local_gb_used,
            availability_zone: format!("z{zone}"),
            enabled: enabled || name % 2 == 0,
            last_seen: NOW.plus_seconds(-silent),
            num_io_ops: i64::from(name % 5),
            ..host(&format!("h{name:02}"))
        },
    )
}

fn any_request() -> impl Strategy<Value = PlacementRequest> {
    (1..12i64, 1..9000i64, 0..60i64, proptest::option::of(0..3u8), proptest::collection::vec(0..40u8, 0..4))
        .prop_map(|(vcpus, memory_mb, disk_gb, zone, excluded)| PlacementRequest {
            vcpus,
            memory_mb,
            disk_gb,
            availability_zone: zone.map(|z| format!("z{z}")),
            excluded_hosts: excluded.into_iter().map(|n| format!("h{n:02}")).collect(),
            ..PlacementRequest::default()
        })
}

fn distinct(mut hosts: Vec<HostState>) -> Vec<HostState> {
    hosts.sort_by(|a, b| a.host.cmp(&b.host));
    hosts.dedup_by(|a, b| a.host == b.host);
    hosts
}

proptest! {
    #[test]
    fn never_picks_a_host_that_a_filter_refuses(
        hosts in proptest::collection::vec(any_host(), 0..40), request in any_request(), seed: u64, subset in 0..5usize,
    ) {
        let hosts = distinct(hosts);
        let config = Config { host_subset_size: subset, ..defaults() };
        let decision = choose(&request, &hosts, &config, seed);
        let wish = Wish { request: &request, now: NOW };
        let fits = |h: &HostState| config.filters.iter().all(|f| f.check(&wish, h).is_ok());
        for name in &decision.hosts {
            prop_assert!(fits(hosts.iter().find(|h| h.host == *name).unwrap()));
        }
        let fitting = hosts.iter().filter(|h| fits(h)).count();
        prop_assert_eq!(decision.hosts.is_empty(), fitting == 0);
        let refused: usize = decision.rejections.iter().map(|r| r.hosts.len()).sum();
        prop_assert_eq!(refused + fitting, hosts.len());
        let mut names = decision.hosts.clone();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), decision.hosts.len());
    }

    #[test]
    fn the_order_of_the_hosts_does_not_matter(
        hosts in proptest::collection::vec(any_host(), 0..40), request in any_request(), seed: u64, shuffle: u64,
    ) {
        let hosts = distinct(hosts);
        let config = Config { host_subset_size: 3, ..defaults() };
        let mut other = hosts.clone();
        other.shuffle(&mut StdRng::seed_from_u64(shuffle));
        prop_assert_eq!(choose(&request, &hosts, &config, seed), choose(&request, &other, &config, seed));
    }

    #[test]
    fn capacity_is_never_exceeded(
        hosts in proptest::collection::vec(any_host(), 1..10),
        requests in proptest::collection::vec(any_request(), 1..60),
        seed: u64,
    ) {
        let hosts = distinct(hosts);
        let config = defaults();
        let mut view = View::default();
        view.update(update(hosts.clone(), true), NOW);
        let mut rng = StdRng::seed_from_u64(seed);
        for request in &requests {
            let decision = decide(&Wish { request, now: NOW }, view.hosts(), &config, &mut rng);
            if let Some(name) = decision.hosts.first() {
                view.consume(name, request, NOW);
            }
        }
        for h in view.hosts() {
            let before = hosts.iter().find(|b| b.host == h.host).unwrap();
            prop_assert!(h.vcpus_used as f64 <= (h.vcpus as f64 * h.cpu_allocation_ratio).max(before.vcpus_used as f64));
            prop_assert!(h.memory_mb_used <= h.memory_mb.max(before.memory_mb_used));
            prop_assert!(h.local_gb_used <= h.local_gb.max(before.local_gb_used));
        }
    }
}

/// Prints how long a decision takes; the limit only catches something quadratic, whatever the machine is doing.
#[test]
fn ten_thousand_hosts_are_decided_quickly() {
    let hosts: Vec<_> = (0..10_000)
        .map(|n| HostState {
            memory_mb_used: n % 16_000,
            vcpus_used: n % 40,
            ..host(&format!("host-{n:05}"))
        })
        .collect();
    let config = defaults();
    let mut best = Duration::MAX;
    for seed in 0..40 {
        let begin = Instant::now();
        assert!(!choose(&request(), &hosts, &config, seed).hosts.is_empty());
        best = best.min(begin.elapsed());
    }
    println!("one decision among 10000 hosts: {best:?}");
    assert!(best < Duration::from_millis(500), "{best:?}");
}
