//! What a request says about itself decides nothing: neither body, query nor headers; and no list or nested path
//! leads out of what one may see.

use super::{
    matrix::{
        calls,
        calls::Case,
        world::{self, World},
    },
    support::*,
};
use ferrostack_http::{Access, Method};
use serde_json::{Map, Value, json};

/// Names that policies use, with values that would let the caller in.
fn pollution(who: &super::matrix::world::Persona) -> (Map<String, Value>, String) {
    let user = json!({"id": who.user_id, "domain_id": who.domain, "name": "admin"});
    let domain = who.domain.clone().or(who.project_domain.clone()).unwrap_or_default();
    let project = who.project.clone().unwrap_or_default();
    let owned = json!({"id": project, "domain_id": domain, "user_id": who.user_id, "project_id": project,
        "trustor_user_id": who.user_id, "trustee_user_id": who.user_id, "domain": {"id": domain},
        "project": {"domain_id": domain}});
    let mut body = Map::new();
    let target = json!({"user": user, "project": owned, "domain": {"id": domain}, "group": owned, "credential": owned,
        "trust": owned, "limit": owned, "token": {"user_id": who.user_id}, "domain_id": domain,
        "role": {"name": "reader", "domain_id": null}});
    let texts = [
        ("user_id", who.user_id.as_str()),
        ("target.user.id", &who.user_id),
        ("target.token.user_id", &who.user_id),
        ("target.credential.user_id", &who.user_id),
        ("target.trust.trustor_user_id", &who.user_id),
        ("project_id", &project),
        ("target.project.id", &project),
        ("domain_id", &domain),
        ("target.domain_id", &domain),
        ("target.domain.id", &domain),
        ("target.user.domain_id", &domain),
        ("target.project.domain_id", &domain),
        ("target.group.domain_id", &domain),
        ("target.role.domain_id", "None"),
        ("target.role.name", "reader"),
        ("system_scope", "all"),
        ("is_admin", "1"),
        ("roles", "admin"),
        ("role", "admin"),
        ("group_id", "x"),
        ("request_body", "{}"),
        ("view_args", "x"),
    ];
    let query: Vec<String> = texts.iter().map(|(name, value)| format!("{name}={value}")).collect();
    body.extend(texts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    body.insert("target".into(), target);
    body.insert("is_admin".into(), json!(true));
    body.insert("roles".into(), json!(["admin"]));
    (body, query.join("&"))
}

/// CVE-2026-42998 and its kin: Keystone took the policy's target from the body.
#[tokio::test]
async fn ossa_2026_015_body_and_query_are_not_the_target() {
    world::each(async |c| {
        let world = World::new(c).await;
        let (before, mut asked) = (c.digest().await, 0);
        for route in ferrostack_identity::routes::table() {
            if route.access == Access::Public {
                continue;
            }
            let name = format!("{} {}", route.method, route.path);
            let plain = calls::variants(&name).contains(&"@other");
            let case = Case { route: &name, variant: if plain { "@other" } else { "" } };
            for who in ["foreign", "reader", "manager", "dom-reader", "dom-manager", "service"] {
                let who = world.persona(who);
                let ids = calls::ids(&world, &case, who);
                let path = calls::fill(route.path, &ids);
                let given = calls::headers(c, &world, &case, who).await;
                let mut headers: Vec<(&str, &str)> = given.iter().map(|(k, v)| (*k, v.as_str())).collect();
                headers.push(("x-auth-token", &who.token));
                let method = reqwest::Method::from_bytes(route.method.as_str().as_bytes()).unwrap();
                let body = calls::body(&case, &ids, 0);
                // What the caller may do changes things; that it may is the matrix's to say.
                if ferrostack_http::Method::GET != route.method && !refused(&name, &case, who.name) {
                    continue;
                }
                let honest = c.send(method.clone(), &path, &headers, body.as_ref()).await.status;
                let (extra, query) = pollution(who);
                let mut polluted = body.and_then(|b| b.as_object().cloned()).unwrap_or_default();
                polluted.extend(extra);
                let polluted = Value::Object(polluted);
                for (path, body) in [(path.clone(), &polluted), (format!("{path}?{query}"), &polluted)] {
                    let answer = c.send(method.clone(), &path, &headers, Some(body)).await;
                    // A filter may ask for something else and so for more rights, never for less.
                    let same =
                        answer.status == honest || (honest < 300 && matches!(answer.status, 400 | 403));
                    assert!(
                        same,
                        "{name} for {}: {}, not {honest}: {}",
                        who.name, answer.status, answer.text
                    );
                    asked += 1;
                }
            }
        }
        assert!(asked > 500, "{asked}");
        assert_eq!(c.digest().await, before);
    })
    .await;
}

/// Whether the matrix has the caller refused.
fn refused(name: &str, case: &Case<'_>, who: &str) -> bool {
    let table = super::matrix::table();
    let key = format!("{name} {}", case.variant).trim_end().to_owned();
    let at = super::matrix::columns().iter().position(|n| *n == who).unwrap();
    table[&key].0[at + 1].trim_end_matches('!') != "ok"
}

/// CVE-2026-22797: identity headers from the client count for nothing, with and without a token.
#[tokio::test]
async fn ossa_2026_001_identity_headers_are_nobodys() {
    world::each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let boss = c.get(&admin, "/v3/users?name=admin").await.json()["users"][0]["id"].clone();
        let boss = boss.as_str().unwrap();
        let bob = c.token("bob", "pw", "bob-project").await;
        let forged = [
            ("X-Identity-Status", "Confirmed"),
            ("X-Service-Identity-Status", "Confirmed"),
            ("X-User-Id", boss),
            ("x_user_id", boss),
            ("X-USER-ID", boss),
            ("X-User", "admin"),
            ("X-Roles", "admin"),
            ("X-Role", "admin"),
            ("X-Service-Roles", "admin,service"),
            ("X-Project-Id", project.as_str()),
            ("X-Tenant-Id", project.as_str()),
            ("X-Domain-Id", "default"),
            ("X-Is-Admin-Project", "True"),
            ("OpenStack-System-Scope", "all"),
            ("REMOTE_USER", "admin"),
            ("Remote-User", "admin"),
            ("HTTP_X_AUTH_TOKEN", admin.as_str()),
            ("X-Auth-Token-", admin.as_str()),
        ];
        let mut twice = forged.to_vec();
        twice.extend(forged);
        for headers in [forged.to_vec(), twice] {
            for path in ["/v3/users", "/v3/services", "/v3/auth/projects", "/v3/domains"] {
                c.send(reqwest::Method::GET, path, &headers, None).await.is(401);
                let mut with = headers.clone();
                with.push(("x-auth-token", &bob));
                let (plain, forged) =
                    (c.get(&bob, path).await, c.send(reqwest::Method::GET, path, &with, None).await);
                assert_eq!((plain.status, plain.text), (forged.status, forged.text), "{path}");
            }
            let mut with = headers.clone();
            with.extend([("x-auth-token", bob.as_str()), ("x-subject-token", bob.as_str())]);
            let shown = c.send(reqwest::Method::GET, "/v3/auth/tokens", &with, None).await.is(200).json();
            assert_eq!(shown["token"]["user"]["id"], user);
            assert!(!shown["token"]["roles"].to_string().contains("admin"));
        }
    })
    .await;
}

/// L02: no filter of a list leads out of what the list shows without it.
#[tokio::test]
async fn no_filter_widens_a_list() {
    world::each(async |c| {
        let world = World::new(c).await;
        let other = &world.other;
        let mut values = ["domain_id", "project_id", "user_id", "group_id", "domain_role"]
            .map(|n| other[n].clone())
            .to_vec();
        values.push(String::new());
        let names = [
            "domain_id",
            "project_id",
            "user_id",
            "group_id",
            "parent_id",
            "id",
            "name",
            "type",
            "service_id",
            "region_id",
            "parent_region_id",
            "is_domain",
            "enabled",
            "unique_id",
            "idp_id",
            "tags",
            "tags-any",
            "not-tags",
            "owner",
            "not-tags-any",
            "name__contains",
            "name__icontains",
            "user.id",
            "group.id",
            "role.id",
            "scope.project.id",
            "scope.domain.id",
            "scope.system",
            "include_subtree",
            "include_names",
            "all_projects",
            "all_tenants",
            "tenant_id",
            "trustor_user_id",
            "trustee_user_id",
            "resource_name",
            "marker",
            "limit",
        ];
        let mut lists = 0;
        for route in ferrostack_identity::routes::table() {
            if route.method != Method::GET
                || route.access == Access::Public
                || route.path.contains("ferrostack")
            {
                continue;
            }
            let name = format!("GET {}", route.path);
            for who in ["reader", "dom-manager"] {
                let who = world.persona(who);
                for variant in calls::variants(&name).into_iter().filter(|v| v.is_empty()) {
                    let case = Case { route: &name, variant };
                    let path = calls::fill(route.path, &calls::ids(&world, &case, who));
                    let plain = c.get(&who.token, &path).await;
                    let Some(own) = items(&plain) else { continue };
                    lists += 1;
                    for name in names {
                        for value in &values {
                            let query = format!("{path}?{name}={}", value.replace('%', "%25"));
                            let answer = c.get(&who.token, &query).await;
                            assert!(answer.status < 500, "{query}: {}", answer.text);
                            for item in items(&answer).unwrap_or_default() {
                                assert!(own.contains(&item), "{query} for {} shows {item}", who.name);
                            }
                        }
                    }
                }
            }
        }
        assert!(lists > 20, "{lists}");
    })
    .await;
}

/// What a list shows, by ids; `None` if the answer is no list.
fn items(answer: &Answer) -> Option<Vec<String>> {
    if answer.status != 200 {
        return None;
    }
    let body = answer.json();
    let (_, list) = body.as_object()?.iter().find(|(name, v)| v.is_array() && *name != "tags")?;
    let id = |item: &Value| match item.get("id") {
        Some(id) => id.as_str().unwrap_or_default().to_owned(),
        // A role assignment, in whatever detail.
        None => ["scope", "user", "group", "role"].map(|n| ids_in(&item[n])).concat(),
    };
    Some(list.as_array()?.iter().map(id).collect())
}

fn ids_in(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let inner = map.iter().filter(|(name, _)| *name != "domain" || map.len() == 1);
            let id = map.get("id").and_then(Value::as_str).unwrap_or_default();
            format!("{id}{}", inner.map(|(_, v)| ids_in(v)).collect::<String>())
        }
        _ => String::new(),
    }
}

/// L01: a child that is another parent's is not there.
#[tokio::test]
async fn a_child_is_found_under_its_parent_only() {
    world::each(async |c| {
        let world = World::new(c).await;
        let (own, other, admin) = (&world.own, &world.other, &world.admin);
        let [group, user] = ["group_id", "user_id"].map(|n| (&own[n], &other[n]));
        for token in [admin, &world.persona("sys-admin").token] {
            c.get(token, &format!("/v3/groups/{}/users/{}", group.0, user.1)).await.is(404);
            c.delete(token, &format!("/v3/groups/{}/users/{}", group.0, user.1)).await.is(404);
            c.get(
                token,
                &format!("/v3/projects/{}/users/{}/roles/{}", own["project_id"], user.1, own["role_id"]),
            )
            .await
            .is(404);
            let path = format!("/v3/roles/{}/implies/{}", own["prior_role_id"], own["role_id"]);
            c.get(token, &path).await.is(404);
            c.delete(token, &path).await.is(404);
        }
        let manager = &world.persona("dom-manager").token;
        let before = c.digest().await;
        for (one, two) in [(group.0, user.1), (group.1, user.0), (group.1, user.1)] {
            for method in ["GET", "PUT", "DELETE"] {
                c.call(manager, method, &format!("/v3/groups/{one}/users/{two}"), None).await.is(403);
            }
        }
        assert_eq!(c.digest().await, before);
    })
    .await;
}

/// M03: names of columns in a body are kept as they came or dropped; they never become the column.
#[tokio::test]
async fn no_column_is_set_by_its_name() {
    world::each(async |c| {
        let admin = c.admin().await;
        let columns = json!({"password_hash": "$2b$04$abc", "generation": 77, "created_at": 5, "is_admin": true,
            "roles": ["admin"], "role": "admin", "system": true, "federated": [], "locked": false,
            "password_expires_at": "2001-01-01T00:00:00.000000", "failed_auth_count": -9, "extra": {"enabled": false}});
        let user = c.make(&admin, "users", json!({"name": "u", "password": "pw"})).await;
        let project = c.make(&admin, "projects", json!({"name": "p"})).await;
        let group = c.make(&admin, "groups", json!({"name": "g"})).await;
        for (noun, one, id) in [("users", "user", &user), ("projects", "project", &project), ("groups", "group", &group)]
        {
            let path = format!("/v3/{noun}/{id}");
            let before = c.get(&admin, &path).await.is(200).json();
            let answer = c.patch(&admin, &path, json!({one: columns})).await;
            assert!(matches!(answer.status, 200 | 400 | 403), "{}", answer.text);
            let after = c.get(&admin, &path).await.is(200).json();
            for (name, value) in before[one].as_object().unwrap() {
                assert_eq!(after[one][name], *value, "{noun} {name}");
            }
            for other in [json!({"id": "x"}), json!({"domain_id": "nosuch"})] {
                let answer = c.patch(&admin, &path, json!({one: other})).await;
                assert!(matches!(answer.status, 400 | 403 | 404), "{noun} {other}: {}", answer.text);
            }
            assert_eq!(c.get(&admin, &path).await.is(200).json(), after);
        }
        let login = c.login("u", "pw", Value::Null).await.is(201).json();
        assert_eq!(login["token"]["user"]["id"], user);
        assert!(login["token"].get("roles").is_none());
    })
    .await;
}
