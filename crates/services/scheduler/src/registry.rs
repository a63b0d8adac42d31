//! From settings to filters and weighers.

use crate::{
    decide::{Config, Filter},
    filters::{self, RequestedHostFilter},
    weighers,
};
use ferrostack_model::{Error, Result};
use ferrostack_settings::Scheduler;
use std::sync::Arc;

/// The filters and weighers that `settings` name. An unknown name is an error that lists the known ones.
pub fn config(settings: &Scheduler) -> Result<Config> {
    let mut chosen: Vec<Arc<dyn Filter>> = vec![Arc::new(RequestedHostFilter)];
    for name in &settings.enabled_filters {
        let (_, make) = filters::REGISTRY.iter().find(|(known, _)| known == name).ok_or_else(|| {
            unknown("scheduler.enabled_filters", name, filters::REGISTRY.iter().map(|f| f.0))
        })?;
        chosen.push(make(settings));
    }
    let mut weighers = Vec::new();
    for (name, multiplier) in &settings.weight_multipliers {
        let (_, make) = weighers::REGISTRY.iter().find(|(known, _)| known == name).ok_or_else(|| {
            unknown("scheduler.weight_multipliers", name, weighers::REGISTRY.iter().map(|w| w.0))
        })?;
        if !multiplier.is_finite() {
            return Err(refused(format!("scheduler.weight_multipliers.{name} is not a number")));
        }
        // One of 0 stays: an aggregate may give it another.
        weighers.push((make(), *multiplier));
    }
    Ok(Config {
        filters: chosen,
        weighers,
        host_subset_size: settings.host_subset_size,
        alternates: settings.alternates,
    })
}

fn unknown(key: &str, name: &str, known: impl Iterator<Item = &'static str>) -> Error {
    let known: Vec<_> = known.collect();
    refused(format!("{key} names '{name}', which does not exist; known are {}", known.join(", ")))
}

fn refused(text: String) -> Error {
    Error::bad_request(text)
}
