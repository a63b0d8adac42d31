//! ComputeCapabilitiesFilter: extra specs against what the host reports of itself.

use super::operators::matches;
use crate::decide::{Filter, Reason, Wish};
use ferrostack_model::host::HostState;
use serde_json::Value;
use std::borrow::Cow;

/// Extra specs without a scope (where the host has such an attribute) and those in `capabilities:`.
pub struct ComputeCapabilitiesFilter;

impl Filter for ComputeCapabilitiesFilter {
    fn name(&self) -> &'static str {
        "ComputeCapabilitiesFilter"
    }

    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        for (key, wanted) in &wish.request.extra_specs {
            let path = match key.split_once(':') {
                Some(("capabilities", path)) => path,
                // Other scopes are other people's.
                Some(_) => continue,
                // Without a scope a key that no host has is not meant for us.
                None if attribute(host, key).is_none() => continue,
                None => key,
            };
            match capability(host, path) {
                None => return Err(format!("no capability {path}").into()),
                Some(have) if !matches(&have, wanted) => {
                    return Err(format!("capability {path} is not '{wanted}'").into());
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// `a:b:c` below the host.
fn capability(host: &HostState, path: &str) -> Option<String> {
    let mut steps = path.split(':');
    let mut value = attribute(host, steps.next()?)?;
    for step in steps {
        value = match value {
            Cow::Borrowed(v) => Cow::Borrowed(v.get(step)?),
            Cow::Owned(v) => Cow::Owned(v.get(step)?.clone()),
        };
    }
    match value.as_ref() {
        Value::Null => None,
        other => Some(shown(other)),
    }
}

/// As Python's `str` shows it: requirements such as `<in> aes` look into that text.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Array(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|i| match i {
                    Value::String(text) => format!("'{text}'"),
                    other => shown(other),
                })
                .collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// Nova's names of a host's attributes.
fn attribute<'a>(host: &'a HostState, name: &str) -> Option<Cow<'a, Value>> {
    let owned = |value: Value| Some(Cow::Owned(value));
    match name {
        "cpu_info" => Some(Cow::Borrowed(&host.cpu_info)),
        "host" => owned(host.host.clone().into()),
        "nodename" | "hypervisor_hostname" => owned(host.node.clone().into()),
        "hypervisor_type" => owned(host.hypervisor_type.clone().into()),
        "hypervisor_version" => owned(host.hypervisor_version.into()),
        "vcpus_total" => owned(host.vcpus.into()),
        "vcpus_used" => owned(host.vcpus_used.into()),
        "total_usable_ram_mb" => owned(host.memory_mb.into()),
        "free_ram_mb" => owned(host.memory_mb.saturating_sub(host.memory_mb_used).into()),
        "total_usable_disk_gb" => owned(host.local_gb.into()),
        "free_disk_mb" => owned(host.local_gb.saturating_sub(host.local_gb_used).saturating_mul(1024).into()),
        "disk_mb_used" => owned(host.local_gb_used.saturating_mul(1024).into()),
        "num_instances" => owned(host.num_instances.into()),
        "num_io_ops" => owned(host.num_io_ops.into()),
        "cpu_allocation_ratio" => owned(host.cpu_allocation_ratio.into()),
        "ram_allocation_ratio" => owned(host.ram_allocation_ratio.into()),
        "disk_allocation_ratio" => owned(host.disk_allocation_ratio.into()),
        _ => None,
    }
}
