//! Identity API v2.0 as old SDKs use it.

use super::support::*;
use reqwest::Method;
use serde_json::{Value, json};

async fn each_v2<F: AsyncFn(&mut Cloud)>(test: F) {
    each_with(|s| s.identity.v2_api = Some(true), test).await;
}

async fn auth(c: &Cloud, auth: Value) -> Answer {
    c.send(Method::POST, "/v2.0/tokens", &[], Some(&json!({"auth": auth}))).await
}

fn password(name: &str, password: &str, tenant: &str) -> Value {
    json!({"tenantName": tenant, "passwordCredentials": {"username": name, "password": password}})
}

async fn login(c: &Cloud, name: &str, word: &str, tenant: &str) -> (String, Value) {
    let access = auth(c, password(name, word, tenant)).await.is(200).json()["access"].clone();
    (access["token"]["id"].as_str().unwrap().to_owned(), access)
}

fn texts(value: &Value, names: &[&str]) {
    for name in names {
        assert!(value[*name].is_string(), "{name} in {value}");
    }
}

#[tokio::test]
async fn off_unless_asked_for() {
    each(async |c| {
        for path in ["/v2.0", "/v2.0/", "/v2.0/tokens", "/v2.0/tenants", "/v2.0/users", "/v2.0/extensions"] {
            assert_eq!(c.get("", path).await.status, 404, "{path}");
        }
        assert_eq!(auth(c, password("admin", "secret", "admin")).await.status, 404);
        let versions = c.get("", "/").await.is(300).json();
        assert_eq!(versions["versions"]["values"].as_array().unwrap().len(), 1);
    })
    .await;
    each_v2(async |c| {
        let versions = c.get("", "/").await.is(300).json();
        let values = versions["versions"]["values"].as_array().unwrap();
        assert_eq!((&values[0]["id"], &values[0]["status"]), (&json!("v3.14"), &json!("stable")));
        assert_eq!((&values[1]["id"], &values[1]["status"]), (&json!("v2.0"), &json!("deprecated")));
        for path in ["/v2.0", "/v2.0/"] {
            assert_eq!(c.get("", path).await.is(200).json()["version"]["id"], "v2.0");
        }
        assert_eq!(
            c.get("", "/v2.0/extensions/OS-KSADM").await.is(200).json()["extension"]["alias"],
            "OS-KSADM"
        );
        c.get("", "/v2.0/extensions/x").await.is(404);
    })
    .await;
}

/// krystism/openstack-java-sdk, call by call, with every member it fails without.
#[tokio::test]
async fn the_calls_of_krystisms_sdk() {
    each_v2(async |c| {
        let admin3 = c.admin().await;
        for kind in ["placement", "volumev3", "object-store"] {
            let service = c.make(&admin3, "services", json!({"type": kind, "name": kind})).await;
            let endpoint = json!({"service_id": service, "interface": "public", "url": "http://x/%(tenant_id)s", "region": "RegionOne"});
            c.make(&admin3, "endpoints", endpoint).await;
        }
        let (token, access) = login(c, "admin", "secret", "admin").await;
        texts(&access["token"], &["id", "issued_at", "expires"]);
        let issued = access["token"]["issued_at"].as_str().unwrap();
        assert!(issued.len() == "2014-01-30T15:30:58.819584".len() && !issued.ends_with('Z'), "{issued}");
        let expires = access["token"]["expires"].as_str().unwrap();
        assert!(expires.len() == "2014-01-31T15:30:58Z".len() && expires.ends_with('Z'), "{expires}");
        texts(&access["token"]["tenant"], &["id", "name"]);
        texts(&access["user"], &["id", "username"]);
        assert!(access["metadata"]["roles"].as_array().unwrap().iter().all(Value::is_string));
        let tenant = access["token"]["tenant"]["id"].as_str().unwrap().to_owned();
        let known = ["compute", "image", "identity", "cloudformation", "volume", "volumev2", "orchestration", "network"];
        let mut types = Vec::new();
        for service in access["serviceCatalog"].as_array().unwrap() {
            let kind = service["type"].as_str().unwrap();
            assert!(known.contains(&kind), "{kind}");
            let endpoints = service["endpoints"].as_array().unwrap();
            assert_eq!(endpoints.len(), 1, "{service}");
            texts(&endpoints[0], &["region", "adminURL", "publicURL", "internalURL", "id"]);
            let url = endpoints[0]["adminURL"].as_str().unwrap();
            let path = url.splitn(4, '/').nth(3).unwrap_or_default();
            let wanted = match kind {
                "compute" => format!("v2/{tenant}"),
                "identity" => "v2.0".into(),
                _ => String::new(),
            };
            assert_eq!(path, wanted, "{url}");
            types.push(kind.to_owned());
        }
        assert_eq!(types, ["identity", "image", "compute", "network"]);

        // Its later calls have no id in the body and want the members that follow.
        let headers = [("x-auth-token", token.as_str()), ("x-auth-project-id", "admin"), ("accept", "application/json")];
        let call = async |method: &str, path: &str, body: Value| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let body = if body.is_null() { None } else { Some(&body) };
            let answer = c.send(method.clone(), &format!("/v2.0{path}"), &headers, body).await;
            assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text);
            assert_eq!(answer.headers["content-type"], "application/json", "{method} {path}");
            let expected = if method == Method::DELETE { 204 } else { 200 };
            assert_eq!(answer.status, expected, "{method} {path}");
            if answer.text.is_empty() { Value::Null } else { answer.json() }
        };
        let id = |value: &Value| value["id"].as_str().unwrap().to_owned();

        let body = json!({"tenant": {"name": "acme", "description": "A description ...", "enabled": true, "id": null}});
        let made = call("POST", "/tenants", body).await["tenant"].clone();
        assert_eq!((&made["name"], &made["description"], &made["enabled"]), (&json!("acme"), &json!("A description ..."), &json!(true)));
        assert_eq!(made.as_object().unwrap().len(), 4, "{made}");
        let acme = id(&made);
        let all = call("GET", "/tenants", Value::Null).await;
        assert!(all["tenants"].as_array().unwrap().contains(&made) && all["tenants_links"] == json!([]));
        assert_eq!(call("GET", "/tenants?name=acme", Value::Null).await["tenant"], made);
        assert_eq!(call("GET", &format!("/tenants/{acme}"), Value::Null).await["tenant"], made);
        let body = json!({"tenant": {"id": acme, "name": "ACME corp", "description": "", "enabled": true}});
        assert_eq!(call("PUT", &format!("/tenants/{acme}"), body.clone()).await["tenant"]["name"], "ACME corp");
        assert_eq!(call("POST", &format!("/tenants/{acme}"), body).await["tenant"]["id"], acme.as_str());

        let body = json!({"user": {"name": "bob", "password": "pw", "email": "bob@example.org", "enabled": true, "tenantId": acme}});
        let made = call("POST", "/users", body).await["user"].clone();
        texts(&made, &["id", "name", "username", "email", "tenantId"]);
        assert!(made.get("password").is_none() && made.get("domain_id").is_none() && made["enabled"] == true);
        let bob = id(&made);
        let all = call("GET", "/users", Value::Null).await;
        assert!(all["users"].as_array().unwrap().contains(&made) && all["users_links"] == json!([]));
        assert_eq!(call("GET", "/users?name=bob", Value::Null).await["user"], made);
        assert_eq!(call("GET", &format!("/users/{bob}"), Value::Null).await["user"], made);
        login(c, "bob", "pw", "ACME corp").await;
        let body = json!({"user": {"id": bob, "name": "bobby", "email": "new@example.org"}});
        let changed = call("PUT", &format!("/users/{bob}"), body).await["user"].clone();
        assert_eq!((&changed["username"], &changed["email"]), (&json!("bobby"), &json!("new@example.org")));
        let users = call("GET", &format!("/tenants/{acme}/users"), Value::Null).await;
        assert_eq!(users["users"], json!([changed]));

        let made = call("POST", "/OS-KSADM/roles", json!({"role": {"name": "Guest"}})).await["role"].clone();
        texts(&made, &["id", "name"]);
        let role = id(&made);
        assert!(call("GET", "/OS-KSADM/roles", Value::Null).await["roles"].as_array().unwrap().contains(&made));
        assert_eq!(call("GET", &format!("/OS-KSADM/roles/{role}"), Value::Null).await["role"], made);
        let grant = format!("/tenants/{acme}/users/{bob}/roles/OS-KSADM/{role}");
        assert_eq!(call("PUT", &grant, Value::Null).await["role"], made);
        let roles = call("GET", &format!("/tenants/{acme}/users/{bob}/roles"), Value::Null).await;
        let names: Vec<&Value> = roles["roles"].as_array().unwrap().iter().map(|r| &r["name"]).collect();
        assert_eq!(names, ["member", "Guest"]);
        call("DELETE", &grant, Value::Null).await;
        call("DELETE", &format!("/OS-KSADM/roles/{role}"), Value::Null).await;

        let disabled = call("PUT", &format!("/users/{bob}/OS-KSADM/enabled"), json!({"user": {"id": bob, "enabled": false}})).await;
        assert_eq!(disabled["user"]["enabled"], false);
        auth(c, password("bobby", "pw", "ACME corp")).await.says(401, UNAUTHORIZED);
        call("PUT", &format!("/users/{bob}/OS-KSADM/enabled"), json!({"user": {"enabled": true}})).await;
        call("PUT", &format!("/users/{bob}/OS-KSADM/password"), json!({"user": {"id": bob, "password": "new"}})).await;
        auth(c, password("bobby", "pw", "ACME corp")).await.says(401, UNAUTHORIZED);
        login(c, "bobby", "new", "ACME corp").await;
        let moved = call("PUT", &format!("/users/{bob}/OS-KSADM/tenant"), json!({"user": {"tenantId": tenant}})).await;
        assert_eq!(moved["user"]["tenantId"], tenant.as_str());
        login(c, "bobby", "new", "admin").await;

        let body = json!({"OS-KSADM:service": {"name": "cinder", "type": "volume", "description": "Volumes"}});
        let made = call("POST", "/OS-KSADM/services", body).await["OS-KSADM:service"].clone();
        texts(&made, &["id", "name", "type", "description"]);
        let service = id(&made);
        let all = call("GET", "/OS-KSADM/services", Value::Null).await;
        assert!(all["OS-KSADM:services"].as_array().unwrap().contains(&made));
        assert_eq!(call("GET", &format!("/OS-KSADM/services/{service}"), Value::Null).await["OS-KSADM:service"], made);
        let urls = ["publicurl", "internalurl", "adminurl"];
        let body = json!({"endpoint": {"region": "RegionOne", "service_id": service, "publicurl": "http://h:8776/v1/%(tenant_id)s",
            "internalurl": "http://h:8776/v1/%(tenant_id)s", "adminurl": "http://a:8776/v1/%(tenant_id)s"}});
        let made = call("POST", "/endpoints", body).await["endpoint"].clone();
        texts(&made, &urls);
        texts(&made, &["id", "region", "service_id"]);
        let all = call("GET", "/endpoints", Value::Null).await["endpoints"].clone();
        assert!(all.as_array().unwrap().contains(&made));
        // Those that v3 made show once a service, with three URLs.
        let compute = all.as_array().unwrap().iter().filter(|e| e["publicurl"].as_str().unwrap().contains(":8774"));
        assert_eq!(compute.inspect(|e| texts(e, &urls)).count(), 1);
        let (_, access) = login(c, "admin", "secret", "admin").await;
        let volume = access["serviceCatalog"].as_array().unwrap().iter().find(|s| s["type"] == "volume").unwrap().clone();
        assert_eq!(volume["endpoints"][0]["adminURL"], format!("http://a:8776/v1/{tenant}"));
        call("DELETE", &format!("/endpoints/{}", id(&made)), Value::Null).await;
        let all = call("GET", "/endpoints", Value::Null).await["endpoints"].clone();
        assert!(!all.as_array().unwrap().iter().any(|e| e["service_id"] == service.as_str()));
        call("DELETE", &format!("/OS-KSADM/services/{service}"), Value::Null).await;
        call("DELETE", &format!("/users/{bob}"), Value::Null).await;
        call("DELETE", &format!("/tenants/{acme}"), Value::Null).await;
        // session.destroy()
        call("DELETE", &format!("/tokens/{token}"), Value::Null).await;
        c.get(&token, "/v2.0/tenants").await.says(401, UNAUTHORIZED);
    })
    .await;
}

/// woorea/openstack-java-sdk: a token for nothing, the tenants, a token for one of them.
#[tokio::test]
async fn wooreas_way_to_a_scoped_token() {
    each_v2(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        c.make(&admin, "projects", json!({"name": "not-his"})).await;
        let bare = json!({"passwordCredentials": {"username": "bob", "password": "pw"}});
        let access = auth(c, bare).await.is(200).json()["access"].clone();
        assert_eq!(access["serviceCatalog"], json!([]));
        assert!(access["token"].get("tenant").is_none() && access["user"]["roles"] == json!([]));
        let unscoped = access["token"]["id"].as_str().unwrap().to_owned();
        let tenants = c.get(&unscoped, "/v2.0/tenants").await.is(200).json()["tenants"].clone();
        assert_eq!(
            tenants,
            json!([{"id": project, "name": "bob-project", "description": "", "enabled": true}])
        );
        c.get(&unscoped, "/v2.0/tenants?name=not-his").await.is(404);
        let scoped =
            auth(c, json!({"token": {"id": unscoped}, "tenantId": project})).await.is(200).json()["access"]
                .clone();
        assert_eq!(scoped["token"]["tenant"]["id"], project.as_str());
        assert_eq!(scoped["user"]["roles"], json!([{"name": "member"}, {"name": "reader"}]));
        assert_eq!(scoped["token"]["expires"], access["token"]["expires"], "re-scoping does not prolong");
        assert_eq!(scoped["token"]["audit_ids"][1], access["token"]["audit_ids"][0]);
        // By user id, and the token serves v3 as well.
        let by_id = json!({"tenantId": project, "passwordCredentials": {"userId": user, "password": "pw"}});
        let token = auth(c, by_id).await.is(200).json()["access"]["token"]["id"].as_str().unwrap().to_owned();
        c.get(&token, &format!("/v3/projects/{project}")).await.is(200);
        assert_eq!(c.validate(&admin, &token).await.is(200).json()["token"]["methods"], json!(["password"]));
    })
    .await;
}

/// openstack4j: looks services up by name, and what is shown of a token is what was issued.
#[tokio::test]
async fn openstack4js_login_and_the_look_at_a_token() {
    each_v2(async |c| {
        let (token, access) = login(c, "admin", "secret", "admin").await;
        let names: Vec<&Value> =
            access["serviceCatalog"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
        assert_eq!(names, ["keystone", "glance", "nova", "neutron"]);
        let path = format!("/v2.0/tokens/{token}");
        let shown = c.get(&token, &path).await.is(200);
        assert_eq!(shown.json()["access"], access);
        let head = c.send(Method::HEAD, &path, &[("x-auth-token", &token)], None).await.is(200);
        assert!(head.text.is_empty());
        let tenant = access["token"]["tenant"]["id"].as_str().unwrap();
        c.get(&token, &format!("{path}?belongsTo={tenant}")).await.is(200);
        c.get(&token, &format!("{path}?belongsTo=other")).await.says(401, UNAUTHORIZED);
        let flat = c.get(&token, &format!("{path}/endpoints")).await.is(200).json()["endpoints"].clone();
        assert_eq!(flat.as_array().unwrap().len(), 4);
        assert_eq!((&flat[2]["type"], &flat[2]["name"]), (&json!("compute"), &json!("nova")));
        let bad = c.get(&token, "/v2.0/tokens/eyJnotatoken").await.is(404);
        assert!(!bad.text.contains("notatoken"), "{}", bad.text);
    })
    .await;
}

/// S-2014-022 and its kin: v2.0 knows Default, and nothing of domains, trusts and application credentials.
#[tokio::test]
async fn ossa_2014_022_nothing_from_outside_its_world() {
    each_v2(async |c| {
        let admin = c.admin().await;
        let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
        let foreign = c.make(&admin, "projects", json!({"name": "p", "domain_id": domain})).await;
        let eve = c.make(&admin, "users", json!({"name": "eve", "domain_id": domain, "password": "pw"})).await;
        let (project, bob) = c.person(&admin, "bob", "member").await;
        let (_, carol) = c.person(&admin, "carol", "reader").await;
        let member = c.role(&admin, "member").await;
        for (place, user) in [(&foreign, &eve), (&project, &eve), (&foreign, &bob)] {
            c.put(&admin, &format!("/v3/projects/{place}/users/{user}/roles/{member}")).await.is(204);
        }
        c.put(&admin, &format!("/v3/domains/default/users/{bob}/roles/{member}")).await.is(204);
        // Users and tenants of other domains.
        let by_id = |user: &str, tenant: &str| json!({"tenantId": tenant, "passwordCredentials": {"userId": user, "password": "pw"}});
        auth(c, by_id(&bob, &project)).await.is(200);
        for (user, tenant) in [(&eve, &foreign), (&eve, &project), (&bob, &foreign)] {
            auth(c, by_id(user, tenant)).await.says(401, UNAUTHORIZED);
        }
        auth(c, json!({"passwordCredentials": {"userId": eve, "password": "pw"}})).await.says(401, UNAUTHORIZED);
        auth(c, password("eve", "pw", "p")).await.says(401, UNAUTHORIZED);
        for path in [format!("/v2.0/users/{eve}"), format!("/v2.0/tenants/{foreign}"), "/v2.0/tenants/default".into()] {
            c.get(&admin, &path).await.is(404);
            c.delete(&admin, &path).await.is(404);
        }
        c.put(&admin, &format!("/v2.0/tenants/{foreign}/users/{bob}/roles/OS-KSADM/{member}")).await.is(404);
        c.delete(&admin, &format!("/v2.0/tenants/{foreign}/users/{bob}/roles/OS-KSADM/{member}")).await.is(404);
        c.get(&admin, "/v2.0/users?name=eve").await.is(404);
        let all = c.get(&admin, "/v2.0/users").await.is(200).json();
        assert!(!all["users"].as_array().unwrap().iter().any(|u| u["id"] == eve.as_str()));
        c.get(&admin, &format!("/v3/users/{eve}")).await.is(200);

        // Tokens that v2.0 cannot express are not carried on, whatever scope is asked for.
        let token = async |scope: Value| c.login("bob", "pw", scope).await.is(201).token.unwrap();
        let scoped = token(json!({"project": {"id": project}})).await;
        let mut others = vec![
            token(json!({"domain": {"id": "default"}})).await,
            token(json!({"project": {"id": foreign}})).await,
            c.login("admin", "secret", json!({"system": {"all": true}})).await.is(201).token.unwrap(),
        ];
        let path = format!("/v3/users/{bob}/application_credentials");
        let made = c.post(&scoped, &path, json!({"application_credential": {"name": "a"}})).await.is(201).json();
        let cred = &made["application_credential"];
        let identity = json!({"methods": ["application_credential"],
            "application_credential": {"id": cred["id"], "secret": cred["secret"]}});
        others.push(c.authenticate(identity, Value::Null).await.is(201).token.unwrap());
        let trust = json!({"trust": {"trustor_user_id": bob, "trustee_user_id": carol, "project_id": project,
            "impersonation": true, "roles": [{"name": "member"}]}});
        let trust = c.post(&scoped, "/v3/OS-TRUST/trusts", trust).await.is(201).json()["trust"]["id"].clone();
        let scope = json!({"OS-TRUST:trust": {"id": trust}});
        others.push(c.login("carol", "pw", scope).await.is(201).token.unwrap());
        for other in &others {
            for wanted in [json!({"token": {"id": other}}), json!({"token": {"id": other}, "tenantId": project}), json!({"token": {"id": other}, "tenantId": foreign})] {
                auth(c, wanted).await.says(401, UNAUTHORIZED);
            }
            c.get(&admin, &format!("/v2.0/tokens/{other}")).await.is(404);
        }
        auth(c, json!({"token": {"id": scoped}, "trust_id": trust, "tenantId": project})).await.says(401, UNAUTHORIZED);
        auth(c, json!({"token": {"id": "x.y.z"}})).await.is(404);
        auth(c, json!({"token": {"id": scoped}, "tenantId": project})).await.is(200);
    })
    .await;
}

/// S-2014-011: each operation asks the policy rule that v3 asks.
#[tokio::test]
async fn ossa_2014_011_the_policies_of_v3() {
    each_v2(async |c| {
        let admin = c.admin().await;
        let (project, bob) = c.person(&admin, "bob", "member").await;
        let (_, carol) = c.person(&admin, "carol", "reader").await;
        let member = c.role(&admin, "member").await;
        let service = c.make(&admin, "services", json!({"type": "x", "name": "x"})).await;
        let bob_token = c.token("bob", "pw", "bob-project").await;
        let unscoped = c.login("bob", "pw", json!("unscoped")).await.is(201).token.unwrap();
        let users = async || c.get(&admin, "/v3/users").await.text;
        let before = users().await;
        let grant = |p: &str, u: &str, r: &str| format!("/v2.0/tenants/{p}/users/{u}/roles/OS-KSADM/{r}");
        // (method, v2.0 path, v3 path, body's member and content)
        let rows = [
            ("GET", "/v2.0/users".to_owned(), "/v3/users".to_owned(), None),
            ("POST", "/v2.0/users".into(), "/v3/users".into(), Some(("user", json!({"name": "n"})))),
            ("GET", format!("/v2.0/users/{bob}"), format!("/v3/users/{bob}"), None),
            ("GET", format!("/v2.0/users/{carol}"), format!("/v3/users/{carol}"), None),
            ("GET", "/v2.0/users/nobody".into(), "/v3/users/nobody".into(), None),
            ("DELETE", format!("/v2.0/users/{carol}"), format!("/v3/users/{carol}"), None),
            ("POST", "/v2.0/tenants".into(), "/v3/projects".into(), Some(("tenant", json!({"name": "n"})))),
            ("GET", format!("/v2.0/tenants/{project}"), format!("/v3/projects/{project}"), None),
            ("DELETE", format!("/v2.0/tenants/{project}"), format!("/v3/projects/{project}"), None),
            ("GET", "/v2.0/OS-KSADM/roles".into(), "/v3/roles".into(), None),
            ("GET", format!("/v2.0/OS-KSADM/roles/{member}"), format!("/v3/roles/{member}"), None),
            ("DELETE", format!("/v2.0/OS-KSADM/roles/{member}"), format!("/v3/roles/{member}"), None),
            ("POST", "/v2.0/OS-KSADM/roles".into(), "/v3/roles".into(), Some(("role", json!({"name": "n"})))),
            ("GET", "/v2.0/OS-KSADM/services".into(), "/v3/services".into(), None),
            (
                "POST",
                "/v2.0/OS-KSADM/services".into(),
                "/v3/services".into(),
                Some(("OS-KSADM:service", json!({"type": "n"}))),
            ),
            ("DELETE", format!("/v2.0/OS-KSADM/services/{service}"), format!("/v3/services/{service}"), None),
            ("GET", "/v2.0/endpoints".into(), "/v3/endpoints".into(), None),
            ("DELETE", "/v2.0/endpoints/none".into(), "/v3/endpoints/none".into(), None),
            (
                "PUT",
                grant(&project, &bob, &member),
                format!("/v3/projects/{project}/users/{bob}/roles/{member}"),
                None,
            ),
            (
                "DELETE",
                grant(&project, &bob, &member),
                format!("/v3/projects/{project}/users/{bob}/roles/{member}"),
                None,
            ),
            (
                "GET",
                format!("/v2.0/tenants/{project}/users/{bob}/roles"),
                format!("/v3/projects/{project}/users/{bob}/roles"),
                None,
            ),
        ];
        for token in ["", "forged", &bob_token, &unscoped] {
            for (method, old, new, body) in &rows {
                let v3 = body.as_ref().map(|(name, content)| {
                    let name = name.trim_start_matches("OS-KSADM:");
                    json!({if name == "tenant" { "project" } else { name }: content})
                });
                let v2 = body.as_ref().map(|(name, content)| json!({*name: content}));
                let old_answer = c.call(token, method, old, v2).await;
                let new_answer = c.call(token, method, new, v3).await;
                assert_eq!(old_answer.status, new_answer.status, "{method} {old}: {}", old_answer.text);
                if old_answer.status >= 400 {
                    assert_eq!(old_answer.json(), new_answer.json(), "{method} {old}");
                }
            }
            for (path, name) in [
                ("OS-KSADM/password", "password"),
                ("OS-KSADM/enabled", "enabled"),
                ("OS-KSADM/tenant", "tenantId"),
                ("password", "password"),
            ] {
                let path = format!("/v2.0/users/{carol}/{path}");
                let refused = c.call(token, "PUT", &path, Some(json!({"user": {name: "x"}}))).await;
                assert!(matches!(refused.status, 401 | 403), "{path} {}", refused.text);
            }
            for path in [
                format!("/v2.0/tenants/{project}/users"),
                format!("/v2.0/tokens/{admin}"),
                format!("/v2.0/tokens/{admin}/endpoints"),
            ] {
                assert!(matches!(c.get(token, &path).await.status, 401 | 403), "{path}");
            }
            assert!(matches!(c.delete(token, &format!("/v2.0/tokens/{admin}")).await.status, 401 | 403));
        }
        assert_eq!(users().await, before);
        // One's own token may be looked at and ended.
        c.get(&bob_token, &format!("/v2.0/tokens/{bob_token}")).await.is(200);
        c.delete(&bob_token, &format!("/v2.0/tokens/{bob_token}")).await.is(204);
        c.get(&bob_token, "/v2.0/tenants").await.is(401);
    })
    .await;
}

#[tokio::test]
async fn bad_input_is_named_and_changes_nothing() {
    each_v2(async |c| {
        let admin = c.admin().await;
        let long = "x".repeat(70_000);
        let creds = |v: Value| json!({"auth": {"passwordCredentials": v}});
        for (body, status) in [
            (json!({}), 400),
            (json!([]), 400),
            (json!({"auth": null}), 400),
            (json!({"auth": []}), 400),
            (json!({"auth": {}}), 400),
            (json!({"auth": {"token": {}}}), 400),
            (json!({"auth": {"token": {"id": 5}}}), 400),
            (json!({"auth": {"token": {"id": long}}}), 404),
            (creds(json!({})), 400),
            (creds(json!({"username": "admin"})), 400),
            (creds(json!({"password": "secret"})), 400),
            (creds(json!({"username": "admin", "password": ["hunter2"]})), 400),
            (creds(json!({"username": {"a": 1}, "password": "hunter2"})), 400),
            (creds(json!({"username": "admin", "password": "wrong"})), 401),
            (creds(json!({"username": long, "password": "hunter2"})), 401),
            (json!({"auth": {"tenantName": "nope", "passwordCredentials": {"username": "admin", "password": "secret"}}}), 401),
            (json!({"auth": {"tenantId": 7, "passwordCredentials": {"username": "admin", "password": "secret"}}}), 400),
        ] {
            let answer = c.send(Method::POST, "/v2.0/tokens", &[], Some(&body)).await;
            assert_eq!(answer.status, status, "{:.200} {}", body.to_string(), answer.text);
            assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        }
        // Null is as good as nothing, as SDKs write it.
        let body = json!({"tenantName": "admin", "tenantId": null, "token": null, "passwordCredentials": {"username": "admin", "password": "secret", "userId": null}});
        auth(c, body).await.is(200);
        let count = async || c.get(&admin, "/v3/users").await.json()["users"].as_array().unwrap().len();
        let before = count().await;
        for user in [json!({}), json!({"name": ""}), json!({"name": 5}), json!({"name": "x".repeat(300)}), json!({"name": "u", "enabled": "maybe"}), json!({"name": "u", "tenantId": "none"})] {
            let answer = c.post(&admin, "/v2.0/users", json!({"user": user})).await;
            assert!(matches!(answer.status, 400 | 404), "{user} {}", answer.text);
        }
        c.post(&admin, "/v2.0/users", json!({"user": "x"})).await.is(400);
        c.post(&admin, "/v2.0/users", json!({"user": {"name": "admin"}})).await.is(409);
        c.post(&admin, "/v2.0/tenants", json!({"tenant": {"name": "admin"}})).await.is(409);
        c.post(&admin, "/v2.0/endpoints", json!({"endpoint": {"service_id": "none", "publicurl": "http://x"}})).await.is(400);
        c.post(&admin, "/v2.0/endpoints", json!({"endpoint": {"service_id": "none"}})).await.is(400);
        assert_eq!(count().await, before);
        c.get(&admin, "/v2.0/tenants?limit=x").await.is(400);
        c.get(&admin, "/v2.0/tenants?marker=none").await.is(400);
        let one = c.get(&admin, "/v2.0/tenants?limit=1").await.is(200).json()["tenants"].clone();
        let next = format!("/v2.0/tenants?limit=1&marker={}", one[0]["id"].as_str().unwrap());
        let two = c.get(&admin, &next).await.is(200).json()["tenants"].clone();
        assert!(one.as_array().unwrap().len() == 1 && two.as_array().unwrap().len() == 1 && one != two);
        // Members that v2.0 does not have do not get through to v3.
        let user = json!({"name": "sly", "password": "pw", "domain_id": "other", "options": {"lock_password": true}, "id": "chosen"});
        let made = c.post(&admin, "/v2.0/users", json!({"user": user})).await.is(200).json()["user"]["id"].clone();
        let sly = c.get(&admin, &format!("/v3/users/{}", made.as_str().unwrap())).await.is(200).json();
        assert_eq!((&sly["user"]["domain_id"], &sly["user"]["options"]), (&json!("default"), &json!({})));
        assert_ne!(made, "chosen");
        let (a, b) = (c.get(&admin, "/v2.0/tenants/none").await, c.get(&admin, "/v2.0/users/%00").await);
        assert_eq!((a.status, b.status), (404, 400));
    })
    .await;
}
