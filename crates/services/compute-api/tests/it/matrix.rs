//! Every route and every server action times every caller: what Nova's rules let through comes to the handler's work,
//! all else is refused (403), hidden (404) or gone (410), and what is refused changes nothing.
//!
//! `matrix/oracle.rs` evaluates a copy of Nova's policy and routes. A route or an action that is not in Nova's table, or
//! has no request in [`body`], fails the test.

#[path = "matrix/oracle.rs"]
mod oracle;

use crate::{
    servers::each,
    support::{Cloud, PROJECT_A, PROJECT_B, PROJECT_C, user_id},
    world::{IMAGE, NETWORK},
};
use ferrostack_compute_api::{policy, routes};
use ferrostack_db::{Db, sqlx};
use ferrostack_http::{Access, Method};
use ferrostack_model::id;
use oracle::{Oracle, Target, blank};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A caller: its token's name in `support.rs`, and what it is.
pub struct Persona {
    token: &'static str,
    pub user: &'static str,
    pub project: &'static str,
    pub roles: &'static [&'static str],
    pub scope: &'static str,
}

const ADMIN: &[&str] = &["admin", "manager", "member", "reader"];
const MANAGER: &[&str] = &["manager", "member", "reader"];
const MEMBER: &[&str] = &["member", "reader"];
const READER: &[&str] = &["reader"];

const fn of(
    token: &'static str,
    user: &'static str,
    project: &'static str,
    roles: &'static [&'static str],
    scope: &'static str,
) -> Persona {
    Persona { token, user, project, roles, scope }
}

/// Project A owns everything.
const PERSONAS: &[Persona] = &[
    of("admin", "admin", PROJECT_A, ADMIN, "project"),
    of("manager", "manager", PROJECT_A, MANAGER, "project"),
    of("member", "member", PROJECT_A, MEMBER, "project"),
    of("reader", "reader", PROJECT_A, READER, "project"),
    of("nobody", "nobody", PROJECT_A, &[], "project"),
    of("admin of B", "adminb", PROJECT_B, ADMIN, "project"),
    of("manager of B", "managerb", PROJECT_B, MANAGER, "project"),
    of("other", "other", PROJECT_B, MEMBER, "project"),
    of("reader of B", "readerb", PROJECT_B, READER, "project"),
    of("admin far away", "adminc", PROJECT_C, ADMIN, "project"),
    of("member far away", "memberc", PROJECT_C, MEMBER, "project"),
    of("service", "service", PROJECT_C, &["service"], "project"),
    // A token without a scope counts as one of a project without roles.
    of("unscoped", "unscoped", "", &[], "project"),
    of("domain admin", "domainadmin", "", ADMIN, "domain"),
    of("system admin", "systemadmin", "", ADMIN, "system"),
    of("system reader", "systemreader", "", READER, "system"),
];

/// No token, and none of ours: expired and revoked ones are the verifier's business and look the same here.
const REFUSED: &[&str] = &["", "garbage"];

/// What an answer must be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Want {
    /// Neither refused nor a fault of ours.
    Through,
    /// 403.
    Forbidden,
    /// 404: to them there is no such server.
    Hidden,
    /// 410.
    Gone,
    /// 404 before the rule: the thing that the path names is not there.
    NotThere,
}

/// The value of an action that passes its schema.
fn action(name: &str) -> Option<Value> {
    Some(match name {
        "confirmResize" | "revertResize" | "os-start" | "os-stop" | "trigger_crash_dump" | "resetNetwork"
        | "injectNetworkInfo" | "restore" | "forceDelete" | "lock" | "unlock" | "migrate" | "pause"
        | "unpause" | "rescue" | "unrescue" | "shelve" | "shelveOffload" | "unshelve" | "suspend"
        | "resume" => Value::Null,
        "reboot" => json!({"type": "HARD"}),
        "resize" => json!({"flavorRef": "nosuch"}),
        "rebuild" => json!({"imageRef": IMAGE}),
        "createImage" => json!({"name": "i"}),
        "os-resetState" => json!({"state": "error"}),
        "changePassword" => json!({"adminPass": "secret"}),
        "os-getConsoleOutput" => json!({}),
        "createBackup" => json!({"name": "b", "backup_type": "daily", "rotation": 1}),
        "evacuate" => json!({"host": "nosuch", "onSharedStorage": false}),
        "addFloatingIp" | "removeFloatingIp" | "removeFixedIp" => json!({"address": "192.0.2.1"}),
        "addFixedIp" => json!({"networkId": NETWORK}),
        "os-migrateLive" => json!({"host": null, "block_migration": false, "disk_over_commit": false}),
        "os-getVNCConsole" => json!({"type": "novnc"}),
        "os-getSPICEConsole" => json!({"type": "spice-html5"}),
        "os-getSerialConsole" => json!({"type": "serial"}),
        "os-getRDPConsole" => json!({"type": "rdp-html5"}),
        "addSecurityGroup" | "removeSecurityGroup" => json!({"name": "nosuch"}),
        "addTenantAccess" | "removeTenantAccess" => json!({"tenant": PROJECT_A}),
        "add_host" | "remove_host" => json!({"host": "nosuch"}),
        "set_metadata" => json!({"metadata": {"k": "v"}}),
        "add_interface" | "remove_interface" => json!({"address": "x"}),
        "reserve"
        | "unreserve"
        | "disassociate"
        | "disassociate_host"
        | "disassociate_project"
        | "associate_host" => Value::Null,
        "force_complete" => Value::Null,
        _ => return None,
    })
}

/// A body that passes the schema, so that only the rule can refuse; `Null` for none. `None`: the test does not know.
fn body(method: &Method, path: &str) -> Option<Value> {
    if *method != Method::POST && *method != Method::PUT {
        return Some(Value::Null);
    }
    let meta = json!({"metadata": {"k": "v"}});
    Some(match path {
        "/flavors" => json!({"flavor": {"name": "f", "ram": 1, "vcpus": 1, "disk": 0}}),
        "/flavors/{}" => json!({"flavor": {"description": "d"}}),
        "/flavors/{}/os-extra_specs" => json!({"extra_specs": {"k": "v"}}),
        "/flavors/{}/os-extra_specs/{}" => json!({"x": "v"}),
        "/os-keypairs" => json!({"keypair": {"name": "k", "public_key": "x"}}),
        "/os-quota-class-sets/{}" => json!({"quota_class_set": {"cores": 1}}),
        "/os-quota-sets/{}" => json!({"quota_set": {"cores": 1}}),
        "/os-hosts/{}" => json!({"status": "enable"}),
        "/os-services/{}" => json!({"host": "h", "binary": "nova-compute"}),
        "/os-aggregates" | "/os-aggregates/{}" => json!({"aggregate": {"name": id::hex()}}),
        "/os-aggregates/{}/images" => json!({"cache": [{"id": IMAGE}]}),
        "/servers" | "/os-volumes_boot" => {
            json!({"server": {"name": "m", "imageRef": IMAGE, "flavorRef": "nosuch"}})
        }
        "/servers/{}" | "/os-volumes_boot/{}" => json!({"server": {"name": "n"}}),
        "/servers/{}/metadata" | "/images/{}/metadata" => meta,
        "/servers/{}/metadata/{}" | "/images/{}/metadata/{}" => json!({"meta": {"x": "v"}}),
        "/servers/{}/tags" => json!({"tags": ["t"]}),
        "/servers/{}/tags/{}" => Value::Null,
        "/servers/{}/os-interface" => json!({"interfaceAttachment": {"net_id": NETWORK}}),
        "/servers/{}/os-volume_attachments" => json!({"volumeAttachment": {"volumeId": IMAGE}}),
        "/servers/{}/os-volume_attachments/{}" => json!({"volumeAttachment": {"volumeId": IMAGE}}),
        "/servers/{}/remote-consoles" => json!({"remote_console": {"protocol": "vnc", "type": "novnc"}}),
        "/servers/{}/shares" => json!({"share": {"share_id": IMAGE}}),
        "/os-server-groups" => json!({"server_group": {"name": "g", "policies": ["affinity"]}}),
        "/os-server-external-events" => {
            json!({"events": [{"name": "network-changed", "server_uuid": IMAGE}]})
        }
        "/os-floating-ips" => json!({"pool": "nosuch"}),
        "/os-security-groups" | "/os-security-groups/{}" => {
            json!({"security_group": {"name": "g", "description": "d"}})
        }
        "/os-security-group-rules" => json!({"security_group_rule": {"parent_group_id": IMAGE}}),
        "/os-volumes" => json!({"volume": {"size": 1}}),
        "/os-snapshots" => json!({"snapshot": {"volume_id": IMAGE}}),
        "/os-assisted-volume-snapshots" => json!({"snapshot": {"volume_id": IMAGE,
            "create_info": {"snapshot_id": IMAGE, "type": "qcow2", "new_file": "f"}}}),
        "/os-baremetal-nodes" => json!({}),
        "/os-agents"
        | "/os-agents/{}"
        | "/os-cells"
        | "/os-cells/{}"
        | "/os-cells/sync_instances"
        | "/os-certificates"
        | "/os-cloudpipe"
        | "/os-cloudpipe/{}"
        | "/os-floating-ip-dns/{}"
        | "/os-floating-ip-dns/{}/entries/{}"
        | "/os-floating-ips-bulk"
        | "/os-floating-ips-bulk/{}"
        | "/os-networks"
        | "/os-networks/add"
        | "/os-security-group-default-rules"
        | "/os-tenant-networks"
        | "/servers/{}/consoles" => json!({}),
        _ => return None,
    })
}

/// Services that this cloud does not have: who may ask is told so.
const ABSENT: &[&str] = &["/os-volumes", "/os-snapshots", "/os-baremetal-nodes"];

fn is_of_server(path: &str) -> bool {
    path.starts_with("/servers/{}") || path.starts_with("/os-volumes_boot/{}")
}

/// The rule that decides, of those a route of Nova's asks.
fn deciding<'r>(rules: &[&'r str], action: &str) -> Option<&'r str> {
    if rules.first() == Some(&"os_compute_api:os-migrations:index") {
        // Without a project in the query they are all projects'.
        return rules.iter().copied().find(|rule| rule.ends_with(":all_projects"));
    }
    match action {
        // The first is for a host that is named.
        "migrate" | "os-migrateLive" => rules.last().copied(),
        _ => rules.first().copied(),
    }
}

fn expected(oracle: &Oracle, rules: &[&str], path: &str, action: &str, who: &Persona) -> Want {
    let visible = who.project == PROJECT_A || who.roles.contains(&"admin");
    if rules.first() == Some(&"gone") {
        return if is_of_server(path) && !action.is_empty() && !visible { Want::Hidden } else { Want::Gone };
    }
    if path.starts_with("/os-server-groups/{}") {
        return Want::NotThere;
    }
    if is_of_server(path) && !visible {
        return Want::Hidden;
    }
    let of_a = is_of_server(path)
        || path.starts_with("/os-quota-sets/{}")
        || path.starts_with("/os-simple-tenant-usage/{}");
    let user = user_id(who.user);
    let target = Target { project: if of_a { PROJECT_A } else { who.project }, user: &user };
    let allowed = match deciding(rules, action) {
        Some(rule) => oracle.allows(rule, who, target),
        None => true,
    };
    if allowed { Want::Through } else { Want::Forbidden }
}

fn is_right(want: Want, status: u16, path: &str) -> bool {
    match want {
        Want::Through => {
            let absent = ABSENT.iter().any(|absent| path.starts_with(absent)) && [501, 503].contains(&status);
            absent || (status < 500 && status != 401 && status != 403)
        }
        Want::Forbidden => status == 403,
        Want::Hidden | Want::NotThere => status == 404,
        Want::Gone => status == 410,
    }
}

/// A server of project A that no action can do anything to but delete and reset.
pub async fn server(db: &Db) -> String {
    let id = id::uuid();
    sqlx::query(
        "INSERT INTO servers (id, project_id, user_id, display_name, hostname, instance_name, reservation_id, \
         vm_state, task_state, image_id, image, flavor, flavor_id, vcpus, memory_mb, root_gb, ephemeral_gb, swap_mb, \
         created_at) VALUES ($1, $2, 'cccccccccccccccccccccccccccccccc', 's', 's', 'i', 'r', 'building', 'scheduling', $3, \
         '{\"id\": \"11111111-1111-4111-8111-111111111111\", \"disk_format\": \"raw\", \"size\": 1, \"virtual_size\": 1, \"sha512\": \"\"}', \
         '{\"id\": \"1\", \"name\": \"f\", \"vcpus\": 1, \"ram_mb\": 1, \"root_gb\": 0, \"ephemeral_gb\": 0, \
         \"swap_mb\": 0, \"extra_specs\": {}}', '1', 1, 1, 0, 0, 0, 0)",
    )
    .bind(&id)
    .bind(PROJECT_A)
    .bind(IMAGE)
    .execute(db.writer())
    .await
    .unwrap();
    id
}

/// Counts and generations of everything that a request could change.
async fn fingerprint(db: &Db, target: &str) -> Vec<(i64, i64)> {
    let tables = [
        "SELECT COUNT(*), CAST(COALESCE(SUM(generation), 0) AS BIGINT) FROM flavors",
        "SELECT COUNT(*), CAST(COALESCE(SUM(generation), 0) AS BIGINT) FROM aggregates",
        "SELECT COUNT(*), CAST(COALESCE(SUM(disabled + forced_down), 0) AS BIGINT) FROM hosts",
        "SELECT COUNT(*), CAST(COALESCE(SUM(hard_limit), 0) AS BIGINT) FROM quotas",
        "SELECT COUNT(*), CAST(COALESCE(SUM(hard_limit), 0) AS BIGINT) FROM quota_classes",
        "SELECT COUNT(*), 0 FROM instance_actions",
        "SELECT COUNT(*), 0 FROM flavor_extra_specs",
        "SELECT COUNT(*), 0 FROM flavor_access",
        "SELECT COUNT(*), 0 FROM keypairs",
        "SELECT COUNT(*), 0 FROM aggregate_hosts",
        "SELECT COUNT(*), 0 FROM server_groups",
    ];
    // Of servers only the one asked about: earlier ones may be on their way out.
    let servers = "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN id = $1 THEN generation ELSE 0 END), 0) AS BIGINT) \
         FROM servers";
    let mut found = vec![sqlx::query_as(servers).bind(target).fetch_one(db.reader()).await.unwrap()];
    for sql in tables {
        found.push(sqlx::query_as(sql).fetch_one(db.reader()).await.unwrap());
    }
    found
}

struct Case<'c> {
    method: &'c Method,
    /// With its names blanked.
    path: &'c str,
    action: &'c str,
    version: u16,
    body: Value,
}

/// One row of the matrix: everybody asks.
async fn row(cloud: &Cloud, db: &Db, oracle: &Oracle, case: Case<'_>) -> Vec<String> {
    let Case { method, path, action, version, body } = case;
    let rules = oracle
        .route(method.as_str(), path, action)
        .unwrap_or_else(|| panic!("Nova has no {method} {path} {action}"));
    let mut wrong = Vec::new();
    let mut target = server(db).await;
    for who in PERSONAS {
        let want = expected(oracle, rules, path, action, who);
        let mut url = String::new();
        for (n, part) in path.split("{}").enumerate() {
            let value = match (n, is_of_server(path), path.contains("quota-sets") || path.contains("usage/"))
            {
                (0, ..) => "",
                (1, true, _) => target.as_str(),
                (1, _, true) => PROJECT_A,
                _ => "x",
            };
            url = format!("{url}{value}{part}");
        }
        let before = fingerprint(db, &target).await;
        let body = (!body.is_null()).then_some(&body);
        let client = cloud.at(who.token, version);
        let http: reqwest::Method = method.as_str().parse().unwrap();
        let answer = client.call(http.clone(), &url, body).await;
        let status = answer.status.as_u16();
        let case = format!(
            "{method} {path} {action} at 2.{version} as {}: {want:?}, {status} {}",
            who.token, answer.text
        );
        if !is_right(want, status, path) {
            wrong.push(case);
            continue;
        }
        if want == Want::Forbidden {
            let text = answer.fault(403);
            let named =
                rules.iter().any(|rule| text == format!("Policy doesn't allow {rule} to be performed."));
            if !named {
                wrong.push(case.clone());
            }
        }
        if want == Want::Through {
            if *method != Method::GET {
                target = server(db).await;
            }
        } else {
            if fingerprint(db, &target).await != before {
                wrong.push(format!("{case}, but something changed"));
            }
            // M04: what a request says of its caller is nobody's right.
            // (The project in the query of migrations is a filter: it narrows what is asked for.)
            if *method == Method::GET && version < 75 && path != "/os-migrations" {
                let lies = format!(
                    "{url}?project_id={}&user_id={}&is_admin=True&roles=admin&target.project_id={}&domain_id=default",
                    who.project,
                    user_id(who.user),
                    who.project
                );
                let again = client.call(http, &lies, None).await.status.as_u16();
                if !is_right(want, again, path) {
                    wrong.push(format!("{case}, then {again} with lies"));
                }
            }
        }
    }
    for token in REFUSED {
        let http: reqwest::Method = method.as_str().parse().unwrap();
        let url = path.replace("{}", "x");
        let body = (!body.is_null()).then_some(&body);
        let status = cloud.at(token, version).call(http, &url, body).await.status.as_u16();
        if status != 401 {
            wrong.push(format!("{method} {path} {action} with token {token:?}: {status}"));
        }
    }
    wrong
}

/// M01 and M02: routes times callers, and nobody reaches what is another project's.
#[actix_web::test]
async fn m01_m02_every_route_asks_its_rule_of_every_caller() {
    let oracle = Oracle::new();
    each(async |cloud, _| {
        let db = cloud.db().await;
        let (mut rows, mut wrong) = (0, Vec::new());
        for route in routes::table() {
            let path = blank(route.path.strip_prefix("/v2.1").unwrap_or(route.path));
            // Actions have cases of their own; public rows have no caller.
            if route.access == Access::Public || path.ends_with("/action") {
                continue;
            }
            let body = body(&route.method, &path)
                .unwrap_or_else(|| panic!("{} {path} has no request here", route.method));
            let version = route.window.map_or(1, |w| w.0).max(1);
            let case = Case { method: &route.method, path: &path, action: "", version, body };
            wrong.extend(row(cloud, &db, &oracle, case).await);
            rows += 1;
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(rows >= 100, "{rows}");
        db.close().await;
    })
    .await;
}

#[actix_web::test]
async fn m01_m02_every_action_asks_its_rule_of_every_caller() {
    let oracle = Oracle::new();
    let post = Method::POST;
    each(async |cloud, _| {
        let db = cloud.db().await;
        let mut cases: Vec<(&str, &str, u16)> = routes::server_action_names()
            .into_iter()
            .map(|(name, window)| ("/servers/{}/action", name, window.0.max(1)))
            .collect();
        for (path, names) in [
            ("/flavors/{}/action", &["addTenantAccess", "removeTenantAccess"][..]),
            ("/os-aggregates/{}/action", &["add_host", "remove_host", "set_metadata"]),
            ("/os-baremetal-nodes/{}/action", &["add_interface", "remove_interface"]),
            ("/os-fixed-ips/{}/action", &["reserve", "unreserve"]),
            (
                "/os-networks/{}/action",
                &["disassociate", "disassociate_host", "disassociate_project", "associate_host"],
            ),
        ] {
            cases.extend(names.iter().map(|name| (path, *name, 1)));
        }
        let mut wrong = Vec::new();
        for (path, name, version) in cases {
            let value = action(name).unwrap_or_else(|| panic!("action {name} has no request here"));
            let body = json!({name: value});
            let case = Case { method: &post, path, action: name, version, body };
            wrong.extend(row(cloud, &db, &oracle, case).await);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        // S-2014-011: the older name of servers asks the same rules.
        let all = routes::table();
        for (path, same) in [
            ("/v2.1/os-volumes_boot", "/v2.1/servers"),
            ("/v2.1/os-volumes_boot/{id}", "/v2.1/servers/{id}"),
            ("/v2.1/os-volumes_boot/{id}/action", "/v2.1/servers/{id}/action"),
        ] {
            for row in all.iter().filter(|row| row.path == path) {
                let twin = all.iter().find(|r| r.path == same && r.method == row.method).unwrap();
                assert_eq!(row.policy, twin.policy, "{} {path}", row.method);
            }
        }
        db.close().await;
    })
    .await;
}

/// OSSN-0083: a rule that code names exists, and says what Nova's says, for the scopes that Nova's is for.
#[test]
fn rules_are_novas() {
    let oracle = Oracle::new();
    let ours = policy::rules();
    for rule in &ours {
        let (check, scopes) =
            oracle.rule(rule.name).unwrap_or_else(|| panic!("Nova has no rule {}", rule.name));
        assert_eq!(rule.check, check, "{}", rule.name);
        let wanted = if scopes.is_empty() { 0 } else { 1 };
        assert_eq!(rule.scope_types.len(), wanted, "{}", rule.name);
    }
    let names: BTreeSet<&str> = ours.iter().map(|rule| rule.name).collect();
    for route in routes::table() {
        for rule in route.policy {
            assert!(names.contains(rule), "{} {} names {rule}", route.method, route.path);
        }
    }
}

/// S-2012-001: the project in a URL is no claim; only the token's is.
#[actix_web::test]
async fn s_2012_001_a_project_in_the_url_must_be_the_tokens() {
    each(async |cloud, _| {
        let db = cloud.db().await;
        let id = server(&db).await;
        let ask = async |who: &str, path: &str| {
            crate::support::answer(cloud.request(who, reqwest::Method::GET, path)).await.status.as_u16()
        };
        assert_eq!(ask("other", &format!("/v2.1/{PROJECT_A}/servers")).await, 400);
        assert_eq!(ask("other", &format!("/v2.1/{PROJECT_A}/servers/{id}")).await, 400);
        assert_eq!(ask("other", &format!("/v2.1/{PROJECT_B}/servers/{id}")).await, 404);
        assert_eq!(ask("member", &format!("/v2.1/{PROJECT_A}/servers/{id}")).await, 200);
        db.close().await;
    })
    .await;
}
