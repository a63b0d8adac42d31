//! Hostile input to every route of the table: an answer in the 400s of a bounded size, nothing changed, never a
//! fault of ours.

use super::{
    matrix::{
        calls,
        calls::Case,
        world::{self, World},
    },
    support::*,
};
use ferrostack_http::{Method, Route};
use serde_json::{Value, json};

/// The routes with their matrix names.
fn routes() -> Vec<(Route, String)> {
    let routes = ferrostack_identity::routes::table();
    routes.into_iter().map(|r| (r.clone(), format!("{} {}", r.method, r.path))).collect()
}

async fn raw(c: &Cloud, token: &str, method: &Method, path: &str, kind: &str, body: String) -> (u16, String) {
    let method = reqwest::Method::from_bytes(method.as_str().as_bytes()).unwrap();
    let request = c.http.request(method, format!("{}{path}", c.base)).header("x-auth-token", token);
    let response = request.header("content-type", kind).body(body).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap_or_default())
}

/// X38: a number as an id was a 500; X39: an error repeated half a megabyte.
#[tokio::test]
async fn ids_of_every_kind_are_not_there() {
    world::each(async |c| {
        let world = World::new(c).await;
        let before = c.digest().await;
        let long = "x".repeat(10 * 1024);
        let fairly = "x".repeat(2000);
        let hostile = [
            "1",
            "-1",
            "0",
            "18446744073709551616",
            "A1B2C3D4-E5F6-4A5B-8C7D-9E0F1A2B3C4D",
            "true",
            "null",
            "None",
            "%7BA1B2C3D4-E5F6-4A5B-8C7D-9E0F1A2B3C4D%7D",
            "%00",
            "a%00b",
            "..%2f..%2fetc",
            "%F0%9F%92%A9",
            "%c3%28",
            "%27%20OR%201=1--",
            "%25s%25n",
            "%0d%0aX-Evil:%201",
            "%ff%fe",
            ";",
            "*",
            "%3Cscript%3E",
            &fairly,
            &long,
        ];
        for (route, name) in routes() {
            let params: Vec<&str> = route.path.split('/').filter(|s| s.starts_with('{')).collect();
            let case = Case { route: &name, variant: "" };
            let who = world.persona("admin");
            let ids = calls::ids(&world, &case, who);
            for param in params {
                // What the path names need not exist for these.
                let free = matches!(param, "{value}" | "{region_id}") && route.method == Method::PUT;
                for id in hostile {
                    let path = calls::fill(&route.path.replace(param, id), &ids);
                    let body = calls::body(&case, &ids, 0).map_or(String::new(), |b| b.to_string());
                    // With all the others in place a success would take something away.
                    if free
                        || (route.method == Method::DELETE
                            && matches!(param, "{value}" | "{group}" | "{option}"))
                    {
                        continue;
                    }
                    let (status, text) =
                        raw(c, &who.token, &route.method, &path, "application/json", body).await;
                    let short: String = path.chars().take(120).collect();
                    // `..` and the like may lead to another route of the table, or to none.
                    let fine = matches!(status, 400..=499) || (status < 300 && route.method == Method::GET);
                    assert!(fine, "{name} {short}: {status} {text}");
                    if status >= 400 {
                        assert!(text.len() <= 4096, "{name} {short}: {} bytes", text.len());
                    }
                }
            }
        }
        assert_eq!(c.digest().await, before);
    })
    .await;
}

/// Dots in a path as no client library sends them: they lead nowhere.
#[tokio::test]
async fn dots_lead_nowhere() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    world::each(async |c| {
        let admin = c.admin().await;
        let user = c.make(&admin, "users", json!({"name": "u", "password": "pw"})).await;
        let before = c.digest().await;
        let address = c.base.trim_start_matches("http://").to_owned();
        for tail in ["%2e%2e", "..", "../..", "..%2f", "%2e%2e%2f..", ".", "%2e"] {
            let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
            let request = format!(
                "DELETE /v3/users/{user}/application_credentials/{tail} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {admin}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert!(status.starts_with('4'), "{tail}: {answer}");
        }
        assert_eq!(c.digest().await, before);
    })
    .await;
}

/// L06: deep JSON crashed a service before it had looked at the token.
#[tokio::test]
async fn deep_json_is_refused() {
    world::each(async |c| {
        let world = World::new(c).await;
        let who = world.persona("admin");
        let before = c.digest().await;
        let mut bodies = Vec::new();
        for depth in [26, 1_000, 50_000] {
            bodies.push(format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            bodies.push("[".repeat(depth));
            let depth = depth.min(15_000);
            bodies.push(format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
        }
        for (route, name) in routes() {
            let case = Case { route: &name, variant: "" };
            let ids = calls::ids(&world, &case, who);
            if calls::body(&case, &ids, 0).is_none() {
                continue;
            }
            let path = calls::fill(route.path, &ids);
            for token in [who.token.as_str(), ""] {
                for body in &bodies {
                    let (status, text) =
                        raw(c, token, &route.method, &path, "application/json", body.clone()).await;
                    assert!(matches!(status, 400 | 401), "{name}: {status} {text}");
                    assert!(text.len() <= 4096);
                }
            }
        }
        assert_eq!(c.digest().await, before);
    })
    .await;
    // A million brackets are more than a body may have.
    world::each(async |c| {
        let admin = c.admin().await;
        let body = "[".repeat(1_000_000);
        let (status, _) = raw(c, &admin, &Method::POST, "/v3/users", "application/json", body).await;
        assert_eq!(status, 413);
        c.get(&admin, "/v3/users").await.is(200);
    })
    .await;
}

/// CVE-2012-1572: passwords and names of any length filled the disk; no body is larger than 114,688 bytes.
#[tokio::test]
async fn ossa_2012_002_bodies_are_limited() {
    world::each(async |c| {
        let world = World::new(c).await;
        let who = world.persona("admin");
        let before = c.digest().await;
        for (route, name) in routes() {
            let case = Case { route: &name, variant: "" };
            let ids = calls::ids(&world, &case, who);
            let Some(Value::Object(mut body)) = calls::body(&case, &ids, 0) else { continue };
            body.insert("padding".into(), json!("x".repeat(120_000)));
            let body = Value::Object(body).to_string();
            let path = calls::fill(route.path, &ids);
            let (status, text) = raw(c, &who.token, &route.method, &path, "application/json", body).await;
            assert_eq!(status, 413, "{name}: {text}");
        }
        let long = json!({"user": {"name": "x".repeat(60_000), "password": "y".repeat(50_000)}});
        c.post(&who.token, "/v3/users", long).await.is(400);
        assert_eq!(c.digest().await, before);
    })
    .await;
}

/// CVE-2013-1664, CVE-2013-1665, CVE-2013-2104: XML bodies blew up or read files; there is no XML here.
#[tokio::test]
async fn ossa_2013_004_and_023_xml_is_refused() {
    world::each(async |c| {
        let world = World::new(c).await;
        let who = world.persona("admin");
        let before = c.digest().await;
        let xml = "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\"><!ENTITY c \"&b;&b;&b;\">]><user name=\"&c;\"/>";
        for (route, name) in routes() {
            let case = Case { route: &name, variant: "" };
            let ids = calls::ids(&world, &case, who);
            let Some(body) = calls::body(&case, &ids, 0) else { continue };
            let path = calls::fill(route.path, &ids);
            for kind in ["application/xml", "text/xml", "application/x-www-form-urlencoded", "multipart/form-data"] {
                for body in [xml.to_owned(), body.to_string()] {
                    let (status, text) = raw(c, &who.token, &route.method, &path, kind, body).await;
                    assert!(matches!(status, 400 | 415), "{name} as {kind}: {status} {text}");
                    assert!(!text.contains("root:"), "{text}");
                }
            }
            let (status, text) = raw(c, &who.token, &route.method, &path, "application/json", xml.into()).await;
            assert_eq!(status, 400, "{name}: {text}");
        }
        assert_eq!(c.digest().await, before);
    })
    .await;
}

/// CVE-2014-3621: a catalog URL with `$(admin_token)s` told the configuration.
#[tokio::test]
async fn ossa_2014_029_only_listed_names_are_filled_into_urls() {
    world::each(async |c| {
        let admin = c.admin().await;
        let service = c.make(&admin, "services", json!({"type": "compute2", "name": "nova2"})).await;
        let body =
            |url: &str| json!({"endpoint": {"interface": "public", "url": url, "service_id": service}});
        for name in [
            "admin_token",
            "password",
            "identity_uri",
            "db_connection",
            "__class__",
            "project_id.__class__",
            "",
            " ",
            "PROJECT_ID",
            "user_id)s%(admin_token",
            "domain_id",
            "service_id",
            "token",
        ] {
            for url in [
                format!("http://x/%({name})s"),
                format!("http://x/$({name})s"),
                format!("http://x/%({name})d"),
            ] {
                c.post(&admin, "/v3/endpoints", body(&url)).await.is(400);
            }
        }
        for url in [
            "http://x/%(project_id",
            "http://x/$(tenant_id)",
            "http://x/%(user_id)",
            "http://x/%(project_id)r",
        ] {
            c.post(&admin, "/v3/endpoints", body(url)).await.is(400);
        }
        let good = "http://x/%(project_id)s/$(tenant_id)s/%(user_id)s/%20";
        let made = c.post(&admin, "/v3/endpoints", body(good)).await.is(201).json();
        let path = format!("/v3/endpoints/{}", made["endpoint"]["id"].as_str().unwrap());
        c.patch(&admin, &path, json!({"endpoint": {"url": "http://x/$(admin_token)s"}})).await.is(400);
        let shown = c.get(&admin, "/v3/auth/catalog").await.is(200).json();
        let entry =
            shown["catalog"].as_array().unwrap().iter().find(|e| e["type"] == "compute2").unwrap().clone();
        let token = c
            .login("admin", "secret", json!({"project": {"name": "admin", "domain": {"id": "default"}}}))
            .await;
        let token = token.json();
        let [project, user] =
            ["project", "user"].map(|n| token["token"][n]["id"].as_str().unwrap().to_owned());
        assert_eq!(entry["endpoints"][0]["url"], format!("http://x/{project}/{project}/{user}/%20"));
    })
    .await;
}

/// A query of any kind to every list: filtered or refused.
#[tokio::test]
async fn queries_of_every_kind() {
    world::each(async |c| {
        let world = World::new(c).await;
        let who = world.persona("admin");
        for (route, name) in routes() {
            if route.method != Method::GET {
                continue;
            }
            let case = Case { route: &name, variant: "" };
            let path = calls::fill(route.path, &calls::ids(&world, &case, who));
            for query in [
                "limit=0",
                "limit=-1",
                "limit=x",
                "limit=99999999999999999999",
                "marker=nosuch",
                "marker=%00",
                "marker=",
                "after=x",
                "name=%27%3B%20DROP%20TABLE%20account--",
                "name__regex=(a%2B)%2B",
                "name__contains=%25",
                "enabled=maybe",
                "&&&=&",
                "effective&include_names&include_subtree",
                "password_expires_at=x",
                "password_expires_at=lt:x",
                "a[]=1",
                "=",
                "sort_key=password&sort_dir=x",
                "%ff=%fe",
                "tags=,,,&not-tags-any=,",
                "user.id=%F0%9F%92%A9",
                "nocatalog",
            ] {
                let answer = c.get(&who.token, &format!("{path}?{query}")).await;
                assert!(answer.status < 500, "{name}?{query}: {}", answer.text);
                assert!(answer.status < 400 || answer.text.len() <= 4096);
            }
        }
    })
    .await;
}
