//! Who gets which rights: grants that must not appear by accident, and lists that show no more than one's own.

use super::*;

/// All role assignments, as text.
async fn assignments(c: &Cloud, admin: &str) -> Vec<String> {
    let body = c.get(admin, "/v3/role_assignments").await.is(200).json();
    let mut all: Vec<String> =
        body["role_assignments"].as_array().unwrap().iter().map(ToString::to_string).collect();
    all.sort();
    all
}

#[tokio::test]
async fn ossa_2012_013_a_refused_default_project_grants_nothing() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let (foreign, _) = c.person(&admin, "eve", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let before = digest(c).await;
        for field in ["default_project_id", "tenantId", "project_id"] {
            let body = json!({"user": {field: foreign}});
            c.patch(&bob, &format!("/v3/users/{user}"), body.clone()).await.is(403);
            c.call(&bob, "PUT", &format!("/v3/users/{user}"), Some(body)).await.is(405);
        }
        assert_eq!(digest(c).await, before);
        // Neither does one that an admin sets: it is a wish, not a grant.
        let granted = assignments(c, &admin).await;
        let body = json!({"user": {"default_project_id": foreign}});
        c.patch(&admin, &format!("/v3/users/{user}"), body).await.is(200);
        assert_eq!(assignments(c, &admin).await, granted);
        let scope = json!({"project": {"id": foreign}});
        c.login("bob", "pw", scope).await.is(401);
        let token = c.login("bob", "pw", Value::Null).await.is(201).json();
        assert!(token["token"].get("project").is_none(), "{token}");
    })
    .await;
}

/// Random removals of grants that do not exist, some of roles that do not.
#[tokio::test]
async fn ossa_2013_028_taking_what_is_not_there_grants_nothing() {
    use rand::seq::IndexedRandom;
    each(async |c| {
        let admin = c.admin().await;
        let mut users = Vec::new();
        for name in ["a", "b", "c"] {
            users.push(c.person(&admin, name, "reader").await);
        }
        let group = c.make(&admin, "groups", json!({"name": "g"})).await;
        let mut roles = Vec::new();
        for name in ["admin", "manager", "member", "service"] {
            roles.push(c.role(&admin, name).await);
        }
        roles.push("0123456789abcdef0123456789abcdef".into());
        let before = assignments(c, &admin).await;
        let mut rng = rand::rng();
        for _ in 0..60 {
            let (project, _) = users.choose(&mut rng).unwrap();
            let (_, user) = users.choose(&mut rng).unwrap();
            let role = roles.choose(&mut rng).unwrap();
            let actor = if rand::random() { format!("users/{user}") } else { format!("groups/{group}") };
            let target = ["projects", "domains", "system", "OS-INHERIT"].choose(&mut rng).unwrap();
            let path = match *target {
                "projects" => format!("/v3/projects/{project}/{actor}/roles/{role}"),
                "domains" => format!("/v3/domains/default/{actor}/roles/{role}"),
                "system" => format!("/v3/system/{actor}/roles/{role}"),
                _ => format!("/v3/OS-INHERIT/projects/{project}/{actor}/roles/{role}/inherited_to_projects"),
            };
            let status = c.delete(&admin, &path).await.status;
            assert_eq!(status, 404, "{path}");
            assert_eq!(c.call(&admin, "HEAD", &path, None).await.status, 404, "{path}");
        }
        assert_eq!(assignments(c, &admin).await, before);
    })
    .await;
}

/// A user and a group with one id: what the group gets is not the user's, and the other way.
#[tokio::test]
async fn ossa_2014_015_a_group_with_the_id_of_a_user() {
    each(async |c| {
        let admin = c.admin().await;
        let user = c.make(&admin, "users", json!({"name": "bob", "password": "pw"})).await;
        let group = c.make(&admin, "groups", json!({"name": "twins"})).await;
        let member = c.make(&admin, "users", json!({"name": "eve", "password": "pw"})).await;
        let project = c.make(&admin, "projects", json!({"name": "p"})).await;
        let other = c.make(&admin, "projects", json!({"name": "o"})).await;
        assert_eq!(sql(c, &format!("UPDATE user_group SET id = '{user}' WHERE id = '{group}'")).await, 1);
        c.put(&admin, &format!("/v3/groups/{user}/users/{member}")).await.is(204);
        let role = c.role(&admin, "member").await;
        c.put(&admin, &format!("/v3/projects/{project}/groups/{user}/roles/{role}")).await.is(204);
        c.put(&admin, &format!("/v3/domains/default/groups/{user}/roles/{role}")).await.is(204);
        c.put(&admin, &format!("/v3/system/groups/{user}/roles/{role}")).await.is(204);
        for scope in [
            json!({"project": {"id": project}}),
            json!({"domain": {"id": "default"}}),
            json!({"system": {"all": true}}),
        ] {
            c.login("bob", "pw", scope.clone()).await.is(401);
            c.login("eve", "pw", scope).await.is(201);
        }
        // The user's grant is not the group's.
        c.put(&admin, &format!("/v3/projects/{other}/users/{user}/roles/{role}")).await.is(204);
        let scope = json!({"project": {"id": other}});
        c.login("bob", "pw", scope.clone()).await.is(201);
        c.login("eve", "pw", scope).await.is(401);
        let path = format!("/v3/projects/{project}/users/{user}/roles");
        assert_eq!(c.get(&admin, &path).await.json()["roles"], json!([]));
        // Taking the group's away leaves the user's.
        c.delete(&admin, &format!("/v3/groups/{user}")).await.is(204);
        c.login("bob", "pw", json!({"project": {"id": other}})).await.is(201);
    })
    .await;
}

#[tokio::test]
async fn ossa_2018_002_lists_of_scopes_show_only_ones_own() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, _) = c.person(&admin, "bob", "member").await;
        for n in 0..5 {
            c.make(&admin, "projects", json!({"name": format!("other{n}")})).await;
            c.make(&admin, "domains", json!({"name": format!("other{n}")})).await;
        }
        let bob = c.token("bob", "pw", "bob-project").await;
        for path in ["/v3/auth/projects", "/v3/OS-FEDERATION/projects"] {
            for query in ["", "?domain_id=default", "?name=other1", "?user_id=x", "?enabled=true"] {
                let answer = c.get(&bob, &format!("{path}{query}")).await;
                if answer.status == 404 && path.contains("FEDERATION") {
                    continue;
                }
                let body = answer.is(200).json();
                let all = body["projects"].as_array().unwrap();
                assert!(all.iter().all(|p| p["id"] == project.as_str()), "{path}{query}: {body}");
            }
        }
        for path in ["/v3/auth/domains", "/v3/OS-FEDERATION/domains"] {
            let answer = c.get(&bob, path).await;
            assert!(answer.status == 404 || answer.json()["domains"] == json!([]), "{path}: {}", answer.text);
        }
        let system = c.get(&bob, "/v3/auth/system").await.is(200).json();
        assert_eq!(system["system"], json!([]));
    })
    .await;
}

/// Names that differ in any character are different people.
#[tokio::test]
async fn ossn_0006_no_name_is_cut_or_folded() {
    // More wrong passwords than one source may try in a minute.
    let patient = |s: &mut Settings| s.identity.security.failed_logins_per_source_per_minute = 10_000;
    each_with(patient, async |c| {
        let admin = c.admin().await;
        let names = [
            "a",
            "A",
            "a@x",
            "a@y",
            "a ",
            "a b",
            " a",
            "a\tb",
            "a\u{a0}b",
            "а",
            "ａ",
            "á",
            "a\u{301}",
            "ß",
            "ss",
            "ﬁ",
            "fi",
            "a%00b",
            "a\\0b",
            "a/b",
            "a,b",
            "a;b",
            "a\u{200b}",
            "a.",
            "x'--",
            "İ",
            "i",
        ];
        for (n, name) in names.iter().enumerate() {
            let body = json!({"user": {"name": name, "password": format!("pw{n}")}});
            let made = c.post(&admin, "/v3/users", body).await.is(201).json();
            assert_eq!(made["user"]["name"], *name);
        }
        for (n, name) in names.iter().enumerate() {
            for (m, other) in names.iter().enumerate() {
                if n == m || n % 5 == m % 5 {
                    let status = c.login(name, &format!("pw{m}"), json!("unscoped")).await.status;
                    assert_eq!(status == 201, n == m, "{name:?} with the password of {other:?}");
                }
            }
            let token = c.login(name, &format!("pw{n}"), json!("unscoped")).await.is(201).json();
            assert_eq!(token["token"]["user"]["name"], *name);
        }
        for name in ["a\0", "a\0x", "\0"] {
            c.post(&admin, "/v3/users", json!({"user": {"name": name}})).await.is(400);
            c.login(name, "pw0", Value::Null).await.is(400);
        }
    })
    .await;
}

#[tokio::test]
async fn ossn_0010_0083_a_domain_is_for_life_and_every_rule_has_a_name() {
    each(async |c| {
        let admin = c.admin().await;
        let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let group = c.make(&admin, "groups", json!({"name": "g"})).await;
        let role = c.make(&admin, "roles", json!({"name": "r", "domain_id": domain})).await;
        for (noun, id) in [("users", &user), ("projects", &project), ("groups", &group), ("roles", &role)] {
            let (path, one) = (format!("/v3/{noun}/{id}"), noun.trim_end_matches('s'));
            let before = c.get(&admin, &path).await.is(200).json();
            for value in [json!(domain), json!("default"), json!(null), json!(""), json!("nosuch")] {
                if before[one]["domain_id"] == value {
                    continue;
                }
                let answer = c.patch(&admin, &path, json!({one: {"domain_id": value}})).await;
                assert_eq!(answer.status, 400, "{noun} {value}: {}", answer.text);
            }
            assert_eq!(c.get(&admin, &path).await.json()[one]["domain_id"], before[one]["domain_id"]);
        }
    })
    .await;
    // A rule that the code names and nobody defines would be no rule.
    for route in ferrostack_identity::routes::table() {
        for rule in route.policy {
            assert!(ferrostack_identity::RULES.iter().any(|r| r.name == *rule), "{rule} is not defined");
        }
    }
    for (name, text) in sources() {
        for rule in text.split('"').filter(|t| t.starts_with("identity:") && !t.contains(['{', ' '])) {
            assert!(
                ferrostack_identity::RULES.iter().any(|r| r.name == rule),
                "{name}: {rule} is not defined"
            );
        }
    }
}

/// Every source file of the service, with its path.
pub fn sources() -> Vec<(String, String)> {
    fn walk(directory: &std::path::Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 40);
    found
}

/// The role `service` alone lets its user read what verifying tokens needs, and write nothing.
#[tokio::test]
async fn ossn_0055_0060_a_service_user_is_no_admin() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "svc", "service").await;
        let token = c.token("svc", "pw", "svc-project").await;
        let before = digest(c).await;
        let mut allowed = Vec::new();
        for route in ferrostack_identity::routes::table() {
            if route.access == ferrostack_http::Access::Public {
                continue;
            }
            // Somebody else's things.
            let path = fill(route.path, &[("domain_id", "default"), ("region_id", "RegionOne")]);
            let body = matches!(route.method.as_str(), "POST" | "PATCH" | "PUT").then(|| json!({}));
            let status = c.call(&token, route.method.as_str(), &path, body).await.status;
            if matches!(status, 200..=299) {
                allowed.push(format!("{} {}", route.method, route.path));
            }
            assert!(status < 500, "{} {path}: {status}", route.method);
        }
        allowed.sort();
        allowed.dedup();
        for route in &allowed {
            let reads = route.starts_with("GET ") || route.starts_with("HEAD ");
            assert!(reads, "a service user may {route}");
            // Of credentials and limits it sees the list of its own, which is empty.
            assert!(
                !route.contains("{user_id}") && !route.contains("{credential_id}"),
                "a service user may {route}"
            );
        }
        assert!(allowed.contains(&"GET /v3/ferrostack/revocations".to_owned()), "{allowed:?}");
        assert_eq!(digest(c).await, before);
        // Its token speaks for nobody else.
        c.get(&token, "/v3/users").await.is(403);
        c.patch(&token, &format!("/v3/users/{user}"), json!({"user": {"enabled": true}})).await.is(403);
        c.patch(&token, &format!("/v3/projects/{project}"), json!({"project": {"description": "x"}}))
            .await
            .is(403);
    })
    .await;
}

#[tokio::test]
async fn ossn_0064_there_is_no_admin_token() {
    once(async |c| {
        for token in ["ADMIN", "admin", "admin_token", "secret", "SERVICE_TOKEN", "None", "null"] {
            for header in
                ["x-auth-token", "x-service-token", "x-admin-token", "x-storage-token", "authorization"]
            {
                let answer = c.send(Method::GET, "/v3/users", &[(header, token)], None).await;
                assert_eq!(answer.status, 401, "{header}: {token}");
            }
        }
        let settings = toml::to_string(&Settings::default()).unwrap();
        assert!(!settings.contains("admin_token"));
        // Bootstrap happens by a file beside the database, not by a route.
        for path in ["/v3/bootstrap", "/v3/OS-KSADM/users", "/v2.0/OS-KSADM/users", "/v3/admin"] {
            let answer = c.send(Method::POST, path, &[], Some(&json!({}))).await;
            assert!(matches!(answer.status, 401 | 404), "{path}: {}", answer.status);
        }
    })
    .await;
}

/// What can be reached by several paths stands under the same rules by each.
#[test]
fn ossa_2014_011_one_operation_one_rule() {
    let table = ferrostack_identity::routes::table();
    let rules = |method: &str, path: &str| {
        table.iter().find(|r| r.method.as_str() == method && r.path == path).map(|r| r.policy.to_vec())
    };
    let mut compared = 0;
    // Grants and inherited grants.
    for route in &table {
        let Some(rest) = route.path.strip_prefix("/v3/OS-INHERIT") else { continue };
        let Some(plain) = rest.strip_suffix("/inherited_to_projects") else { continue };
        let same = rules(route.method.as_str(), &format!("/v3{plain}"));
        assert_eq!(same.as_deref(), Some(route.policy), "{}", route.path);
        compared += 1;
    }
    assert!(compared >= 4, "{compared}");
    // HEAD is GET, if by a rule of another name.
    let checks = |names: &[&str]| {
        names
            .iter()
            .map(|name| ferrostack_identity::RULES.iter().find(|r| r.name == *name).unwrap().check)
            .collect::<Vec<_>>()
    };
    for route in table.iter().filter(|r| r.method.as_str() == "HEAD") {
        if let Some(get) = rules("GET", route.path) {
            assert_eq!(checks(route.policy), checks(&get), "HEAD {}", route.path);
        }
    }
    // Legacy names of the same list.
    for (one, other) in [
        ("/v3/auth/projects", "/v3/OS-FEDERATION/projects"),
        ("/v3/auth/domains", "/v3/OS-FEDERATION/domains"),
    ] {
        if let Some(legacy) = rules("GET", other) {
            assert_eq!(rules("GET", one), Some(legacy), "{other}");
        }
    }
    // A method and a path stand in the table once.
    let mut seen = std::collections::HashSet::new();
    for route in &table {
        assert!(seen.insert((route.method.clone(), route.path)), "{} {} twice", route.method, route.path);
    }
}

/// Federation and OAuth1 logins are not offered: nothing maps anybody to roles.
#[tokio::test]
async fn ossa_2017_004_nobody_is_mapped_to_roles() {
    once(async |c| {
        let admin = c.admin().await;
        let before = digest(c).await;
        let mapping = json!({"mapping": {"rules": [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "REMOTE_USER"}]}]}});
        let _ = c.call(&admin, "PUT", "/v3/OS-FEDERATION/mappings/m", Some(mapping)).await;
        let sent = [("x-auth-token", admin.as_str()), ("remote_user", "admin"), ("x-remote-user", "admin"), ("openstack_user", "admin")];
        for path in [
            "/v3/OS-FEDERATION/identity_providers/idp/protocols/mapped/auth",
            "/v3/auth/OS-FEDERATION/identity_providers/idp/protocols/mapped/websso",
            "/v3/auth/OS-FEDERATION/websso/mapped",
            "/v3/auth/OS-FEDERATION/saml2",
            "/v3/auth/OS-FEDERATION/saml2/ecp",
        ] {
            for method in [Method::GET, Method::POST] {
                let answer = c.send(method, path, &sent, None).await;
                assert!(matches!(answer.status, 400 | 401 | 403 | 404 | 405), "{path}: {}", answer.status);
                assert!(answer.token.is_none(), "{path}");
            }
        }
        for method in ["mapped", "saml2", "openid", "external", "oauth1", "kerberos", "x509", "ldap"] {
            let identity = json!({"methods": [method], method: {"id": "x", "identity_provider": "idp", "protocol": "mapped"}});
            let answer = c.authenticate(identity, json!({"project": {"name": "admin", "domain": {"id": "default"}}})).await;
            assert!(matches!(answer.status, 400 | 401), "{method}: {}", answer.status);
            assert!(answer.token.is_none());
        }
        // Who stands before us names no user.
        let body = json!({"auth": {"identity": {"methods": ["external"]}}});
        let answer = c.send(Method::POST, "/v3/auth/tokens", &sent[1..], Some(&body)).await;
        assert_eq!(answer.status, 401);
        assert_eq!(digest(c).await, before);
    })
    .await;
}

#[tokio::test]
async fn ossa_2020_005_no_oauth1_token_is_given() {
    once(async |c| {
        let admin = c.admin().await;
        for (method, path) in [
            (Method::POST, "/v3/OS-OAUTH1/request_token"),
            (Method::POST, "/v3/OS-OAUTH1/access_token"),
            (Method::PUT, "/v3/OS-OAUTH1/authorize/x"),
        ] {
            let body = json!({"roles": [{"name": "admin"}]});
            let authorization = "OAuth oauth_consumer_key=\"x\",oauth_signature_method=\"PLAINTEXT\",oauth_signature=\"x%26\"";
            for headers in [vec![("x-auth-token", admin.as_str())], vec![("authorization", authorization)]] {
                let answer = c.send(method.clone(), path, &headers, Some(&body)).await;
                assert!(matches!(answer.status, 401 | 404 | 405), "{path}: {}", answer.status);
                assert!(answer.token.is_none() && !answer.text.contains("oauth_token="), "{}", answer.text);
            }
        }
        let identity = json!({"methods": ["oauth1"], "oauth1": {}});
        c.authenticate(identity, Value::Null).await.is(401);
    })
    .await;
}
