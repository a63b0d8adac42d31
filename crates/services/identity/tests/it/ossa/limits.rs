//! How much of anything is taken (M11), and that no input is a fault of ours (M12).

use super::*;
use ferrostack_http::Access;
use std::time::{Duration, Instant};

/// The longest that a refusal may take on this machine, which runs other tests.
const SOON: Duration = Duration::from_millis(1500);

fn nested(depth: usize, open: &str, close: &str, inner: &str) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

async fn raw(c: &Cloud, token: &str, path: &str, body: String) -> (u16, Duration, String) {
    let since = Instant::now();
    let answer = c
        .http
        .post(format!("{}{path}", c.base))
        .header("x-auth-token", token)
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await;
    // A connection that is closed while a far too long body is being sent is a refusal, too.
    match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            (status, since.elapsed(), answer.text().await.unwrap_or_default())
        }
        Err(_) => (413, since.elapsed(), String::new()),
    }
}

/// One table: what, at the limit, one more, a thousand times more.
#[tokio::test]
async fn m11_every_limit_holds() {
    once(async |c| {
        let admin = c.admin().await;
        let body = |extra: usize| {
            let frame = json!({"user": {"name": "", "note": ""}}).to_string().len();
            json!({"user": {"name": format!("b{extra:08}"), "note": "x".repeat(extra - frame - 9)}})
                .to_string()
        };
        let limit = 114_688;
        // Length of the body.
        assert_eq!(raw(c, &admin, "/v3/users", body(limit)).await.0, 201);
        for over in [limit + 1, limit * 10, limit * 1000] {
            let (status, took, _) = raw(c, &admin, "/v3/users", body(over)).await;
            assert_eq!(status, 413, "{over} bytes");
            assert!(over > limit * 100 || took < SOON, "{took:?}");
        }
        // Depth of JSON. The parser's own limit is 128.
        for (depth, good) in [(20, true), (126, true), (129, false), (1000, false), (50_000, false)] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let inner = nested(depth - 1, open, close, "1");
                if inner.len() > 110_000 {
                    continue;
                }
                let text = format!("{{\"role\":{{\"name\":\"d{depth}{}\",\"x\":{inner}}}}}", open.len());
                let (status, took, answer) = raw(c, &admin, "/v3/roles", text).await;
                let wanted: &[u16] = if good && depth < 100 {
                    &[201]
                } else if good {
                    &[201, 400]
                } else {
                    &[400]
                };
                assert!(wanted.contains(&status), "{depth} of {open}: {status}");
                assert!(took < SOON && answer.len() <= 4096, "{took:?} {}", answer.len());
                // Without a token, too.
                let (status, ..) = raw(c, "", "/v3/auth/tokens", nested(depth, open, close, "1")).await;
                assert_eq!(status, 400);
            }
        }
        // Many keys; one key many times.
        let keys: String = (0..6000).map(|n| format!(",\"k{n}\":1")).collect();
        assert_eq!(
            raw(c, &admin, "/v3/users", format!("{{\"user\":{{\"name\":\"keys\"{keys}}}}}")).await.0,
            201
        );
        let twice = "{\"user\":{\"name\":\"one\",\"name\":\"two\"}}".to_owned();
        let (status, _, text) = raw(c, &admin, "/v3/users", twice).await;
        assert!(status == 400 || text.contains("\"two\""), "{status} {text}");
        // Length of the address.
        for (length, good) in [(8000, true), (8193, false), (60_000, false)] {
            let path = format!("/v3/users?x={}", "y".repeat(length - 12));
            assert_eq!(c.get(&admin, &path).await.status, if good { 200 } else { 400 }, "{length}");
        }
        // Many values in a query.
        let many: String = (0..500).map(|n| format!("&name=n{n}")).collect();
        let since = Instant::now();
        c.get(&admin, &format!("/v3/users?enabled=true{many}")).await.is(200);
        assert!(since.elapsed() < SOON);
        // Length of a token.
        for length in [8192, 8193, 20_000] {
            c.get(&"t".repeat(length), "/v3/users").await.is(401);
        }
        // Size of a page.
        for query in ["limit=0", "limit=-1", "limit=x", "limit=99999999999999999999"] {
            let status = c.get(&admin, &format!("/v3/users?{query}")).await.status;
            assert!(matches!(status, 200 | 400), "{query}: {status}");
        }
    })
    .await;
}

/// Every text whose length the schema of a route limits: the longest is taken or refused for another reason, one
/// more character is refused, a thousand times as many too, and quickly, with a short answer.
#[tokio::test]
async fn m11_every_text_has_its_length() {
    once(async |c| {
        let admin = c.admin().await;
        let mut tried = 0;
        for route in ferrostack_identity::routes::table() {
            let Some(schema) = route.body_schema() else { continue };
            if !matches!(route.method.as_str(), "POST" | "PATCH" | "PUT") || route.access == Access::Public {
                continue;
            }
            let Some(outer) = schema["properties"].as_object() else { continue };
            for (noun, inner) in outer {
                let Some(fields) = inner["properties"].as_object() else { continue };
                for (field, rule) in fields {
                    let Some(most) = rule["maxLength"].as_u64() else { continue };
                    let most = usize::try_from(most).unwrap();
                    for length in [most + 1, most * 2, (most * 1000).min(100_000)] {
                        tried += 1;
                        let mut object: serde_json::Map<String, Value> = inner["required"]
                            .as_array()
                            .into_iter()
                            .flatten()
                            .filter_map(Value::as_str)
                            .map(|name| (name.to_owned(), json!("x")))
                            .collect();
                        object.insert(field.clone(), json!("x".repeat(length)));
                        let since = Instant::now();
                        let answer = c
                            .call(
                                &admin,
                                route.method.as_str(),
                                &fill(route.path, &[]),
                                Some(json!({noun: object})),
                            )
                            .await;
                        let what = format!("{} {} {field} of {length}", route.method, route.path);
                        assert!(matches!(answer.status, 400 | 403 | 404 | 413), "{what}: {}", answer.status);
                        assert!(since.elapsed() < SOON, "{what}: {:?}", since.elapsed());
                        assert!(answer.text.len() <= 4096, "{what}: {} bytes", answer.text.len());
                    }
                }
            }
        }
        assert!(tried > 60, "{tried}");
    })
    .await;
}

/// Many small calls get no further than a large one.
#[tokio::test]
async fn l07_small_steps_meet_the_same_limit() {
    once(async |c| {
        let admin = c.admin().await;
        let project = c.make(&admin, "projects", json!({"name": "p"})).await;
        let path = format!("/v3/projects/{project}/tags");
        let tags: Vec<String> = (0..80).map(|n| format!("t{n}")).collect();
        c.call(&admin, "PUT", &path, Some(json!({"tags": tags}))).await.is(200);
        c.put(&admin, &format!("{path}/one-more")).await.is(400);
        c.put(&admin, &format!("{path}/t1")).await.is(201);
        c.call(
            &admin,
            "PUT",
            &path,
            Some(json!({"tags": (0..81).map(|n| n.to_string()).collect::<Vec<_>>()})),
        )
        .await
        .is(400);
        assert_eq!(c.get(&admin, &path).await.json()["tags"].as_array().unwrap().len(), 80);
        c.delete(&admin, &format!("{path}/t1")).await.is(204);
        // Together, too.
        let puts = (0..10).map(|n| {
            let (c, path, admin) = (&*c, &path, &admin);
            async move { c.put(admin, &format!("{path}/new{n}")).await.status }
        });
        let done = futures_util::future::join_all(puts).await;
        assert!(done.iter().all(|s| matches!(s, 201 | 400 | 409)), "{done:?}");
        assert!(c.get(&admin, &path).await.json()["tags"].as_array().unwrap().len() <= 80);
    })
    .await;
}

/// Strings that make careless patterns run for ever, in every header and where names are searched.
#[tokio::test]
async fn l10_no_header_costs_more_than_its_length() {
    once(async |c| {
        let admin = c.admin().await;
        let evil = [
            "a".repeat(30_000) + "!",
            "a,".repeat(15_000),
            " ".repeat(30_000) + "x",
            "text/html;".repeat(3_000),
            "(".repeat(30_000),
            "\"\\".repeat(15_000),
            "%".repeat(30_000),
            ";q=0.1111111111".repeat(2_000),
        ];
        for header in [
            "accept",
            "accept-language",
            "accept-encoding",
            "content-type",
            "user-agent",
            "if-none-match",
            "range",
            "cookie",
            "authorization",
            "x-auth-token",
            "x-subject-token",
            "x-service-token",
            "x-openstack-request-id",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-proto",
            "openstack-api-version",
            "expect",
            "te",
            "if-modified-since",
        ] {
            for value in &evil {
                let mut headers = vec![(header, value.as_str())];
                if header != "x-auth-token" {
                    headers.push(("x-auth-token", admin.as_str()));
                }
                let since = Instant::now();
                let answer = c.send(Method::GET, "/v3/auth/projects", &headers, None).await;
                assert!(answer.status < 500, "{header}: {}", answer.status);
                assert!(since.elapsed() < Duration::from_millis(500), "{header}: {:?}", since.elapsed());
            }
        }
        for query in ["name__contains=", "name__startswith=", "name=", "tags=", "marker=", "sort_key="] {
            for value in
                ["%25".repeat(1000), "_".repeat(3000), "%2b(a%2b)%2b%24".repeat(200), "%5c".repeat(1000)]
            {
                let since = Instant::now();
                for noun in ["users", "projects", "groups"] {
                    let answer = c.get(&admin, &format!("/v3/{noun}?{query}{value}")).await;
                    assert!(answer.status < 500, "{query}{value}: {}", answer.status);
                }
                assert!(since.elapsed() < SOON, "{query}: {:?}", since.elapsed());
            }
        }
    })
    .await;
}

/// Any method, address, query, headers and body: whoever asks, it is never a fault of ours.
#[tokio::test]
async fn m12_no_input_is_a_fault_of_ours() {
    use rand::{Rng, seq::IndexedRandom};
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let mut rng = rand::rng();
        let pieces = [
            "",
            "0",
            "-1",
            "1",
            "true",
            "null",
            "None",
            "default",
            "admin",
            "'",
            "\"",
            "\\",
            "%00",
            "%",
            "%2",
            "%zz",
            "%c3%28",
            "..",
            "%2e%2e",
            "%2f",
            "é",
            "😀",
            "a b",
            "{user_id}",
            "[]",
            "18446744073709551616",
            "1e999",
            "NaN",
            "<x>",
            ";",
            "&",
            "=",
            "?",
            "#",
            "*",
            "2026-01-01T00:00:00Z",
        ];
        let names = [
            "name",
            "domain_id",
            "limit",
            "marker",
            "sort_key",
            "sort_dir",
            "enabled",
            "user.id",
            "role.id",
            "scope.project.id",
            "scope.system",
            "scope.OS-INHERIT:inherited_to",
            "include_names",
            "effective",
            "include_subtree",
            "parents_as_list",
            "subtree_as_ids",
            "tags",
            "tags-any",
            "not-tags",
            "not-tags-any",
            "is_domain",
            "parent_id",
            "since",
            "after",
            "nocatalog",
            "allow_expired",
            "type",
            "region_id",
            "service_id",
            "interface",
            "password_expires_at",
            "unique_id",
            "idp_id",
            "group.id",
            "name__contains",
            "x",
        ];
        let values = |rng: &mut rand::rngs::ThreadRng| match rng.random_range(0..9) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(rng.random::<i64>()),
            3 => json!(rng.random::<f64>()),
            4 => json!([]),
            5 => json!({}),
            6 => json!("\u{feff}\u{202e}x"),
            7 => json!([{"id": "x"}, null, 5]),
            _ => json!(*pieces.choose(rng).unwrap()),
        };
        let table = ferrostack_identity::routes::table();
        for round in 0..800 {
            let route = table.choose(&mut rng).unwrap();
            let ids = [user.as_str(), project.as_str(), "default", pieces.choose(&mut rng).unwrap()];
            let mut path: String = route
                .path
                .split('/')
                .map(|s| {
                    if s.starts_with('{') {
                        (*ids.choose(&mut rng).unwrap()).to_owned()
                    } else {
                        s.to_owned()
                    }
                })
                .collect::<Vec<_>>()
                .join("/");
            for n in 0..rng.random_range(0..4) {
                path += if n == 0 { "?" } else { "&" };
                path += names.choose(&mut rng).unwrap();
                path += if rng.random_bool(0.9) { "=" } else { "" };
                path += pieces.choose(&mut rng).unwrap();
            }
            let Ok(url) = reqwest::Url::parse(&format!("{}{path}", c.base)) else { continue };
            let mut object = serde_json::Map::new();
            let noun = route
                .path
                .split('/')
                .rfind(|s| !s.starts_with('{'))
                .unwrap()
                .trim_end_matches('s')
                .to_owned();
            for field in [
                "name",
                "id",
                "user_id",
                "project_id",
                "type",
                "blob",
                "enabled",
                "options",
                "description",
                "roles",
                "url",
            ] {
                if rng.random_bool(0.3) {
                    object.insert(field.into(), values(&mut rng));
                }
            }
            // The two that the test needs stay as they are.
            object.remove("enabled");
            let body = if rng.random_bool(0.7) { json!({noun: object}) } else { values(&mut rng) };
            let method = if rng.random_bool(0.8) {
                route.method.as_str()
            } else {
                ["GET", "PUT", "PATCH", "POST", "HEAD", "OPTIONS"].choose(&mut rng).unwrap()
            };
            if method == "DELETE" && rng.random_bool(0.9) {
                continue;
            }
            let mut request = c
                .http
                .request(Method::from_bytes(method.as_bytes()).unwrap(), url)
                .header("x-auth-token", if rng.random_bool(0.8) { &admin } else { &bob });
            for header in [
                "x-subject-token",
                "x-service-token",
                "accept",
                "content-type",
                "if-match",
                "x-openstack-request-id",
            ] {
                if rng.random_bool(0.2) {
                    let value: String =
                        pieces.choose(&mut rng).unwrap().chars().filter(char::is_ascii_graphic).collect();
                    request = request.header(header, value);
                }
            }
            let sent = body.to_string();
            let answer = request.body(sent.clone()).send().await.unwrap();
            let status = answer.status().as_u16();
            assert!(
                status < 500,
                "round {round}: {method} {path} {sent}: {status} {}",
                answer.text().await.unwrap()
            );
        }
    })
    .await;
}
