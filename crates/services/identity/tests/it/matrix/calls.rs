//! What is sent for each route so that it succeeds for who may: add your route's body, headers and objects here.

use super::{
    super::support::*,
    world::{Ids, Persona, World},
};
use serde_json::{Value, json};

/// A route with a variant: `GET /v3/users/{user_id} @other`.
pub struct Case<'a> {
    pub route: &'a str,
    pub variant: &'a str,
}

impl Case<'_> {
    pub fn method(&self) -> &str {
        self.route.split(' ').next().unwrap()
    }
    pub fn path(&self) -> &str {
        self.route.split(' ').nth(1).unwrap()
    }
}

/// The variants of a route beside the plain one: what in the path is another's, the caller's own, or not there.
pub fn variants(route: &str) -> Vec<&'static str> {
    let (method, path) = route.split_once(' ').unwrap();
    let mut variants = vec![""];
    // Not offered: nothing of it is anybody's.
    if path.contains("/OS-FEDERATION") || path.contains("/OS-OAUTH1/") && !path.contains("/consumers") {
        return variants;
    }
    let has = |name: &str| path.contains(name);
    let owned = [
        "{user_id}",
        "{project_id}",
        "{group_id}",
        "{domain_id}",
        "{credential_id}",
        "{limit_id}",
        "{trust_id}",
    ];
    if owned.iter().any(|name| has(name))
        || ["POST /v3/users", "POST /v3/groups", "POST /v3/projects", "POST /v3/credentials"].contains(&route)
    {
        variants.push("@other");
    }
    // What belongs to a user is the caller `owner`'s.
    let inner = ["{application_credential_id}", "{access_rule_id}", "{credential_id}"].iter().any(|n| has(n));
    if path.starts_with("/v3/users/{user_id}") && !inner && method != "DELETE"
        || path == "/v3/auth/tokens" && method != "POST"
    {
        variants.push("@self");
    }
    let names_an_object = path.split('/').any(|s| s.ends_with("_id}"));
    if names_an_object && route != "PUT /v3/regions/{region_id}" {
        variants.push("@missing");
    }
    if has("/roles/{role_id}")
        && !has("/trusts/")
        && path != "/v3/roles/{role_id}"
        && matches!(method, "PUT" | "DELETE" | "GET")
    {
        variants.push("@admin-role");
        // A domain's role is for that domain and its projects only.
        if !path.starts_with("/v3/system/") {
            variants.push("@domain-role");
        }
    }
    if path == "/v3/roles/{role_id}" || path == "/v3/roles" {
        variants.push("@domain-role");
    }
    if path == "/v3/role_assignments" {
        variants.extend(["@subtree", "@other-subtree"]);
    }
    variants
}

/// The rule that Keystone asks in this case, where its handler knows several.
pub fn rule<'r>(case: &Case<'_>, rules: &[&'r str]) -> &'r str {
    let wanted = match (case.route, case.variant) {
        ("GET /v3/auth/tokens", _) => "identity:validate_token",
        ("GET /v3/credentials", _) => "identity:list_credentials",
        ("GET /v3/role_assignments", "@subtree" | "@other-subtree") => {
            "identity:list_role_assignments_for_tree"
        }
        ("GET /v3/role_assignments", _) => "identity:list_role_assignments",
        ("GET /v3/OS-TRUST/trusts", _) => "identity:list_trusts",
        (route, _) if route.contains("/config/security_compliance") => {
            return "identity:get_security_compliance_domain_config";
        }
        (route, variant) if route.contains(" /v3/roles") && rules.len() == 2 => {
            let of_domain = variant == "@domain-role";
            return rules.iter().find(|r| r.contains("_domain_") == of_domain).unwrap();
        }
        (route, _) if route.contains("/config") && rules.len() == 2 => "identity:get_domain_config",
        _ => rules[0],
    };
    rules.iter().find(|r| **r == wanted).unwrap_or_else(|| panic!("{}: not {wanted}", case.route))
}

/// One of everything that only some routes are about; put its id into `ids` under the path parameter's name.
pub async fn objects(c: &Cloud, admin: &str, ids: &mut Ids) {
    let consumer = c.post(admin, "/v3/OS-OAUTH1/consumers", json!({"consumer": {"description": "x"}})).await;
    ids.insert("consumer_id", consumer.is(201).json()["consumer"]["id"].as_str().unwrap().to_owned());
    let resource = format!("of-{}", ids["project_id"]);
    ids.insert("registered_limit_id", registered_limit(c, admin, ids, &format!("un{resource}")).await);
    registered_limit(c, admin, ids, &resource).await;
    ids.insert("limit_id", limit(c, admin, ids, &resource).await);
    let credential = json!({"user_id": ids["user_id"], "type": "cert", "blob": "x"});
    ids.insert("cert_id", c.make(admin, "credentials", credential).await);
    ids.insert("access_key", ec2(c, admin, ids).await);
    let (app_cred, rule) = application_credential(c, ids, "of the matrix").await;
    ids.insert("application_credential_id", app_cred);
    ids.insert("access_rule_id", rule);
    let trustee = json!({"name": format!("trustee {}", ids["domain_id"]), "password": "pw"});
    ids.insert("trustee", c.make(admin, "users", trustee).await);
    ids.insert("trust_id", trust(c, ids).await);
    let policy = c.post(admin, "/v3/policies", POLICY()).await.is(201).json();
    ids.insert("policy_id", policy["policy"]["id"].as_str().unwrap().to_owned());
    ids.insert("endpoint_group_id", endpoint_group(c, admin, &format!("of {}", ids["domain_id"])).await);
    ids.insert("group", "ldap".into());
    ids.insert("option", "url".into());
}

const CONFIG: fn() -> Value = || json!({"config": {"ldap": {"url": "x"}}});
const POLICY: fn() -> Value = || json!({"policy": {"blob": "{}", "type": "application/json"}});

async fn ec2(c: &Cloud, admin: &str, ids: &Ids) -> String {
    let path = format!("/v3/users/{}/credentials/OS-EC2", ids["user_id"]);
    let made = c.post(admin, &path, json!({"tenant_id": ids["project_id"]})).await.is(201).json();
    made["credential"]["access"].as_str().unwrap().to_owned()
}

fn trust_body(ids: &Ids) -> Value {
    json!({"trust": {"trustor_user_id": ids["user_id"], "trustee_user_id": ids["trustee"], "impersonation": false,
        "project_id": ids["project_id"], "roles": [{"id": ids["role_id"]}]}})
}

/// A trust, which only the trustor can make.
async fn trust(c: &Cloud, ids: &Ids) -> String {
    let user = json!({"id": ids["user_id"], "password": "pw"});
    let login = json!({"methods": ["password"], "password": {"user": user}});
    let token =
        c.authenticate(login, json!({"project": {"id": ids["project_id"]}})).await.is(201).token.unwrap();
    let made = c.post(&token, "/v3/OS-TRUST/trusts", trust_body(ids)).await.is(201).json();
    made["trust"]["id"].as_str().unwrap().to_owned()
}

/// An application credential with an access rule, which only its owner can make; the ids of both.
async fn application_credential(c: &Cloud, ids: &Ids, name: &str) -> (String, String) {
    let user = json!({"id": ids["user_id"], "password": "pw"});
    let login = json!({"methods": ["password"], "password": {"user": user}});
    let token =
        c.authenticate(login, json!({"project": {"id": ids["project_id"]}})).await.is(201).token.unwrap();
    let rule = json!({"path": format!("/{name}"), "method": "GET", "service": "compute"});
    let body = json!({"application_credential": {"name": name, "access_rules": [rule]}});
    let path = format!("/v3/users/{}/application_credentials", ids["user_id"]);
    let made = c.post(&token, &path, body).await.is(201).json();
    let made = &made["application_credential"];
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    (id(made), id(&made["access_rules"][0]))
}

async fn endpoint_group(c: &Cloud, admin: &str, name: &str) -> String {
    let body = json!({"endpoint_group": {"name": name, "filters": {"interface": "internal"}}});
    let made = c.post(admin, "/v3/OS-EP-FILTER/endpoint_groups", body).await.is(201).json();
    made["endpoint_group"]["id"].as_str().unwrap().to_owned()
}

async fn registered_limit(c: &Cloud, admin: &str, ids: &Ids, resource: &str) -> String {
    let row = json!({"service_id": ids["service_id"], "resource_name": resource, "default_limit": 5});
    let made =
        c.post(admin, "/v3/registered_limits", json!({"registered_limits": [row]})).await.is(201).json();
    made["registered_limits"][0]["id"].as_str().unwrap().to_owned()
}

async fn limit(c: &Cloud, admin: &str, ids: &Ids, resource: &str) -> String {
    let made = c.post(admin, "/v3/limits", limits_body(ids, resource)).await.is(201).json();
    made["limits"][0]["id"].as_str().unwrap().to_owned()
}

fn limits_body(ids: &Ids, resource: &str) -> Value {
    json!({"limits": [{"service_id": ids["service_id"], "resource_name": resource, "resource_limit": 3,
        "project_id": ids["project_id"]}]})
}

/// The path parameters of a case for a caller.
pub fn ids(world: &World, case: &Case<'_>, who: &Persona) -> Ids {
    let mut ids = match case.variant {
        "@other" | "@other-subtree" => world.other.clone(),
        "@missing" => {
            let nothing = |name: &&'static str| (*name, super::world::NOTHING.to_owned());
            world.own.keys().map(nothing).collect()
        }
        _ => world.own.clone(),
    };
    let key = if case.path().contains("/OS-EC2/") { "access_key" } else { "cert_id" };
    let credential = ids[key].clone();
    ids.insert("credential_id", credential);
    for kept in ["group", "option", "value"] {
        ids.insert(kept, world.own[kept].clone());
    }
    match case.variant {
        "@self" => {
            ids.insert("user_id", who.user_id.clone());
            // One's own project where it is not the one in question.
            if let Some(project) = &who.project {
                ids.insert("project_id", project.clone());
            }
        }
        "@admin-role" => {
            ids.insert("role_id", world.role("admin"));
        }
        "@domain-role" => {
            ids.insert("role_id", world.own["domain_role"].clone());
        }
        _ if case.path().contains("/v3/roles/{role_id}") && case.variant.is_empty() => {
            ids.insert("role_id", world.own["prior_role_id"].clone());
        }
        _ => {}
    }
    ids
}

/// The query of a case.
pub fn query(case: &Case<'_>, ids: &Ids) -> String {
    match (case.route, case.variant) {
        ("GET /v3/role_assignments", "@subtree" | "@other-subtree") => {
            format!("?include_subtree&scope.project.id={}", ids["project_id"])
        }
        ("GET /v3/roles", "@domain-role") => format!("?domain_id={}", ids["domain_id"]),
        _ => String::new(),
    }
}

/// The body of a request; `n` makes names unique. A route that takes none gets none.
pub fn body(case: &Case<'_>, ids: &Ids, n: usize) -> Option<Value> {
    let name = format!("new-{n}");
    let domain = ids.get("domain_id");
    Some(match case.route {
        "POST /v3/auth/tokens" => json!({"auth": {"identity": by_name("admin", "secret")}}),
        "POST /v3/users" => json!({"user": {"name": name, "domain_id": domain}}),
        "POST /v3/groups" => json!({"group": {"name": name, "domain_id": domain}}),
        "POST /v3/projects" => json!({"project": {"name": name, "domain_id": domain}}),
        "POST /v3/domains" => json!({"domain": {"name": name}}),
        "POST /v3/roles" if case.variant == "@domain-role" => {
            json!({"role": {"name": name, "domain_id": domain}})
        }
        "POST /v3/roles" => json!({"role": {"name": name}}),
        "POST /v3/services" => json!({"service": {"type": name}}),
        "POST /v3/endpoints" => {
            json!({"endpoint": {"interface": "admin", "url": "http://x", "service_id": ids["service_id"]}})
        }
        "POST /v3/regions" => json!({"region": {"id": name}}),
        "PUT /v3/regions/{region_id}" => json!({"region": {}}),
        "POST /v3/users/{user_id}/password" => {
            json!({"user": {"original_password": "wrong", "password": "new"}})
        }
        "PUT /v3/projects/{project_id}/tags" => json!({"tags": ["blue"]}),
        "POST /v3/OS-OAUTH1/consumers" | "PATCH /v3/OS-OAUTH1/consumers/{consumer_id}" => {
            json!({"consumer": {"description": name}})
        }
        "POST /v3/credentials" => {
            json!({"credential": {"user_id": ids["user_id"], "type": "cert", "blob": name}})
        }
        "PATCH /v3/credentials/{credential_id}" => json!({"credential": {"blob": name}}),
        "POST /v3/users/{user_id}/credentials/OS-EC2" => json!({"tenant_id": ids["project_id"]}),
        "POST /v3/users/{user_id}/application_credentials" => {
            json!({"application_credential": {"name": name}})
        }
        "POST /v3/OS-TRUST/trusts" => trust_body(ids),
        "POST /v3/ec2tokens" | "POST /v3/s3tokens" => json!({"credentials": {"access": "nobody's"}}),
        "POST /v3/policies" => POLICY(),
        "PATCH /v3/policies/{policy_id}" => json!({"policy": {"blob": name}}),
        "POST /v3/OS-EP-FILTER/endpoint_groups" => {
            json!({"endpoint_group": {"name": name, "filters": {"interface": "public"}}})
        }
        "PATCH /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}" => {
            json!({"endpoint_group": {"description": name}})
        }
        "PUT /v3/domains/{domain_id}/config" | "PATCH /v3/domains/{domain_id}/config" => CONFIG(),
        "PATCH /v3/domains/{domain_id}/config/{group}" => CONFIG(),
        "PATCH /v3/domains/{domain_id}/config/{group}/{option}" => json!({"config": {"url": "y"}}),
        "POST /v3/registered_limits" => json!({"registered_limits": [
            {"service_id": ids["service_id"], "resource_name": name, "default_limit": 5}]}),
        "POST /v3/limits" => limits_body(ids, &format!("fresh-{n}")),
        route if route.starts_with("PATCH ") && !route.contains("/OS-FEDERATION/") => {
            let noun = case.path().split('/').nth(2).unwrap().trim_end_matches('s');
            json!({noun: {"description": name}})
        }
        _ => return None,
    })
}

/// Headers beside the caller's token.
pub async fn headers(
    c: &Cloud,
    world: &World,
    case: &Case<'_>,
    who: &Persona,
) -> Vec<(&'static str, String)> {
    if case.path() != "/v3/auth/tokens" || case.method() == "POST" {
        return Vec::new();
    }
    // A token of the user in question that nobody else needs.
    let subject = match case.variant {
        "@self" => c.authenticate(by_token(&who.token), json!("unscoped")).await.is(201).token.unwrap(),
        _ => {
            let user = json!({"id": world.own["user_id"], "password": "pw"});
            let login = json!({"methods": ["password"], "password": {"user": user}});
            c.authenticate(login, Value::Null).await.is(201).token.unwrap()
        }
    };
    vec![("x-subject-token", subject)]
}

/// In paths of associations, which PUT makes and DELETE takes away.
const ASSOCIATIONS: [&str; 7] = [
    "/roles/{role_id}",
    "/groups/{group_id}/users/",
    "/implies/",
    "/OS-ENDPOINT-POLICY/endpoints/",
    "/OS-ENDPOINT-POLICY/services/",
    "/OS-EP-FILTER/projects/{project_id}/endpoints/",
    "/endpoint_groups/{endpoint_group_id}/projects/",
];

/// Makes what a request that is going to succeed takes away (or must not find), so that the next caller meets the
/// same objects.
pub async fn prepare(c: &Cloud, world: &World, case: &Case<'_>, ids: &mut Ids, n: usize) {
    let admin = &world.admin;
    let name = format!("fresh-{n}");
    if case.variant == "@missing" {
        return;
    }
    let domain = ids["domain_id"].clone();
    let mut made = |param: &'static str, id: String| ids.insert(param, id);
    match case.route {
        "PUT /v3/regions/{region_id}" => {
            made("region_id", name);
        }
        "DELETE /v3/users/{user_id}" => {
            made("user_id", c.make(admin, "users", json!({"name": name, "domain_id": domain})).await);
        }
        "DELETE /v3/groups/{group_id}" => {
            made("group_id", c.make(admin, "groups", json!({"name": name, "domain_id": domain})).await);
        }
        "DELETE /v3/projects/{project_id}" => {
            made("project_id", c.make(admin, "projects", json!({"name": name, "domain_id": domain})).await);
        }
        "DELETE /v3/domains/{domain_id}" => {
            made("domain_id", c.make(admin, "domains", json!({"name": name, "enabled": false})).await);
        }
        "DELETE /v3/roles/{role_id}" => {
            let body = match case.variant {
                "@domain-role" => json!({"name": name, "domain_id": domain}),
                _ => json!({"name": name}),
            };
            made("role_id", c.make(admin, "roles", body).await);
        }
        "DELETE /v3/services/{service_id}" => {
            made("service_id", c.make(admin, "services", json!({"type": name})).await);
        }
        "DELETE /v3/endpoints/{endpoint_id}" => {
            let body =
                json!({"interface": "admin", "url": "http://x", "service_id": world.own["service_id"]});
            made("endpoint_id", c.make(admin, "endpoints", body).await);
        }
        "DELETE /v3/regions/{region_id}" => {
            made("region_id", c.make(admin, "regions", json!({"id": name})).await);
        }
        "DELETE /v3/OS-OAUTH1/consumers/{consumer_id}" => {
            let consumer =
                c.post(admin, "/v3/OS-OAUTH1/consumers", json!({"consumer": {}})).await.is(201).json();
            made("consumer_id", consumer["consumer"]["id"].as_str().unwrap().to_owned());
        }
        "DELETE /v3/credentials/{credential_id}" => {
            let body = json!({"user_id": ids["user_id"], "type": "cert", "blob": name});
            let id = c.make(admin, "credentials", body).await;
            ids.insert("credential_id", id);
        }
        "DELETE /v3/users/{user_id}/credentials/OS-EC2/{credential_id}" => {
            let id = ec2(c, admin, ids).await;
            ids.insert("credential_id", id);
        }
        "DELETE /v3/users/{user_id}/application_credentials/{application_credential_id}" => {
            let (id, _) = application_credential(c, ids, &name).await;
            ids.insert("application_credential_id", id);
        }
        "DELETE /v3/users/{user_id}/access_rules/{access_rule_id}" => {
            // One that nothing uses any more.
            let (app_cred, rule) = application_credential(c, ids, &name).await;
            let path = format!("/v3/users/{}/application_credentials/{app_cred}", ids["user_id"]);
            c.delete(admin, &path).await.is(204);
            ids.insert("access_rule_id", rule);
        }
        "PUT /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}"
        | "PUT /v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}" => {
            c.delete(admin, &fill(case.path(), ids)).await;
        }
        "DELETE /v3/OS-TRUST/trusts/{trust_id}" => {
            let id = trust(c, ids).await;
            ids.insert("trust_id", id);
        }
        "DELETE /v3/policies/{policy_id}" => {
            let policy = c.post(admin, "/v3/policies", POLICY()).await.is(201).json();
            ids.insert("policy_id", policy["policy"]["id"].as_str().unwrap().to_owned());
        }
        "DELETE /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}" => {
            let id = endpoint_group(c, admin, &name).await;
            ids.insert("endpoint_group_id", id);
        }
        "GET /v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy" => {
            let path = "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints/{endpoint_id}";
            c.put(admin, &fill(path, ids)).await.is(204);
        }
        "PUT /v3/domains/{domain_id}/config" => {
            c.delete(admin, &format!("/v3/domains/{domain}/config")).await;
        }
        route if route.contains("/{domain_id}/config") => {
            c.call(admin, "PUT", &format!("/v3/domains/{domain}/config"), Some(CONFIG())).await;
        }
        "POST /v3/limits" => {
            registered_limit(c, admin, ids, &name).await;
        }
        "DELETE /v3/registered_limits/{registered_limit_id}" => {
            let id = registered_limit(c, admin, ids, &name).await;
            ids.insert("registered_limit_id", id);
        }
        "DELETE /v3/limits/{limit_id}" => {
            registered_limit(c, admin, ids, &name).await;
            let id = limit(c, admin, ids, &name).await;
            ids.insert("limit_id", id);
        }
        "DELETE /v3/projects/{project_id}/tags/{value}" | "GET /v3/projects/{project_id}/tags/{value}" => {
            c.put(admin, &fill("/v3/projects/{project_id}/tags/{value}", ids)).await.is(201);
        }
        route if matches!(case.method(), "DELETE" | "GET" | "HEAD") => {
            // Grants, memberships, implications: what DELETE takes away PUT makes.
            let path = case.path();
            let apart = path == "/v3/roles/{role_id}"
                || ["/OS-TRUST/", "/OS-OAUTH1/"].iter().any(|p| path.contains(p));
            if !apart && ASSOCIATIONS.iter().any(|p| path.contains(p)) {
                let answer = c.put(admin, &fill(path, ids)).await;
                assert!(matches!(answer.status, 201 | 204 | 409), "{route}: {}", answer.text);
            }
        }
        _ => {}
    }
}

/// The path with its parameters filled in.
pub fn fill(path: &str, ids: &Ids) -> String {
    let mut out = path.to_owned();
    for (name, id) in ids {
        out = out.replace(&format!("{{{name}}}"), id);
    }
    out
}
