//! `identity.policy_file`: read at the start, read again when it changes, refused with its line.

use super::support::*;
use serde_json::json;

#[tokio::test]
async fn overrides_are_read_again_without_a_restart() {
    each_with(
        |s| {
            let path = s.identity.key_directory.with_file_name("policy.yaml");
            std::fs::write(&path, "# nothing yet\n").unwrap();
            s.identity.policy_file = Some(path);
        },
        async |c| {
            let path = c.settings.identity.policy_file.clone().unwrap();
            let write = |text: &str| {
                // As an editor does: the new file takes the old one's place.
                let new = path.with_extension("new");
                std::fs::write(&new, text).unwrap();
                std::fs::rename(new, &path).unwrap();
            };
            let admin = c.admin().await;
            c.person(&admin, "bob", "member").await;
            let bob = c.token("bob", "pw", "bob-project").await;
            let becomes = async |status: u16| {
                eventually("the new rule", async || c.get(&bob, "/v3/services").await.status == status).await;
            };
            c.get(&bob, "/v3/services").await.is(403);
            write("\"identity:list_services\": \"role:member and rule:ours\"\nours: \"project_domain_id:default\"\n");
            becomes(200).await;
            // A bad file changes nothing, however often it is looked at, nor does one that is gone.
            write("\"identity:list_services\": \"!\"\n\"identity:list_servces\": \"!\"\n");
            std::thread::sleep(std::time::Duration::from_millis(2500));
            c.get(&bob, "/v3/services").await.is(200);
            std::fs::remove_file(&path).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(1500));
            c.get(&bob, "/v3/services").await.is(200);
            write("{\"identity:list_services\":\n\t\"!\"}");
            becomes(403).await;
            c.get(&admin, "/v3/services").await.is(403);
            write("");
            eventually("the default", async || c.get(&admin, "/v3/services").await.status == 200).await;
            c.get(&bob, "/v3/services").await.is(403);
            // At the start a bad file is fatal, and the error says where it is bad.
            c.pause().await;
            for (text, said) in [
                ("\n\"identity:list_users\": \"role:a or\"\n", "policy.yaml: line 2: rule 'identity:list_users': "),
                ("a: b:c\n", "policy.yaml: line 1: rule 'a': "),
                ("\"identity:list_users\": [\n", "policy.yaml: line "),
            ] {
                write(text);
                let started = ferrostack_identity::start(&c.settings, c.bus.clone(), Default::default()).await;
                let error = started.err().expect("it started with a bad file").for_log();
                assert!(error.contains(said), "{error}");
            }
            write("");
            c.resume().await;
        },
    )
    .await;
}

/// `enforce_scope`: what concerns the deployment is not for tokens of a domain, whatever their roles.
#[tokio::test]
async fn rules_are_for_scopes() {
    for (enforce, status) in [(true, 403), (false, 200)] {
        each_with(
            |s| s.identity.enforce_scope = enforce,
            async |c| {
                let admin = c.admin().await;
                let user = c.get(&admin, "/v3/users?name=admin").await.json()["users"][0]["id"].clone();
                let user = user.as_str().unwrap();
                let role = c.role(&admin, "admin").await;
                c.put(&admin, &format!("/v3/domains/default/users/{user}/roles/{role}")).await.is(204);
                let domain = c.login("admin", "secret", json!({"domain": {"id": "default"}})).await.is(201);
                let domain = domain.token.unwrap();
                for path in
                    ["/v3/services", "/v3/endpoints", "/v3/roles?domain_id=default", "/v3/role_inferences"]
                {
                    c.get(&domain, path).await.is(status);
                    c.get(&admin, path).await.is(200);
                }
                for path in ["/v3/users", "/v3/projects", "/v3/domains", "/v3/roles", "/v3/regions"] {
                    c.get(&domain, path).await.is(200);
                }
            },
        )
        .await;
    }
}
