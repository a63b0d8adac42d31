//! What people call things (M15): every text comes back as it was, in every noun, and stays one line of the log.

use super::*;

/// Texts that mean something to somebody.
fn texts() -> Vec<String> {
    let mut all: Vec<String> = [
        "'; DROP TABLE account; --",
        "\" OR \"1\"=\"1",
        "\\'; --",
        "$1",
        "?",
        ":name",
        "%(user_id)s",
        "{0}",
        "${HOME}",
        "$(id)",
        "`id`",
        "| id",
        "&& id",
        "--help",
        "-x",
        "<b>&amp;</b>",
        "]]>",
        "<!--",
        "{{7*7}}",
        "a\nb",
        "a\r\nb: c",
        "a\tb",
        "\u{1b}[31mred",
        "\u{8}\u{7f}",
        "a\u{2028}\u{2029}b",
        "\u{202e}txt.exe",
        "\u{feff}bom",
        "e\u{301}",
        "é",
        "İı",
        "😀",
        "ﷺ",
        "\u{10ffff}",
        "../../etc/passwd",
        "%00",
        "%0a",
        "null",
        "None",
        "true",
        "0",
        "1e9",
        "__proto__",
        "constructor",
        "a,b",
        "a/b",
        "a;b",
        "[a]",
        "key = \"value\"",
        "2026-11-20T00:00:00Z",
        "INFO forged line",
        "\\u0000",
    ]
    .map(str::to_owned)
    .into();
    all.push("z".repeat(64));
    all
}

#[tokio::test]
async fn m15_every_text_comes_back() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let service = c.make(&admin, "services", json!({"type": "x"})).await;
        for (n, text) in texts().iter().enumerate() {
            let mut made = Vec::new();
            for (noun, mut body) in [
                ("users", json!({"name": text, "description": text, "email": text, "my own": {text.clone(): [text]}})),
                ("groups", json!({"name": text, "description": text})),
                ("projects", json!({"name": text, "description": text, "extra": text})),
                ("domains", json!({"name": text, "description": text})),
                ("roles", json!({"name": text, "description": text})),
                ("services", json!({"name": text, "type": text, "description": text})),
                ("regions", json!({"id": format!("r{n}"), "description": text})),
            ] {
                let one = noun.trim_end_matches('s');
                let answer = c.post(&admin, &format!("/v3/{noun}"), json!({one: body})).await;
                assert_eq!(answer.status, 201, "{noun} {text:?}: {}", answer.text);
                let id = answer.json()[one]["id"].as_str().unwrap().to_owned();
                let shown = c.get(&admin, &format!("/v3/{noun}/{id}")).await.is(200).json()[one].clone();
                if let Some(fields) = body.as_object_mut() {
                    for (field, value) in fields {
                        assert_eq!(shown[field.as_str()], *value, "{noun} {field}");
                    }
                }
                if noun != "regions" {
                    let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
                    let found = c.get(&admin, &format!("/v3/{noun}?name={encoded}")).await.is(200).json();
                    let all = found[noun].as_array().unwrap();
                    assert!(all.len() == 1 && all[0]["id"] == id.as_str(), "{noun}?name={text:?}: {found}");
                }
                made.push(format!("/v3/{noun}/{id}"));
            }
            // Passwords, tags, the parts of an endpoint.
            let path = format!("/v3/users/{user}");
            c.patch(&admin, &path, json!({"user": {"password": text}})).await.is(200);
            c.login("bob", text, json!("unscoped")).await.is(201);
            c.login("bob", &format!("{text}x"), json!("unscoped")).await.is(401);
            if !text.contains([',', '/']) {
                let tags = format!("/v3/projects/{project}/tags");
                c.call(&admin, "PUT", &tags, Some(json!({"tags": [text]}))).await.is(200);
                assert_eq!(c.get(&admin, &tags).await.json()["tags"], json!([text]));
            }
            let endpoint = json!({"endpoint": {"interface": "public", "url": format!("http://h/{}", n), "service_id": service, "name": text}});
            let made_endpoint = c.post(&admin, "/v3/endpoints", endpoint).await.is(201).json();
            assert_eq!(made_endpoint["endpoint"]["name"], json!(text));
            // A token carries the name as it is.
            let identity = json!({"methods": ["password"], "password": {"user": {"name": text, "domain": {"id": "default"}, "password": "x"}}});
            c.authenticate(identity, Value::Null).await.is(401);
            if n % 7 != 0 {
                for path in made.iter().filter(|p| !p.contains("domains")) {
                    c.delete(&admin, path).await.is(204);
                }
            }
        }
        // The tables are all there.
        c.get(&admin, "/v3/users").await.is(200);
    })
    .await;
}

/// Whatever is sent, a line of the log is one event, for people and for machines.
#[tokio::test]
async fn m15_a_log_line_is_one_line() {
    for format in [ferrostack_settings::LogFormat::Json, ferrostack_settings::LogFormat::Human] {
        let service = process::Service::start("secret", |s| {
            s.log.format = format;
            s.log.level = "debug".into();
        })
        .await;
        let admin =
            service.login(by_name("admin", "secret"), process::admin_project()).await.is(201).token.unwrap();
        let own = [("x-auth-token", admin.as_str())];
        for text in texts() {
            let encoded =
                percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).to_string();
            service.send("GET", &format!("/v3/users/{encoded}"), &own, None).await;
            service.send("GET", &format!("/v3/{encoded}?{encoded}={encoded}"), &own, None).await;
            service.send("GET", &format!("/{encoded}"), &[("x-auth-token", "x")], None).await;
            service
                .send("POST", "/v3/users", &own, Some(&json!({"user": {"name": text, "domain_id": text}})))
                .await;
            service
                .send("POST", "/v3/users", &own, Some(&json!({"user": {"name": text, "password": "x"}})))
                .await;
            service.login(by_name(&text, &text), Value::Null).await;
            service.login(by_token(&text), json!("unscoped")).await;
            let header: String = text.chars().filter(|c| matches!(c, ' '..='~' | '\t')).collect();
            service
                .send("GET", "/v3/users", &[("x-auth-token", "x"), ("x-openstack-request-id", &header)], None)
                .await;
            if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
                service.send(&text, "/v3/users", &own, None).await;
            }
        }
        let log = service.log();
        assert!(log.lines().count() > 300);
        for line in log.split('\n').filter(|l| !l.is_empty()) {
            match format {
                ferrostack_settings::LogFormat::Json => {
                    let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                    assert!(event["timestamp"].is_string() && event["level"].is_string(), "{line}");
                }
                ferrostack_settings::LogFormat::Human => {
                    let time =
                        line.get(..20).is_some_and(|t| t.starts_with("20") && t.as_bytes()[10] == b'T');
                    assert!(time, "not the begin of an event: {line}");
                }
            }
            assert!(!line.chars().any(|c| c.is_control() && c != '\t'), "{line:?}");
        }
    }
}

/// A name that is a secret's place in a template is a name.
#[tokio::test]
async fn l17_no_template_is_filled_in_with_what_it_must_not_know() {
    once(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let service = c.make(&admin, "services", json!({"type": "x"})).await;
        for url in [
            "http://h/$(project_id)s/x",
            "http://h/%(tenant_id)s/$(user_id)s",
            "http://h/$(admin_token)s",
            "http://h/%(database)s",
            "http://h/{{x}}",
            "http://h/$(public_bind_host)s",
            "http://h/%(password)s",
            "http://h/$(project_id",
            "http://h/%s",
            "http://h/%(project_id)d",
            "http://h/$($(user_id)s)s",
        ] {
            let body = json!({"endpoint": {"interface": "public", "url": url, "service_id": service}});
            let status = c.post(&admin, "/v3/endpoints", body).await.status;
            assert!(matches!(status, 201 | 400), "{url}: {status}");
        }
        let bob = c.token("bob", "pw", "bob-project").await;
        let catalog = c.get(&bob, "/v3/auth/catalog").await.is(200).json();
        let entry = catalog["catalog"].as_array().unwrap().iter().find(|e| e["type"] == "x").unwrap().clone();
        let urls: Vec<&str> =
            entry["endpoints"].as_array().unwrap().iter().map(|e| e["url"].as_str().unwrap()).collect();
        assert!(urls.contains(&format!("http://h/{project}/x").as_str()), "{urls:?}");
        assert!(urls.contains(&format!("http://h/{project}/{user}").as_str()), "{urls:?}");
        let db = c.settings.database.url.clone();
        assert!(urls.iter().all(|u| !u.contains(&db) && !u.contains("secret")), "{urls:?}");
    })
    .await;
}
