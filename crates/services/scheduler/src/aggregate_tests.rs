//! The filters on aggregates and counts, and multipliers of aggregates.
#![allow(clippy::unwrap_used)]

use crate::{
    decide::{Filter, Wish, decide},
    registry::config,
};
use ferrostack_model::{
    Timestamp,
    host::{HostAggregate, HostState},
    placement::PlacementRequest,
};
use ferrostack_settings::Scheduler;
use rand::{SeedableRng, rngs::StdRng};
use std::{collections::BTreeMap, sync::Arc};

fn host(name: &str, aggregates: &[&[(&str, &str)]]) -> HostState {
    let aggregates = aggregates.iter().enumerate().map(|(n, metadata)| HostAggregate {
        id: n as i64 + 1,
        name: format!("a{n}"),
        metadata: texts(metadata),
    });
    HostState { aggregates: aggregates.collect(), memory_mb: 1000, ..crate::tests::host(name) }
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// The filter of this name with these settings.
fn filter(name: &str, settings: &Scheduler) -> Arc<dyn Filter> {
    let settings = Scheduler { enabled_filters: vec![name.into()], ..settings.clone() };
    config(&settings).unwrap().filters.pop().unwrap()
}

fn passes(filter: &Arc<dyn Filter>, request: &PlacementRequest, host: &HostState) -> bool {
    filter.check(&Wish { request, now: Timestamp(0) }, host).is_ok()
}

#[test]
fn every_filter_has_the_name_it_is_registered_under() {
    for (name, _) in crate::filters::REGISTRY {
        assert_eq!(filter(name, &Scheduler::default()).name(), *name);
    }
}

#[test]
fn extra_specs_of_the_scope_or_none_must_be_met_by_an_aggregate() {
    let filter = filter("AggregateInstanceExtraSpecsFilter", &Scheduler::default());
    let wants = |pairs| PlacementRequest { extra_specs: texts(pairs), ..PlacementRequest::default() };
    let fast = host("a", &[&[("ssd", "true, nvme")], &[("size", "8")]]);
    let bare = host("b", &[]);
    assert!(passes(&filter, &wants(&[]), &bare));
    for (specs, fits) in [
        (&[("aggregate_instance_extra_specs:ssd", "nvme")][..], true),
        (&[("ssd", "true")], true),
        (&[("ssd", "false")], false),
        (&[("aggregate_instance_extra_specs:size", ">= 8"), ("ssd", "true")], true),
        (&[("aggregate_instance_extra_specs:size", "> 8")], false),
        (&[("aggregate_instance_extra_specs:none", "x")], false),
        (&[("hw:cpu_policy", "dedicated"), ("trait:X", "required")], true),
    ] {
        assert_eq!(passes(&filter, &wants(specs), &fast), fits, "{specs:?}");
    }
    assert!(!passes(&filter, &wants(&[("ssd", "true")]), &bare));
}

#[test]
fn image_properties_are_isolated_within_the_namespace() {
    let image = |pairs| PlacementRequest { image_properties: texts(pairs), ..PlacementRequest::default() };
    let windows = host("a", &[&[("os_distro", "windows,other"), ("x.y", "1")]]);
    let plain = Scheduler::default();
    let all = filter("AggregateImagePropertiesIsolation", &plain);
    assert!(passes(&all, &image(&[("os_distro", "windows")]), &windows));
    assert!(passes(&all, &image(&[]), &windows));
    assert!(!passes(&all, &image(&[("os_distro", "debian")]), &windows));
    let settings = Scheduler { aggregate_image_properties_isolation_namespace: Some("x".into()), ..plain };
    let some = filter("AggregateImagePropertiesIsolation", &settings);
    assert!(passes(&some, &image(&[("os_distro", "debian")]), &windows));
    assert!(!passes(&some, &image(&[("x.y", "2")]), &windows));
}

#[test]
fn tenants_and_flavors_are_isolated() {
    let tenants = filter("AggregateMultiTenancyIsolation", &Scheduler::default());
    let of = |project: &str| PlacementRequest { project_id: project.into(), ..PlacementRequest::default() };
    let kept = host("a", &[&[("filter_tenant_id", "p1,p2")], &[("filter_tenant_id2", "p3"), ("k", "v")]]);
    for (project, fits) in [("p1", true), ("p2", true), ("p3", true), ("p4", false), ("", false)] {
        assert_eq!(passes(&tenants, &of(project), &kept), fits, "{project}");
        assert!(passes(&tenants, &of(project), &host("b", &[&[("k", "v")]])), "{project}");
    }
    let flavors = filter("AggregateTypeAffinityFilter", &Scheduler::default());
    let of = |flavor: &str| PlacementRequest { flavor: flavor.into(), ..PlacementRequest::default() };
    let kept = host("a", &[&[("instance_type", "m1.big, m1.huge")]]);
    assert!(passes(&flavors, &of("m1.huge"), &kept));
    assert!(!passes(&flavors, &of("m1.tiny"), &kept));
    assert!(passes(&flavors, &of("m1.tiny"), &host("b", &[])));
}

#[test]
fn counts_stop_at_the_maximum_of_settings_or_aggregate() {
    let settings = Scheduler { max_instances_per_host: 3, max_io_ops_per_host: 2, ..Scheduler::default() };
    let anything = PlacementRequest::default();
    let at = |num_instances, num_io_ops, aggregates| HostState {
        num_instances,
        num_io_ops,
        ..host("a", aggregates)
    };
    let own: &[&[(&str, &str)]] = &[
        &[("max_instances_per_host", "5"), ("max_io_ops_per_host", "9")],
        &[("max_instances_per_host", "4")],
    ];
    let odd: &[&[(&str, &str)]] = &[&[("max_instances_per_host", "many")]];
    for (name, host, fits) in [
        ("NumInstancesFilter", at(2, 9, &[]), true),
        ("NumInstancesFilter", at(3, 0, own), false),
        ("AggregateNumInstancesFilter", at(3, 0, own), true),
        ("AggregateNumInstancesFilter", at(4, 0, own), false),
        ("AggregateNumInstancesFilter", at(3, 0, odd), false),
        ("AggregateNumInstancesFilter", at(2, 0, odd), true),
        ("IoOpsFilter", at(9, 1, &[]), true),
        ("IoOpsFilter", at(0, 2, own), false),
        ("AggregateIoOpsFilter", at(0, 8, own), true),
        ("AggregateIoOpsFilter", at(0, 9, own), false),
    ] {
        assert_eq!(passes(&filter(name, &settings), &anything, &host), fits, "{name} {host:?}");
    }
}

#[test]
fn isolated_hosts_and_images_go_together() {
    let settings = |restrict| Scheduler {
        isolated_hosts: vec!["iso".into()],
        isolated_images: vec!["i".into()],
        restrict_isolated_hosts_to_isolated_images: restrict,
        ..Scheduler::default()
    };
    let of = |image: &str| PlacementRequest { image_id: image.into(), ..PlacementRequest::default() };
    for (restrict, image, name, fits) in [
        (true, "i", "iso", true),
        (true, "i", "free", false),
        (true, "j", "iso", false),
        (true, "j", "free", true),
        (true, "", "iso", false),
        (false, "i", "iso", true),
        (false, "i", "free", false),
        (false, "j", "iso", true),
        (false, "j", "free", true),
    ] {
        let filter = filter("IsolatedHostsFilter", &settings(restrict));
        assert_eq!(passes(&filter, &of(image), &host(name, &[])), fits, "{restrict} {image} {name}");
    }
}

fn big(aggregates: &[&[(&str, &str)]]) -> HostState {
    HostState { memory_mb: 2000, ..host("big", aggregates) }
}

#[test]
fn an_aggregate_has_multipliers_of_its_own() {
    let settings = Scheduler {
        enabled_filters: Vec::new(),
        weight_multipliers: [("RAMWeigher".to_owned(), 1.0), ("NumInstancesWeigher".to_owned(), 0.0)].into(),
        ..Scheduler::default()
    };
    let config = config(&settings).unwrap();
    let first = |hosts: &[HostState]| {
        let wish = Wish { request: &PlacementRequest::default(), now: Timestamp(0) };
        decide(&wish, hosts, &config, &mut StdRng::seed_from_u64(1)).hosts.remove(0)
    };
    let small = HostState { num_instances: 1, ..host("small", &[]) };
    assert_eq!(first(&[big(&[]), small.clone()]), "big");
    assert_eq!(first(&[big(&[&[("ram_weight_multiplier", "-1")]]), small.clone()]), "small");
    // The smallest of several; what is no number counts for nothing.
    let two: &[&[(&str, &str)]] = &[&[("ram_weight_multiplier", "3")], &[("ram_weight_multiplier", "-2")]];
    assert_eq!(first(&[big(two), small.clone()]), "small");
    for odd in ["x", "nan", "inf", "-inf"] {
        let own = [("ram_weight_multiplier", odd)];
        assert_eq!(first(&[big(&[&own]), small.clone()]), "big", "{odd}");
    }
    // One that the settings turn off is turned on by an aggregate.
    let stacking =
        HostState { num_instances: 1, ..host("small", &[&[("num_instances_weight_multiplier", "5")]]) };
    assert_eq!(first(&[big(&[]), stacking]), "small");
}
