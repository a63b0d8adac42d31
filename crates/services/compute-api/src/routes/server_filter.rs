//! The filters of the server list: which of them a caller may use, and what they mean.

use crate::{
    app::App,
    input::{Query, truth},
    store::{
        flavors::{self, Viewer},
        servers::list::{Field, Filter},
    },
};
use ferrostack_http::Ctx;
use ferrostack_model::{
    Error, Result, Timestamp,
    microversion::feature,
    server::{TaskState, VmState, status},
};

const ALL_FILTERS: &str = "os_compute_api:servers:allow_all_filters";

/// Whether everybody may filter by `name` at this microversion.
fn for_all(name: &str, ctx: &Ctx) -> bool {
    let v = ctx.version;
    match name {
        "reservation_id" | "name" | "status" | "image" | "flavor" | "ip" | "changes-since"
        | "all_tenants" => true,
        "ip6" => v.has(feature::IP6_FILTER),
        "tags" | "tags-any" | "not-tags" | "not-tags-any" => v.has(feature::SERVER_TAGS),
        "changes-before" => v.has(feature::CHANGES_BEFORE),
        "locked" => v.has(feature::LOCKED_REASON),
        "availability_zone" | "config_drive" | "key_name" | "created_at" | "launched_at"
        | "terminated_at" | "power_state" | "task_state" | "vm_state" | "progress" | "user_id" => {
            v.has(feature::MORE_FILTERS)
        }
        _ => false,
    }
}

/// The filter a query asks for, within what the caller may see. `rule` is the list's policy.
pub async fn read(app: &App, ctx: &Ctx, query: &Query, rule: &str) -> Result<Filter> {
    let caller = ctx.caller()?;
    let every = ctx.may(ALL_FILTERS, &[("project_id", caller.project_id())]);
    let get = |name: &str| query.get(name).filter(|_| every || for_all(name, ctx));
    let mut filter = Filter::default();

    let all_tenants = match get("all_tenants") {
        None => false,
        Some("") => true,
        Some(text) if truth(text) => true,
        Some(text)
            if matches!(text.to_ascii_lowercase().as_str(), "0" | "f" | "false" | "off" | "n" | "no") =>
        {
            false
        }
        Some(text) => {
            return Err(Error::bad_request(format!(
                "Unrecognized value '{text}', acceptable values are: '0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'"
            )));
        }
    };
    if all_tenants {
        let rule = format!("{rule}:get_all_tenants");
        ctx.enforce(&rule, &[("project_id", caller.project_id())])?;
        if let Some(project) = get("project_id").or_else(|| get("tenant_id")) {
            filter.project(project);
        }
    } else if caller.project_id().is_empty() {
        filter.user(caller.user_id());
    } else {
        filter.project(caller.project_id());
    }

    states(ctx, query, &get, &mut filter)?;
    let since = time(get("changes-since"), "changes-since")?;
    let before = time(get("changes-before"), "changes-before")?;
    if let (Some(since), Some(before)) = (since, before)
        && before < since
    {
        return Err(Error::bad_request(
            "The value of changes-since must be less than or equal to changes-before.",
        ));
    }
    if let Some(at) = since {
        filter.changes_since(at);
    }
    if let Some(at) = before {
        filter.changes_before(at);
    }
    let wants_deleted = get("vm_state").is_some_and(|s| s == VmState::Deleted.as_str())
        || query.all("status").any(|s| s.eq_ignore_ascii_case("DELETED"));
    if wants_deleted {
        if !caller.is_admin() {
            return Err(Error::forbidden("Only administrators may list deleted instances"));
        }
        filter.deleted(true);
    } else if let Some(text) = get("deleted") {
        filter.deleted(truth(text));
    } else if since.is_none() && before.is_none() {
        filter.deleted(false);
    }
    let put_aside = get("soft_deleted").is_some_and(truth)
        || get("deleted").is_some_and(truth)
        || get("vm_state") == Some(VmState::SoftDeleted.as_str())
        || query.all("status").any(|s| s.eq_ignore_ascii_case("SOFT_DELETED"));
    if !put_aside {
        filter.without_put_aside();
    }
    if get("soft_deleted").is_some_and(truth) {
        filter.vm_states(&[VmState::SoftDeleted]);
    }

    if let Some(flavor) = get("flavor") {
        // A flavor nobody knows: no server can have it.
        match flavors::get_by_id(&app.db, flavor, Viewer::Admin).await {
            Ok(known) => filter.flavor(&known.id),
            Err(error) if error.kind == ferrostack_model::ErrorKind::NotFound => filter.flavor(flavor),
            Err(error) => return Err(error),
        }
    }
    if let Some(image) = get("image").or_else(|| get("image_ref")) {
        // Clients send ids and links.
        filter.image(image.rsplit('/').next().unwrap_or(image));
    }
    type Set = fn(&mut Filter, &str);
    let exact: [(&str, Set); 4] = [
        ("host", Filter::host),
        ("uuid", Filter::id),
        ("reservation_id", Filter::reservation),
        ("user_id", Filter::user),
    ];
    for (name, apply) in exact {
        if let Some(value) = get(name) {
            apply(&mut filter, value);
        }
    }
    if let Some(text) = get("locked") {
        filter.locked(match text.to_ascii_lowercase().as_str() {
            "0" | "f" | "false" | "off" | "n" | "no" => false,
            t if truth(t) => true,
            _ => return Err(Error::bad_request(format!("Unrecognized value '{text}' of the filter locked"))),
        });
    }
    if let Some(text) = get("metadata") {
        metadata(text, &mut filter)?;
    }
    tags(&get, &mut filter);
    for (name, field) in PATTERNS {
        if let Some(text) = get(name) {
            filter.pattern(*field, text)?;
        }
    }
    Ok(filter)
}

/// Filters that are regular expressions, as in Nova.
const PATTERNS: &[(&str, Field)] = &[
    ("name", Field::Name),
    ("display_name", Field::Name),
    ("hostname", Field::Hostname),
    ("description", Field::Description),
    ("display_description", Field::Description),
    ("key_name", Field::KeyName),
    ("node", Field::Node),
    ("availability_zone", Field::Zone),
    ("kernel_id", Field::KernelId),
    ("ramdisk_id", Field::RamdiskId),
    ("root_device_name", Field::RootDevice),
    ("access_ip_v4", Field::AccessIpV4),
    ("access_ip_v6", Field::AccessIpV6),
    ("ip", Field::Ip),
    ("ip6", Field::Ip6),
    ("created_at", Field::CreatedAt),
    ("launched_at", Field::LaunchedAt),
    ("terminated_at", Field::TerminatedAt),
    ("launch_index", Field::LaunchIndex),
    ("progress", Field::Progress),
    ("power_state", Field::PowerState),
    ("config_drive", Field::ConfigDrive),
    ("auto_disk_config", Field::DiskConfig),
];

fn states<'q>(
    ctx: &Ctx,
    query: &'q Query,
    get: &impl Fn(&str) -> Option<&'q str>,
    filter: &mut Filter,
) -> Result<()> {
    let wanted: Vec<&str> = query.all("status").collect();
    if !wanted.is_empty() {
        let pairs = pairs_of(&wanted);
        if pairs.is_empty() {
            if ctx.version.has(feature::SERVER_STATUS_FILTER_STRICT) {
                return Err(Error::bad_request("Invalid status value"));
            }
            filter.nothing = true;
            return Ok(());
        }
        filter.states(&pairs);
        return Ok(());
    }
    if let Some(text) = get("vm_state") {
        let known: Vec<VmState> = VmState::parse(text).into_iter().collect();
        filter.vm_states(&known);
    }
    if let Some(text) = get("task_state") {
        let known: Vec<TaskState> = TaskState::parse(text).into_iter().collect();
        filter.task_states(&known);
    }
    Ok(())
}

/// The state combinations that show as one of `wanted`; `None` is a task that does not matter.
fn pairs_of(wanted: &[&str]) -> Vec<(VmState, Option<TaskState>)> {
    let fits = |text: &str| wanted.iter().any(|w| w.eq_ignore_ascii_case(text));
    let mut pairs = Vec::new();
    for vm in VmState::ALL.iter().copied() {
        if fits(status(vm, None)) {
            pairs.push((vm, None));
        }
        for task in TaskState::ALL.iter().copied() {
            let shown = status(vm, Some(task));
            if shown != status(vm, None) && fits(shown) {
                pairs.push((vm, Some(task)));
            }
        }
    }
    pairs
}

fn time(text: Option<&str>, name: &str) -> Result<Option<Timestamp>> {
    text.map(|t| Timestamp::parse(t).ok_or_else(|| Error::bad_request(format!("Invalid {name} value: {t}"))))
        .transpose()
}

/// `metadata={"key": "value"}`
fn metadata(text: &str, filter: &mut Filter) -> Result<()> {
    let wanted: std::collections::BTreeMap<String, String> = serde_json::from_str(text)
        .map_err(|_| Error::bad_request("Invalid filter metadata: a JSON object of texts is needed."))?;
    for (key, value) in &wanted {
        filter.metadata(key, value);
    }
    Ok(())
}

fn tags<'q>(get: &impl Fn(&str) -> Option<&'q str>, filter: &mut Filter) {
    let list = |name: &str| -> Vec<String> {
        get(name)
            .map_or_else(Vec::new, |t| t.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect())
    };
    for tag in list("tags") {
        filter.tag(&tag, true);
    }
    for tag in list("not-tags-any") {
        filter.tag(&tag, false);
    }
    let any = list("tags-any");
    if !any.is_empty() {
        filter.any_tag(&any);
    }
    let not_all = list("not-tags");
    if !not_all.is_empty() {
        filter.not_all_tags(&not_all);
    }
}
