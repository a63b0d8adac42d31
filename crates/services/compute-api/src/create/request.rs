//! The body of `POST /servers` as a type.

use super::{hints, limits, names};
use crate::input::{integer, is_true};
use ferrostack_http::Ctx;
use ferrostack_model::{Error, Result, auth::Secret, guest::Personality, id};
use ferrostack_settings::Quota;
use serde_json::Value;
use std::collections::BTreeMap;

/// Most servers of one request.
const MAX_COUNT: i64 = 1000;

/// How networks were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Networks {
    /// Nothing was said: the one network there is.
    Unsaid,
    /// `auto`
    Auto,
    /// `none`
    None,
    /// These, in order.
    These(Vec<NetworkWish>),
}

/// One entry of `networks`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkWish {
    pub uuid: Option<String>,
    pub port: Option<String>,
    pub fixed_ip: Option<String>,
    pub tag: Option<String>,
}

/// What a client wants.
#[derive(Clone, Debug)]
pub struct Wish {
    pub name: String,
    pub hostname: Option<String>,
    pub description: Option<String>,
    pub flavor_ref: String,
    pub image_ref: Option<String>,
    pub devices: Vec<Value>,
    pub volumes: bool,
    pub networks: Networks,
    pub metadata: BTreeMap<String, String>,
    pub tags: Vec<String>,
    pub trusted_certs: Option<Vec<String>>,
    pub hints: BTreeMap<String, Vec<String>>,
    pub key_name: Option<String>,
    pub user_data: Option<String>,
    pub personality: Vec<Personality>,
    pub config_drive: bool,
    pub admin_pass: Secret,
    pub access_ip_v4: String,
    pub access_ip_v6: String,
    pub disk_config: String,
    pub availability_zone: Option<String>,
    pub host: Option<String>,
    pub hypervisor: Option<String>,
    pub security_groups: Vec<String>,
    pub min_count: i64,
    pub max_count: i64,
    pub return_reservation_id: bool,
}

/// Reads a body that has passed the schema.
pub fn read(ctx: &Ctx, body: &Value) -> Result<Wish> {
    let asked = &body["server"];
    let text = |name: &str| asked[name].as_str().map(str::to_owned);
    let project_id = ctx.caller()?.project_id().to_owned();
    if project_id.is_empty() {
        return Err(Error::forbidden("Policy doesn't allow os_compute_api:servers:create to be performed."));
    }
    let name = text("name").unwrap_or_default();
    let min_count = if asked["min_count"].is_null() { 1 } else { integer(&asked["min_count"])? };
    let max_count = if asked["max_count"].is_null() { min_count } else { integer(&asked["max_count"])? };
    if min_count > max_count {
        return Err(Error::bad_request("min_count must be <= max_count"));
    }
    if max_count > MAX_COUNT {
        return Err(Error::bad_request(format!("max_count must be <= {MAX_COUNT}")));
    }
    let flavor_ref = match &asked["flavorRef"] {
        Value::String(text) => text.rsplit('/').next().unwrap_or(text).to_owned(),
        other => other.to_string(),
    };
    let admin_pass = text("adminPass").unwrap_or_else(names::password);
    Ok(Wish {
        name: if ctx.legacy { name.trim().to_owned() } else { name },
        hostname: text("hostname").map(|h| names::given_hostname(&h, ctx.version)).transpose()?,
        description: text("description"),
        flavor_ref,
        image_ref: text("imageRef").filter(|t| !t.is_empty()),
        volumes: asked["block_device_mapping"].as_array().is_some_and(|l| !l.is_empty()),
        devices: asked["block_device_mapping_v2"].as_array().cloned().unwrap_or_default(),
        networks: networks(&asked["networks"])?,
        metadata: limits::texts(&asked["metadata"]),
        tags: unique(strings(&asked["tags"])),
        trusted_certs: asked["trusted_image_certificates"]
            .as_array()
            .map(|_| strings(&asked["trusted_image_certificates"])),
        hints: hints::read(body)?,
        key_name: text("key_name"),
        user_data: text("user_data").filter(|t| !t.is_empty()),
        personality: limits::personality(&asked["personality"]),
        config_drive: is_true(&asked["config_drive"]),
        admin_pass: Secret(admin_pass),
        access_ip_v4: text("accessIPv4").unwrap_or_default(),
        access_ip_v6: text("accessIPv6").unwrap_or_default(),
        disk_config: text("OS-DCF:diskConfig").unwrap_or_else(|| "MANUAL".into()),
        availability_zone: text("availability_zone").filter(|t| !t.is_empty()),
        host: text("host"),
        hypervisor: text("hypervisor_hostname"),
        security_groups: security_groups(&asked["security_groups"], &project_id)?,
        min_count,
        max_count,
        return_reservation_id: is_true(&asked["return_reservation_id"]),
    })
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn unique(all: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(all.len());
    for item in all {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

fn networks(value: &Value) -> Result<Networks> {
    match value {
        Value::String(text) if text == "auto" => Ok(Networks::Auto),
        Value::String(text) if text == "none" => Ok(Networks::None),
        Value::Array(items) if !items.is_empty() => {
            items.iter().map(network).collect::<Result<_>>().map(Networks::These)
        }
        _ => Ok(Networks::Unsaid),
    }
}

fn network(value: &Value) -> Result<NetworkWish> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let wish =
        NetworkWish { uuid: text("uuid"), port: text("port"), fixed_ip: text("fixed_ip"), tag: text("tag") };
    match (&wish.port, &wish.uuid) {
        (Some(port), _) => {
            if wish.fixed_ip.is_some() {
                let ip = wish.fixed_ip.as_deref().unwrap_or("");
                return Err(Error::bad_request(format!(
                    "Specified Fixed IP '{ip}' cannot be used with port '{port}': the two cannot be specified together."
                )));
            }
        }
        (None, Some(uuid)) if !id::is_uuid_like(uuid) => {
            let text = format!(
                "Bad networks format: network uuid is not in proper format ({})",
                uuid.chars().take(255).collect::<String>()
            );
            return Err(Error::bad_request(text));
        }
        (None, Some(_)) => {}
        (None, None) => {
            return Err(Error::bad_request(
                "Bad networks format: network uuid is not in proper format (None)",
            ));
        }
    }
    Ok(wish)
}

fn security_groups(value: &Value, project_id: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for item in value.as_array().map(Vec::as_slice).unwrap_or_default() {
        let name = item["name"].as_str().unwrap_or_default();
        if name != "default" {
            let name: String = name.chars().take(255).collect();
            let text = format!("Security group {name} not found for project {project_id}.");
            return Err(Error::bad_request(text));
        }
        names.push(name.to_owned());
    }
    Ok(unique(names))
}

/// 403 for what exceeds the project's limits of metadata and injected files.
pub fn check_limits(wish: &Wish, quota: &Quota) -> Result<()> {
    limits::metadata(wish.metadata.len(), quota)?;
    limits::files(&wish.personality, quota)
}
