//! Bad input: refused with 400, changing nothing, and never a fault of ours.

use super::support::*;
use ferrostack_http::{Access, Method};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

const NOUNS: [&str; 8] =
    ["users", "groups", "projects", "domains", "roles", "services", "endpoints", "regions"];

/// Nouns with bodies of their own kind.
const MORE: [&str; 4] = ["registered_limits", "limits", "policies", "OS-EP-FILTER/endpoint_groups"];

fn singular(plural: &str) -> &str {
    plural.trim_end_matches('s')
}

#[tokio::test]
async fn bad_members() {
    each(async |c| {
        let admin = c.admin().await;
        let mut before = Vec::new();
        for noun in NOUNS {
            before.push(c.get(&admin, &format!("/v3/{noun}")).await.is(200).text);
        }
        let service = c.get(&admin, "/v3/services").await.json()["services"][0]["id"].clone();
        for noun in NOUNS {
            let path = format!("/v3/{noun}");
            let one = singular(noun);
            let good = match noun {
                "services" => json!({"type": "x"}),
                "endpoints" => json!({"interface": "public", "url": "http://x", "service_id": service}),
                "regions" => json!({"id": "x"}),
                _ => json!({"name": "x"}),
            };
            let mut bad: Vec<Value> = vec![
                json!({}),
                json!([]),
                json!("x"),
                json!(null),
                json!({one: 5}),
                json!({one: []}),
                json!({one: null}),
            ];
            let mut with = |name: &str, value: Value| {
                let mut body = good.clone();
                body[name] = value;
                bad.push(json!({one: body}));
            };
            let long = "x".repeat(256);
            for (name, nouns) in [
                ("name", &["users", "groups", "projects", "domains", "roles"][..]),
                ("type", &["services"]),
                ("url", &["endpoints"]),
                ("id", &["regions"]),
            ] {
                if nouns.contains(&noun) {
                    for value in [json!(5), json!(true), json!([]), json!({}), json!(long)] {
                        with(name, value);
                    }
                    if name != "id" {
                        with(name, json!(""));
                        with(name, Value::Null);
                    }
                }
            }
            if ["projects", "domains", "groups"].contains(&noun) {
                with("name", json!("x".repeat(65)));
            }
            with("description", json!(5));
            if noun != "groups" && noun != "roles" && noun != "regions" {
                with("enabled", json!("yes"));
            }
            with("description", json!("a\u{0}b"));
            with("ex\u{0}tra", json!("x"));
            with("extra", json!([{"deep": "\u{0}"}]));
            if noun == "users" {
                with("password", json!(5));
                with("password", json!("x".repeat(5000)));
                with("options", json!({"unknown": true}));
                with("options", json!({"multi_factor_auth_rules": "x"}));
                with("default_project_id", json!(5));
                with("domain_id", json!(5));
            }
            if noun == "projects" {
                with("tags", json!("x"));
                with("tags", json!(["x".repeat(256)]));
                with("options", json!({"immutable": "x"}));
                with("parent_id", json!(5));
            }
            for body in bad {
                let answer = c.post(&admin, &path, body.clone()).await;
                let short: String = body.to_string().chars().take(200).collect();
                assert_eq!(answer.status, 400, "POST {path} {short}: {}", answer.text);
                assert_eq!(answer.json()["error"]["title"], "Bad Request");
                assert!(answer.text.len() < 2000, "{}", answer.text);
            }
            let big = json!({one: {"name": "x", "type": "x", "extra": "y".repeat(200_000)}});
            c.post(&admin, &path, big).await.is(413);
        }
        for (noun, before) in NOUNS.iter().zip(before) {
            assert_eq!(c.get(&admin, &format!("/v3/{noun}")).await.is(200).text, before, "{noun} changed");
        }
    })
    .await;
}

#[tokio::test]
async fn bad_paths_and_queries() {
    each(async |c| {
        let admin = c.admin().await;
        for noun in NOUNS.into_iter().chain(MORE) {
            for id in ["nosuch", "%25", "..%2f", "%27%20OR%201=1--", "%c3%28", &"x".repeat(2000)] {
                let answer = c.get(&admin, &format!("/v3/{noun}/{id}")).await;
                assert!(matches!(answer.status, 400 | 404), "{noun}/{id}: {} {}", answer.status, answer.text);
            }
            c.get(&admin, &format!("/v3/{noun}/%00")).await.is(400);
            c.get(&admin, &format!("/v3/{noun}?name=%00&type=%00")).await.is(400);
            c.get(&admin, &format!("/v3/{noun}?name='%20OR%20''='&name__icontains=%25")).await.is(200);
            c.get(&admin, &format!("/v3/{noun}?{}", "x".repeat(9000))).await.is(400);
        }
        let raw = c.http.post(format!("{}/v3/users", c.base)).header("x-auth-token", &admin);
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(raw.body(deep).send().await.unwrap().status(), 400);
        let raw = c.http.post(format!("{}/v3/users", c.base)).header("x-auth-token", &admin);
        assert_eq!(raw.header("content-type", "text/plain").body("{}").send().await.unwrap().status(), 400);
    })
    .await;
}

/// No answer repeats a password, not even one of the wrong type.
#[tokio::test]
async fn no_password_comes_back() {
    each(async |c| {
        let admin = c.admin().await;
        let user = c.make(&admin, "users", json!({"name": "x", "password": "hunter2"})).await;
        let path = format!("/v3/users/{user}");
        for wrong in [json!(["hunter2"]), json!({"hunter2": 1}), json!({"a": "hunter2"})] {
            for answer in [
                c.post(&admin, "/v3/users", json!({"user": {"name": "y", "password": wrong}})).await,
                c.patch(&admin, &path, json!({"user": {"password": wrong}})).await,
                c.post(
                    &admin,
                    &format!("{path}/password"),
                    json!({"user": {"original_password": wrong, "password": "x"}}),
                )
                .await,
                c.authenticate(
                    json!({"methods": ["password"], "password": {"user": {"id": user, "password": wrong}}}),
                    Value::Null,
                )
                .await,
                c.authenticate(json!({"methods": ["password"], "password": wrong}), Value::Null).await,
                c.authenticate(wrong.clone(), Value::Null).await,
            ] {
                assert_eq!(answer.status, 400, "{}", answer.text);
                assert!(!answer.text.contains("hunter2"), "{}", answer.text);
            }
        }
        assert!(!c.get(&admin, &path).await.text.contains("hunter2"));
    })
    .await;
}

/// A method named a thousand times is checked once.
#[tokio::test]
async fn methods_count_once() {
    each_with(
        |s| s.identity.bcrypt_cost = 10,
        async |c| {
            let mut identity = by_name("admin", "secret");
            identity["methods"] = json!(vec!["password"; 1000]);
            let once = std::time::Instant::now();
            c.login("admin", "secret", Value::Null).await.is(201);
            let once = once.elapsed();
            let many = std::time::Instant::now();
            let body = c.authenticate(identity, Value::Null).await.is(201).json();
            assert_eq!(body["token"]["methods"], json!(["password"]));
            assert!(many.elapsed() < once * 50, "{once:?} {:?}", many.elapsed());
            let unknown: Vec<String> = (0..1000).map(|n| format!("m{n}")).collect();
            c.authenticate(json!({"methods": unknown}), Value::Null).await.is(401);
        },
    )
    .await;
}

fn any_json(depth: u32) -> impl Strategy<Value = Value> {
    let words = [
        "auth",
        "identity",
        "methods",
        "password",
        "token",
        "user",
        "scope",
        "project",
        "domain",
        "id",
        "name",
        "group",
        "role",
        "service",
        "endpoint",
        "region",
        "tags",
        "options",
        "immutable",
        "enabled",
        "parent_id",
        "domain_id",
        "default_project_id",
        "type",
        "url",
        "interface",
        "service_id",
        "region_id",
        "description",
        "original_password",
        "is_domain",
        "system",
        "all",
        "explicit_domain_id",
        "parent_region_id",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        prop::sample::select(words.to_vec()).prop_map(|w| json!(w)),
        prop::sample::select(vec!["default", "RegionOne", "public", "http://x/%(a)s", "unscoped"])
            .prop_map(|w| json!(w)),
        "\\PC{0,12}".prop_map(Value::String),
        ".{0,4}".prop_map(Value::String),
    ];
    leaf.prop_recursive(depth, 40, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            3 => prop::collection::hash_map(prop::sample::select(words.to_vec()), inner, 1..6)
                .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

/// A value that nearly fits `schema`; `other` stands in some places instead.
fn nearly(schema: &Value, other: &Value, rng: &mut impl Rng) -> Value {
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[rng.random_range(0..kinds.len())].clone(),
        kind => kind.clone(),
    };
    if rng.random_range(0..12) == 0 {
        return other.clone();
    }
    let words = ["default", "RegionOne", "public", "http://x", "ldap", "url", "a", "\u{10ffff}"];
    if let Some(values) = schema["enum"].as_array().filter(|v| !v.is_empty()) {
        return values[rng.random_range(0..values.len())].clone();
    }
    match kind.as_str().unwrap_or("object") {
        "object" => {
            let mut out = serde_json::Map::new();
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                if rng.random_range(0..5) > 0 {
                    out.insert(name.clone(), nearly(inner, other, rng));
                }
            }
            if out.is_empty() {
                for _ in 0..rng.random_range(0..3) {
                    let name = words[rng.random_range(0..words.len())];
                    out.insert(name.into(), nearly(&schema["additionalProperties"], other, rng));
                }
            }
            Value::Object(out)
        }
        "array" => (0..rng.random_range(0..3)).map(|_| nearly(&schema["items"], other, rng)).collect(),
        "string" => json!(words[rng.random_range(0..words.len())]),
        "integer" | "number" => json!([-1, 0, 1, i64::from(i32::MAX), i64::MAX][rng.random_range(0..5)]),
        "boolean" => json!(rng.random_range(0..2) == 0),
        _ => Value::Null,
    }
}

/// Random bodies to every route that takes one: no answer is a fault of ours.
#[tokio::test]
async fn random_bodies() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let mut runner = TestRunner::deterministic();
        let mut rng = StdRng::seed_from_u64(7);
        let bodies = any_json(5);
        for route in ferrostack_identity::routes::table() {
            if !matches!(route.method, Method::POST | Method::PATCH | Method::PUT) {
                continue;
            }
            let path = route
                .path
                .replace("{user_id}", &user)
                .replace("{project_id}", &project)
                .replace("{domain_id}", "default");
            let noun = route.path.split('/').nth(2).unwrap_or_default();
            for n in 0..40 {
                let inner = bodies.new_tree(&mut runner).unwrap().current();
                let body = match (n % 3, noun) {
                    (0, _) => inner,
                    (1, _) => route.body_schema().map_or(Value::Null, |s| nearly(&s, &inner, &mut rng)),
                    (_, "auth") => json!({"auth": inner}),
                    (_, noun) => json!({singular(noun): inner}),
                };
                // The test's own user and domain stay usable.
                let text = body.to_string();
                if route.method == Method::PATCH
                    && (text.contains("\"enabled\"") || text.contains("immutable"))
                {
                    continue;
                }
                let answer = c.call(&admin, route.method.as_str(), &path, Some(body.clone())).await;
                assert!(
                    answer.status < 500,
                    "{} {path} {body}: {} {}",
                    route.method,
                    answer.status,
                    answer.text
                );
                // Whoever logs in may be refused; a caller with a good token is not.
                let logs_in = route.access == Access::Public || matches!(noun, "ec2tokens" | "s3tokens");
                assert!(answer.status != 401 || logs_in, "{path} {body}");
            }
        }
    })
    .await;
}
