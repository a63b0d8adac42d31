//! OS-REVOKE events, and all tokens of a user.

use super::support::*;
use serde_json::{Value, json};

const EVENTS: &str = "/v3/OS-REVOKE/events";

#[tokio::test]
async fn events() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        c.get(&bob, EVENTS).await.is(403);
        let before = c.get(&admin, EVENTS).await.is(200).json();
        assert_eq!(
            before["links"],
            json!({"next": null, "previous": null, "self": format!("{}{EVENTS}", c.base)})
        );
        let audit = c.validate(&admin, &bob).await.is(200).json()["token"]["audit_ids"][0].clone();
        c.send(
            reqwest::Method::DELETE,
            "/v3/auth/tokens",
            &[("x-auth-token", &admin), ("x-subject-token", &bob)],
            None,
        )
        .await
        .is(204);
        let role = c.make(&admin, "roles", json!({"name": "temp"})).await;
        let grant = format!("/v3/projects/{project}/users/{user}/roles/{role}");
        c.put(&admin, &grant).await.is(204);
        c.delete(&admin, &grant).await.is(204);
        c.patch(&admin, &format!("/v3/projects/{project}"), json!({"project": {"enabled": false}}))
            .await
            .is(200);
        let all = c.get(&admin, EVENTS).await.is(200).json();
        let events = all["events"].as_array().unwrap();
        assert!(events.len() > before["events"].as_array().unwrap().len());
        for event in events {
            // Never a time alone: that would refuse every token.
            assert!(event.as_object().unwrap().len() >= 2, "{event}");
            assert!(event["issued_before"].as_str().unwrap().ends_with('Z'));
        }
        assert!(events.iter().any(|e| e["audit_id"] == audit && e.as_object().unwrap().len() == 2));
        assert!(events.iter().any(|e| e["project_id"] == project));

        let since = async |text: &str| c.get(&admin, &format!("{EVENTS}?since={text}")).await;
        let last = events.last().unwrap()["issued_before"].as_str().unwrap();
        assert_eq!(since(last).await.is(200).json()["events"].as_array().unwrap().len(), 1);
        assert_eq!(since("2100-01-01T00:00:00Z").await.is(200).json()["events"], json!([]));
        assert_eq!(since("2000-01-01T00:00:00").await.is(200).json()["events"], all["events"]);
        for bad in ["yesterday", "%27", "99999999999999999999", &"9".repeat(2000)] {
            let answer = since(bad).await.is(400);
            assert!(answer.text.len() < 1000);
        }
        // The service users may read them.
        let service = std::fs::read_to_string(&c.settings.credentials.password_file).unwrap();
        let nova = c.token("nova", service.trim(), "service").await;
        c.get(&nova, EVENTS).await.is(200);
    })
    .await;
}

#[tokio::test]
async fn all_tokens_of_a_user() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "reader").await;
        let (_, eve) = c.person(&admin, "eve", "reader").await;
        let path = format!("/v3/users/{user}/tokens");
        let of_eve = c.token("eve", "pw", "eve-project").await;
        let tokens = [
            c.token("bob", "pw", "bob-project").await,
            c.login("bob", "pw", Value::Null).await.is(201).token.unwrap(),
        ];
        c.delete(&of_eve, &path).await.is(403);
        c.validate(&admin, &tokens[0]).await.is(200);
        c.delete(&admin, &path).await.is(204);
        for token in &tokens {
            c.validate(&admin, token).await.is(404);
            c.get(token, "/v3/auth/projects").await.is(401);
        }
        c.get(&of_eve, "/v3/auth/projects").await.is(200);
        // One's own, and new ones come.
        let new = c.token("bob", "pw", "bob-project").await;
        c.delete(&new, &path).await.is(204);
        c.get(&new, "/v3/auth/projects").await.is(401);
        c.delete(&of_eve, &format!("/v3/users/{eve}/tokens")).await.is(204);
        c.delete(&admin, "/v3/users/nosuch/tokens").await.says(404, "Could not find user: nosuch.");
    })
    .await;
}
