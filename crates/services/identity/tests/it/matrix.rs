//! Every route times every caller: the answer's class is that of a checked-in table, the table is that of Keystone's
//! policy, and what is refused changes nothing.
//!
//! `matrix/matrix.tsv` has a row for each route and variant (`@other`: objects of another domain, `@self`: the
//! caller's own, `@missing`: ids of nothing, …): the rule Keystone asks, the answer to the callers without a valid
//! token (none, garbage, expired, revoked), then one column a caller. `ok` is the route's own success. Each cell is
//! compared with the service's answer and with what `matrix/oracle.rs` makes of Keystone's rules and routes
//! (`keystone-rules.tsv`, `keystone-routes.tsv`); a cell ending in `!` differs from the oracle for a reason that is
//! not the policy's (say why in the comment above the row).
//!
//! A new route: `FERROSTACK_MATRIX=write cargo nextest run -p ferrostack-identity --test it matrix::` adds its rows
//! from the oracle (a route that Keystone does not have gets what the service answers: look at it). If it needs a body,
//! a header or an object of its own, say so in `matrix/calls.rs` (`body`, `headers`, `objects`, and `prepare` for what
//! a success takes away). A route with `{credential_id}` or another new owner also needs its target in [`target`].

pub mod calls;
mod oracle;
pub mod world;

use super::support::*;
use calls::{Case, fill};
use ferrostack_http::{Access, Method, Route};
use oracle::{Oracle, Target};
use std::{collections::BTreeMap, fmt::Write as _};
use world::{Ids, Persona, World};

const TABLE: &str = include_str!("matrix/matrix.tsv");

/// Rows by `METHOD path @variant`: the rule, then the cells, then the comment lines above.
pub fn table() -> BTreeMap<String, (Vec<String>, String)> {
    let (mut rows, mut comment) = (BTreeMap::new(), String::new());
    for line in TABLE.lines().skip_while(|l| !l.starts_with("route\t")).skip(1) {
        if line.starts_with('#') {
            comment.push_str(line);
            comment.push('\n');
            continue;
        }
        let mut cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let key = cells.remove(0);
        rows.insert(key, (cells, std::mem::take(&mut comment)));
    }
    rows
}

/// The names of the callers' columns, that without a token first.
pub fn columns() -> Vec<&'static str> {
    let head = TABLE.lines().find(|l| l.starts_with("route\t")).unwrap();
    head.split('\t').skip(2).collect()
}

fn name_of(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

/// What the policy is asked about, with the attributes that Keystone's handlers give.
fn target(world: &World, case: &Case<'_>, who: &Persona, ids: &Ids) -> Target {
    let mut target = Target::new();
    let mut put = |name: &str, value: Option<String>| {
        target.insert(name.to_owned(), value);
    };
    let path = case.path();
    let missing = case.variant == "@missing";
    for (name, id) in ids {
        if path.contains(&format!("{{{name}}}")) {
            put(name, Some(id.clone()));
            let domain = world.domain_of.get(id).cloned();
            match *name {
                _ if missing => {}
                "user_id" | "group_id" | "project_id" => {
                    let kind = name.trim_end_matches("_id");
                    put(&format!("target.{kind}.id"), Some(id.clone()));
                    put(&format!("target.{kind}.domain_id"), domain);
                }
                "domain_id" => put("target.domain.id", Some(id.clone())),
                "role_id" => {
                    if let Some((name, domain)) = world.roles.get(id) {
                        put("target.role.name", Some(name.clone()));
                        put("target.role.domain_id", domain.clone());
                    }
                }
                "credential_id" => {
                    put("target.credential.user_id", ids.get("user_id").cloned());
                }
                "trust_id" => {
                    put("target.trust.trustor_user_id", ids.get("user_id").cloned());
                    put("target.trust.trustee_user_id", ids.get("trustee").cloned());
                }
                "limit_id" => {
                    let project = ids["project_id"].clone();
                    put("target.limit.project.domain_id", world.domain_of.get(&project).cloned());
                    put("target.limit.project_id", Some(project));
                }
                _ => {}
            }
        }
    }
    if path.contains("{application_credential_id}") && !missing {
        // It is its owner's whatever the path says.
        put("user_id", Some(ids["user_id"].clone()));
    }
    if !path.contains('{')
        && let Some(domain) = &who.domain
    {
        for name in ["target.domain_id", "target.domain.id", "target.group.domain_id"] {
            put(name, Some(domain.clone()));
        }
    }
    let domain = ids.get("domain_id").cloned();
    match case.route {
        "POST /v3/users" => put("target.user.domain_id", domain),
        "POST /v3/groups" => put("target.group.domain_id", domain),
        "POST /v3/projects" => put("target.project.domain_id", domain),
        "GET /v3/role_assignments" if case.variant.ends_with("subtree") => put("target.domain_id", domain),
        "POST /v3/credentials" | "POST /v3/users/{user_id}/credentials/OS-EC2" => {
            put("target.credential.user_id", ids.get("user_id").cloned());
        }
        "POST /v3/OS-TRUST/trusts" => put("target.trust.trustor_user_id", ids.get("user_id").cloned()),
        // One's own among them are shown to everybody.
        "GET /v3/credentials" => put("target.credential.user_id", Some(who.user_id.clone())),
        _ if path == "/v3/auth/tokens" => put("target.token.user_id", ids.get("user_id").cloned()),
        _ => {}
    }
    target
}

/// Handlers that read what the path names before they ask the policy: what is missing is 404 for everybody.
fn looks_first(case: &Case<'_>) -> bool {
    let path = case.path();
    path.contains("/roles/{role_id}")
        || path.ends_with("/roles")
        || path.ends_with("/roles/inherited_to_projects")
        || path.contains("{prior_role_id}")
        || path.contains("{trust_id}")
        || ["PATCH /v3/domains/{domain_id}", "DELETE /v3/domains/{domain_id}", "DELETE /v3/groups/{group_id}"]
            .contains(&case.route)
}

fn expected(
    oracle: &Oracle,
    world: &World,
    case: &Case<'_>,
    rule: &str,
    who: &Persona,
    ids: &Ids,
) -> &'static str {
    let allowed = oracle.allows(rule, who, &target(world, case, who, ids));
    match (case.variant == "@missing", allowed) {
        (true, _) if looks_first(case) => "404",
        (true, true) => "404",
        (false, true) => "ok",
        (_, false) => "403",
    }
}

/// The rows of a route: variant and rule ("-": Keystone has no such route or asks nothing).
fn rows_of<'r>(oracle: &'r Oracle, route: &'r str) -> Vec<(&'static str, &'r str)> {
    let rules = oracle.rules_of(route).unwrap_or_default();
    let row = |variant| {
        let case = Case { route, variant };
        (variant, if rules.is_empty() { "-" } else { calls::rule(&case, rules) })
    };
    calls::variants(route).into_iter().map(row).collect()
}

async fn send(
    c: &Cloud,
    world: &World,
    case: &Case<'_>,
    who: &Persona,
    ids: &Ids,
    n: usize,
    token: &str,
) -> Answer {
    let path = format!("{}{}", fill(case.path(), ids), calls::query(case, ids));
    let given = calls::headers(c, world, case, who).await;
    let mut headers: Vec<(&str, &str)> = given.iter().map(|(k, v)| (*k, v.as_str())).collect();
    if !token.is_empty() {
        headers.push(("x-auth-token", token));
    }
    let method = reqwest::Method::from_bytes(case.method().as_bytes()).unwrap();
    c.send(method, &path, &headers, calls::body(case, ids, n).as_ref()).await
}

#[tokio::test]
async fn every_route_and_every_caller() {
    let write = std::env::var("FERROSTACK_MATRIX").is_ok_and(|v| v == "write");
    world::each(async |c| {
        let (oracle, world, table) = (Oracle::new(), World::new(c).await, table());
        let (mut wrong, mut rows, mut n) = (Vec::new(), String::new(), 0);
        let mut tables = c.digester().await;
        let mut digest = tables.read().await;
        for route in ferrostack_identity::routes::table() {
            let name = name_of(&route);
            for (variant, rule) in rows_of(&oracle, &name) {
                let case = Case { route: &name, variant };
                let key = format!("{name} {variant}").trim_end().to_owned();
                let (cells, comment) = match table.get(&key) {
                    Some((cells, comment)) => (cells.clone(), comment.as_str()),
                    None if write => (Vec::new(), ""),
                    None => {
                        wrong.push(format!("{key}: no row in matrix.tsv"));
                        continue;
                    }
                };
                let mut line = format!("{comment}{key}\t{rule}");
                if !write && cells[0] != rule {
                    wrong.push(format!("{key}: the rule is {rule}, not {}", cells[0]));
                }
                // Without a valid token.
                let anybody = &world.personas[1];
                let ids = calls::ids(&world, &case, anybody);
                let mut seen = String::new();
                for (kind, token) in &world.refused {
                    let status = send(c, &world, &case, anybody, &ids, n, token).await.status;
                    seen = if status == route.success { "ok".into() } else { status.to_string() };
                    if let Some(cell) = cells.get(1).filter(|cell| !write && **cell != seen) {
                        wrong.push(format!("{key} for {kind}: {status}, not {cell}"));
                    }
                }
                let _ = write!(line, "\t{seen}");
                if route.access == Access::Token {
                    same(&mut tables, &mut digest, &mut wrong, &key, "nobody").await;
                }
                for (at, who) in world.personas.iter().enumerate() {
                    n += 1;
                    let who = &match who.name {
                        "owner" => {
                            let owner = world.owner(c).await;
                            digest = tables.read().await;
                            owner
                        }
                        _ => who.clone(),
                    };
                    let mut ids = calls::ids(&world, &case, who);
                    let cell = cells.get(at + 2).map_or("", String::as_str);
                    let says = match rule {
                        "-" => cell,
                        rule => expected(&oracle, &world, &case, rule, who, &ids),
                    };
                    let known = cell.trim_end_matches('!');
                    if !write && cell == known && says != cell {
                        wrong
                            .push(format!("{key} for {}: the table has {cell}, the policy {says}", who.name));
                    }
                    let wanted = if cell == known && write { says } else { known };
                    if wanted == "ok" {
                        calls::prepare(c, &world, &case, &mut ids, n).await;
                    }
                    let answer = send(c, &world, &case, who, &ids, n, &who.token).await;
                    let success = if answer.status == route.success {
                        "ok".to_owned()
                    } else {
                        answer.status.to_string()
                    };
                    if success != wanted && !(write && rule == "-") {
                        let short: String = answer.text.chars().take(200).collect();
                        wrong.push(format!("{key} for {}: {success}, not {wanted}: {short}", who.name));
                    }
                    if (400..500).contains(&answer.status) && wanted != "ok" {
                        same(&mut tables, &mut digest, &mut wrong, &key, who.name).await;
                    } else {
                        digest = tables.read().await;
                    }
                    let mark = if cell == known { "" } else { "!" };
                    let _ = write!(line, "\t{}{mark}", if rule == "-" { success.as_str() } else { wanted });
                }
                rows.push_str(&line);
                rows.push('\n');
            }
        }
        if write {
            let head: String =
                TABLE.lines().take_while(|l| !l.starts_with("route\t")).map(|l| format!("{l}\n")).collect();
            let names: Vec<&str> = world.personas.iter().map(|p| p.name).collect();
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/matrix/matrix.tsv");
            std::fs::write(path, format!("{head}route\trule\tno token\t{}\n{rows}", names.join("\t")))
                .unwrap();
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    })
    .await;
}

/// What was refused has changed nothing in any table.
async fn same(
    tables: &mut Digester,
    digest: &mut BTreeMap<String, String>,
    wrong: &mut Vec<String>,
    what: &str,
    who: &str,
) {
    let now = tables.read().await;
    if now != *digest {
        let changed: Vec<&String> = now.keys().filter(|t| now.get(*t) != digest.get(*t)).collect();
        wrong.push(format!("{what} for {who} was refused and changed {changed:?}"));
        *digest = now;
    }
}

/// No row without a route, and the rules in the route table are those Keystone's handler asks.
#[test]
fn the_table_is_of_our_routes() {
    let oracle = Oracle::new();
    let routes = ferrostack_identity::routes::table();
    let names: Vec<String> = routes.iter().map(name_of).collect();
    for key in table().keys() {
        let name = key.split(" @").next().unwrap();
        assert!(names.iter().any(|n| n == name), "{key}: there is no such route");
    }
    for route in &routes {
        let name = name_of(route);
        let Some(rules) = oracle.rules_of(&name) else { continue };
        for rule in route.policy {
            assert!(rules.contains(rule), "{name} asks {rule}, Keystone {rules:?}");
        }
        assert_eq!(route.policy.is_empty(), rules.is_empty(), "{name}");
    }
    for rule in ferrostack_identity::RULES {
        assert!(oracle.names().any(|n| n == rule.name), "Keystone has no rule {}", rule.name);
    }
}

/// GET and HEAD agree on the status and the length.
#[tokio::test]
async fn head_is_get_without_body() {
    each(async |c| {
        let admin = c.admin().await;
        for route in ferrostack_identity::routes::table() {
            if route.method != Method::GET || route.path.contains('{') {
                continue;
            }
            let get = c.get(&admin, route.path).await;
            let head = c.call(&admin, "HEAD", route.path, None).await;
            assert_eq!(head.status, get.status, "{}", route.path);
            assert!(head.text.is_empty(), "{}", route.path);
            if get.status == 200 {
                let length = head.headers["content-length"].to_str().unwrap();
                assert_eq!(length, get.text.len().to_string(), "{}", route.path);
            }
        }
    })
    .await;
}

/// Every policy named in the table exists.
#[test]
fn policies_exist() {
    for route in ferrostack_identity::routes::table() {
        for rule in route.policy {
            assert!(ferrostack_identity::RULES.iter().any(|r| r.name == *rule), "{rule}");
        }
        if route.access == Access::Token {
            assert!(!route.policy.is_empty(), "{}", route.path);
        }
    }
}
