//! Filters on the metadata of the host aggregates that a host is in.

use super::operators::matches;
use crate::decide::{Filter, Reason, Wish};
use ferrostack_model::host::HostState;
use ferrostack_settings::Scheduler;
use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

/// Every value of each key over all aggregates of the host; a value is a list with commas.
fn metadata(host: &HostState) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, value) in host.aggregates.iter().flat_map(|a| &a.metadata) {
        all.entry(key).or_default().extend(value.split(',').map(str::trim));
    }
    all
}

/// The smallest of the numbers that the host's aggregates give `key`; `default` if none does. As in Nova one value
/// that is no number makes all of them count for nothing.
pub fn number<T: FromStr + PartialOrd + Copy>(host: &HostState, key: &str, default: T) -> T {
    let mut smallest = None;
    for text in host.aggregates.iter().filter_map(|a| a.metadata.get(key)) {
        let Ok(value) = text.trim().parse::<T>() else { return default };
        if smallest.is_none_or(|known| value < known) {
            smallest = Some(value);
        }
    }
    smallest.unwrap_or(default)
}

/// Extra specs without a scope or in `aggregate_instance_extra_specs:` against aggregate metadata.
pub struct AggregateInstanceExtraSpecsFilter;

impl Filter for AggregateInstanceExtraSpecsFilter {
    fn name(&self) -> &'static str {
        "AggregateInstanceExtraSpecsFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        if wish.request.extra_specs.is_empty() {
            return Ok(());
        }
        let metadata = metadata(host);
        for (key, wanted) in &wish.request.extra_specs {
            let key = match key.split_once(':') {
                Some(("aggregate_instance_extra_specs", key)) => key,
                // Other scopes are other people's.
                Some(_) => continue,
                None => key.as_str(),
            };
            match metadata.get(key) {
                None => return Err(format!("no aggregate of the host has {key}").into()),
                Some(values) if !values.iter().any(|have| matches(have, wanted)) => {
                    return Err(format!("{key} of the host's aggregates is not '{wanted}'").into());
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Image properties that an aggregate names must have one of its values.
pub struct AggregateImagePropertiesIsolation {
    /// Only keys that begin so, if anything.
    prefix: Option<String>,
}

impl AggregateImagePropertiesIsolation {
    /// With Nova's options `aggregate_image_properties_isolation_namespace` and `…_separator`.
    pub fn new(settings: &Scheduler) -> Self {
        let namespace = settings.aggregate_image_properties_isolation_namespace.as_ref();
        let separator = &settings.aggregate_image_properties_isolation_separator;
        Self { prefix: namespace.filter(|n| !n.is_empty()).map(|n| format!("{n}{separator}")) }
    }
}

impl Filter for AggregateImagePropertiesIsolation {
    fn name(&self) -> &'static str {
        "AggregateImagePropertiesIsolation"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        for (key, values) in metadata(host) {
            if self.prefix.as_ref().is_some_and(|prefix| !key.starts_with(prefix.as_str())) {
                continue;
            }
            if let Some(property) = wish.request.image_properties.get(key).filter(|p| !p.is_empty())
                && !values.contains(property.as_str())
            {
                return Err(format!("image property {key} is not what the host's aggregates hold").into());
            }
        }
        Ok(())
    }
}

/// Hosts in an aggregate with `filter_tenant_id…` are for those projects only.
pub struct AggregateMultiTenancyIsolation;

impl Filter for AggregateMultiTenancyIsolation {
    fn name(&self) -> &'static str {
        "AggregateMultiTenancyIsolation"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        let mut projects = metadata(host)
            .into_iter()
            .filter(|(key, _)| key.starts_with("filter_tenant_id"))
            .flat_map(|(_, values)| values)
            .peekable();
        if projects.peek().is_some() && !projects.any(|id| id == wish.request.project_id) {
            return Err("the host's aggregates are for other projects".into());
        }
        Ok(())
    }
}

/// Hosts in an aggregate with `instance_type` take those flavors (by name) only.
pub struct AggregateTypeAffinityFilter;

impl Filter for AggregateTypeAffinityFilter {
    fn name(&self) -> &'static str {
        "AggregateTypeAffinityFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        match metadata(host).get("instance_type") {
            Some(flavors) if !flavors.contains(wish.request.flavor.as_str()) => {
                Err("the host's aggregates are for other flavors".into())
            }
            _ => Ok(()),
        }
    }
}
