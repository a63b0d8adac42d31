//! Users and groups.

use super::support::*;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_user_lives() {
    each(async |c| {
        let admin = c.admin().await;
        let made = c.post(&admin, "/v3/users", json!({"user": {"name": "bob", "password": "pw1", "email": "b@x", "foo": [1, {"a": null}]}})).await;
        let body = made.is(201).json();
        let user = &body["user"];
        let id = user["id"].as_str().unwrap();
        assert_eq!(
            user.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["email", "foo", "id", "name", "domain_id", "enabled", "password_expires_at", "options", "links"]
        );
        assert_eq!(user["foo"], json!([1, {"a": null}]));
        assert_eq!(user["links"]["self"], format!("{}/v3/users/{id}", c.base));
        assert_eq!((id.len(), &user["domain_id"], &user["enabled"]), (32, &json!("default"), &json!(true)));
        c.post(&admin, "/v3/users", json!({"user": {"name": "bob"}})).await.says(
            409,
            "Conflict occurred attempting to store user - Duplicate entry found with name bob at domain ID default.",
        );
        let path = format!("/v3/users/{id}");
        assert_eq!(c.get(&admin, &path).await.is(200).json(), body);
        let changed = c
            .patch(&admin, &path, json!({"user": {"name": "rob", "email": "r@x", "description": "d", "enabled": false}}))
            .await
            .is(200)
            .json();
        assert_eq!(changed["user"]["name"], "rob");
        assert_eq!((&changed["user"]["email"], &changed["user"]["foo"]), (&json!("r@x"), &user["foo"]));
        c.patch(&admin, &path, json!({"user": {"domain_id": "other"}})).await.says(400, "Cannot change Domain ID");
        c.patch(&admin, &path, json!({"user": {"id": "other"}})).await.says(400, "Cannot change user ID");
        c.patch(&admin, &path, json!({"user": {"default_project_id": "default"}}))
            .await
            .says(400, "User's default project ID cannot be a domain ID: default");
        c.make(&admin, "users", json!({"name": "eve"})).await;
        assert_eq!(c.patch(&admin, &path, json!({"user": {"name": "eve"}})).await.status, 409);
        assert!(!c.get(&admin, "/v3/users").await.text.contains("sha384"));
        c.delete(&admin, &path).await.is(204);
        c.get(&admin, &path).await.says(404, &format!("Could not find user: {id}."));
        c.delete(&admin, &path).await.is(404);
        c.patch(&admin, &path, json!({"user": {}})).await.is(404);
    })
    .await;
}

#[tokio::test]
async fn what_a_member_sees_of_users() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let (_, other) = c.person(&admin, "eve", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        c.get(&bob, &format!("/v3/users/{user}")).await.is(200);
        let refusal = "You are not authorized to perform the requested action: identity:get_user.";
        c.get(&bob, &format!("/v3/users/{other}")).await.says(403, refusal);
        // Not even that one does not exist.
        c.get(&bob, "/v3/users/nosuch").await.says(403, refusal);
        c.get(&bob, "/v3/users").await.is(403);
        c.patch(&bob, &format!("/v3/users/{user}"), json!({"user": {"enabled": false}})).await.is(403);
        let mine = c.get(&bob, &format!("/v3/users/{user}/projects")).await.is(200).json();
        assert_eq!(mine["projects"][0]["name"], "bob-project");
        c.get(&bob, &format!("/v3/users/{other}/projects")).await.is(403);
        c.get(&bob, &format!("/v3/users/{user}/groups")).await.is(200);
        let body = c.get(&bob, "/v3/auth/projects").await.is(200).json();
        assert_eq!(body["projects"].as_array().unwrap().len(), 1);
        assert_eq!(c.get(&bob, "/v3/auth/domains").await.is(200).json()["domains"], json!([]));
        assert_eq!(c.get(&bob, "/v3/auth/system").await.is(200).json()["system"], json!([]));
        assert_eq!(c.get(&admin, "/v3/auth/system").await.is(200).json()["system"], json!([{"all": true}]));
    })
    .await;
}

#[tokio::test]
async fn ones_own_password() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let path = format!("/v3/users/{user}/password");
        let change = async |old: &str, new: &str| {
            let body = json!({"user": {"original_password": old, "password": new}});
            c.send(Method::POST, &path, &[], Some(&body)).await
        };
        change("wrong", "new").await.says(401, UNAUTHORIZED);
        let long = "ü".repeat(2000);
        change("pw", &long).await.is(204);
        c.login("bob", "pw", Value::Null).await.is(401);
        c.login("bob", &long, Value::Null).await.is(201);
        // bcrypt alone would take these for the same.
        c.login("bob", &"ü".repeat(1999), Value::Null).await.is(401);
        change(&long, &"x".repeat(4097)).await.is(400);
        change(&long, "pw").await.is(204);
        c.send(
            Method::POST,
            "/v3/users/nosuch/password",
            &[],
            Some(&json!({"user": {"original_password": "a", "password": "b"}})),
        )
        .await
        .says(401, UNAUTHORIZED);
        c.send(Method::POST, &path, &[], Some(&json!({"user": {"password": "b"}})))
            .await
            .says(400, "'original_password' is a required property");
        let own = format!("/v3/users/{user}");
        c.patch(&admin, &own, json!({"user": {"options": {"lock_password": true}}})).await.is(200);
        change("pw", "new").await.is(400);
        c.patch(&admin, &own, json!({"user": {"options": {"lock_password": null}, "enabled": false}}))
            .await
            .is(200);
        change("pw", "new").await.says(401, UNAUTHORIZED);
        c.get(&admin, &path).await.is(405);
    })
    .await;
}

#[tokio::test]
async fn a_group_and_its_members() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let body = c.post(&admin, "/v3/groups", json!({"group": {"name": "g", "x": 1}})).await.is(201).json();
        assert_eq!(
            body["group"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["x", "id", "name", "domain_id", "description", "links"]
        );
        let path = format!("/v3/groups/{}", body["group"]["id"].as_str().unwrap());
        let member = format!("{path}/users/{user}");
        c.get(&admin, &member).await.is(404);
        c.put(&admin, &member).await.is(204);
        c.put(&admin, &member).await.is(204);
        c.get(&admin, &member).await.is(204);
        c.call(&admin, "HEAD", &member, None).await.is(204);
        assert_eq!(c.get(&admin, &format!("{path}/users")).await.is(200).json()["users"][0]["name"], "bob");
        assert_eq!(c.get(&admin, &format!("/v3/users/{user}/groups")).await.is(200).json()["groups"][0]["name"], "g");
        c.put(&admin, &format!("{path}/users/nosuch")).await.says(404, "Could not find user: nosuch.");
        c.delete(&admin, &member).await.is(204);
        c.delete(&admin, &member).await.is(404);
        c.post(&admin, "/v3/groups", json!({"group": {"name": "g"}})).await.is(409);
        assert_eq!(c.patch(&admin, &path, json!({"group": {"description": "d"}})).await.is(200).json()["group"]["description"], "d");
        assert_eq!(c.get(&admin, "/v3/groups?name=g").await.is(200).json()["groups"].as_array().unwrap().len(), 1);
        c.delete(&admin, &path).await.is(204);
        c.get(&admin, &path).await.is(404);
    })
    .await;
}

/// A manager of a domain rules its users, groups and projects, and nothing beside.
#[tokio::test]
async fn a_domain_manager_stays_in_the_domain() {
    each(async |c| {
        let admin = c.admin().await;
        let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
        let boss =
            c.make(&admin, "users", json!({"name": "boss", "domain_id": domain, "password": "pw"})).await;
        let (manager, role_admin) = (c.role(&admin, "manager").await, c.role(&admin, "admin").await);
        c.put(&admin, &format!("/v3/domains/{domain}/users/{boss}/roles/{manager}")).await.is(204);
        let identity = json!({"methods": ["password"], "password": {"user": {"id": boss, "password": "pw"}}});
        let token = c.authenticate(identity, json!({"domain": {"id": domain}})).await.is(201).token.unwrap();
        // Without a domain in the body it is the token's.
        let user = c.make(&token, "users", json!({"name": "u"})).await;
        let project = c.make(&token, "projects", json!({"name": "p"})).await;
        let group = c.make(&token, "groups", json!({"name": "g"})).await;
        let shown = c.get(&token, &format!("/v3/users/{user}")).await.is(200).json();
        assert_eq!(shown["user"]["domain_id"], domain.as_str());
        let names = |body: Value, what: &str| -> Vec<String> {
            body[what].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(c.get(&token, "/v3/users").await.is(200).json(), "users"), ["boss", "u"]);
        assert_eq!(
            names(c.get(&token, "/v3/users?domain_id=default").await.is(200).json(), "users"),
            [""; 0]
        );
        assert_eq!(names(c.get(&token, "/v3/projects").await.is(200).json(), "projects"), ["p"]);
        assert_eq!(names(c.get(&token, "/v3/groups").await.is(200).json(), "groups"), ["g"]);
        assert_eq!(names(c.get(&token, "/v3/domains").await.is(200).json(), "domains"), ["d"]);
        for (plural, body) in [
            ("users", json!({"user": {"name": "x", "domain_id": "default"}})),
            ("projects", json!({"project": {"name": "x", "domain_id": "default"}})),
            ("projects", json!({"project": {"name": "x", "parent_id": "default"}})),
            ("projects", json!({"project": {"name": "x", "is_domain": true}})),
            ("groups", json!({"group": {"name": "x", "domain_id": "default"}})),
            ("domains", json!({"domain": {"name": "x"}})),
            ("roles", json!({"role": {"name": "x"}})),
        ] {
            let answer = c.post(&token, &format!("/v3/{plural}"), body.clone()).await;
            assert!(matches!(answer.status, 400 | 403), "{plural} {body}: {} {}", answer.status, answer.text);
        }
        // Grants: what a manager may give, but not admin.
        let member = c.role(&admin, "member").await;
        c.put(&token, &format!("/v3/projects/{project}/users/{user}/roles/{member}")).await.is(204);
        c.put(&token, &format!("/v3/projects/{project}/groups/{group}/roles/{member}")).await.is(204);
        c.put(&token, &format!("/v3/projects/{project}/users/{user}/roles/{role_admin}")).await.is(403);
        c.put(&token, &format!("/v3/groups/{group}/users/{user}")).await.is(204);
        let assignments = c.get(&token, "/v3/role_assignments").await.is(200).json();
        assert_eq!(assignments["role_assignments"].as_array().unwrap().len(), 3);
        let default_admin =
            c.get(&admin, "/v3/users?name=admin").await.json()["users"][0]["id"].as_str().unwrap().to_owned();
        c.get(&token, &format!("/v3/users/{default_admin}")).await.is(403);
        c.put(&token, &format!("/v3/groups/{group}/users/{default_admin}")).await.is(403);
        c.delete(&token, &format!("/v3/users/{user}")).await.is(204);
    })
    .await;
}

/// Who may fill groups and set passwords gets no role by it that the policy of grants would refuse.
#[tokio::test]
async fn a_domain_manager_cannot_give_what_it_has_not() {
    each(async |c| {
        let admin = c.admin().await;
        let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
        let person = async |name: &str| {
            c.make(&admin, "users", json!({"name": name, "domain_id": domain, "password": "pw"})).await
        };
        let (boss, ann, root) = (person("boss").await, person("ann").await, person("root").await);
        let (manager, all, member) =
            (c.role(&admin, "manager").await, c.role(&admin, "admin").await, c.role(&admin, "member").await);
        c.put(&admin, &format!("/v3/domains/{domain}/users/{boss}/roles/{manager}")).await.is(204);
        let identity = json!({"methods": ["password"], "password": {"user": {"id": boss, "password": "pw"}}});
        let token = c.authenticate(identity, json!({"domain": {"id": domain}})).await.is(201).token.unwrap();
        let foreign = c.make(&admin, "projects", json!({"name": "foreign"})).await;
        let own = c.make(&admin, "projects", json!({"name": "own", "domain_id": domain})).await;
        for (at, (place, role, status)) in [
            (format!("projects/{own}"), &member, 204),
            (format!("projects/{own}"), &all, 403),
            (format!("projects/{foreign}"), &member, 403),
            ("domains/default".into(), &member, 403),
            ("system".into(), &member, 403),
        ]
        .into_iter()
        .enumerate()
        {
            let group =
                c.make(&admin, "groups", json!({"name": format!("g{at}"), "domain_id": domain})).await;
            c.put(&admin, &format!("/v3/{place}/groups/{group}/roles/{role}")).await.is(204);
            let path = format!("/v3/groups/{group}/users/{ann}");
            let answer = c.put(&token, &path).await;
            if status == 403 {
                answer.says(
                    403,
                    "You are not authorized to perform the requested action: identity:add_user_to_group.",
                );
                c.get(&admin, &path).await.is(404);
            } else {
                answer.is(status);
            }
            c.put(&admin, &path).await.is(204);
        }
        // Ann is now more than the boss: her name may change, her password and second factor not.
        let ann = format!("/v3/users/{ann}");
        c.patch(&token, &ann, json!({"user": {"description": "x"}})).await.is(200);
        for change in [json!({"password": "mine"}), json!({"options": {"multi_factor_auth_enabled": false}})]
        {
            c.patch(&token, &ann, json!({"user": change})).await.is(403);
            c.patch(&token, &format!("/v3/users/{root}"), json!({"user": change})).await.is(200);
        }
        c.patch(&token, &format!("/v3/users/{boss}"), json!({"user": {"password": "new"}})).await.is(200);
    })
    .await;
}
