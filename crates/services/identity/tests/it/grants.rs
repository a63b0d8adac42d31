//! Roles, grants and role assignments.

use super::support::*;
use serde_json::{Value, json};

#[tokio::test]
async fn roles() {
    each(async |c| {
        let admin = c.admin().await;
        let list = c.get(&admin, "/v3/roles").await.is(200).json();
        let names: Vec<&str> = list["roles"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["admin", "manager", "member", "reader", "service"]);
        let body = c.post(&admin, "/v3/roles", json!({"role": {"name": "r2"}})).await.is(201).json();
        let role = &body["role"];
        assert_eq!(
            role.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["id", "name", "domain_id", "description", "options", "links"]
        );
        assert_eq!((&role["domain_id"], &role["description"]), (&Value::Null, &Value::Null));
        c.post(&admin, "/v3/roles", json!({"role": {"name": "r2"}})).await.says(
            409,
            "Conflict occurred attempting to store role - Duplicate entry found with name r2.",
        );
        let path = format!("/v3/roles/{}", role["id"].as_str().unwrap());
        let changed = c.patch(&admin, &path, json!({"role": {"description": "x", "name": "r3"}})).await.is(200).json();
        assert_eq!(changed["role"]["description"], "x");
        let reader = c.role(&admin, "reader").await;
        let fixed = format!("/v3/roles/{reader}");
        let says = |verb: &str| format!("Unable to {verb} immutable role resource: `{reader}. Set resource option \"immutable\" to false first.");
        c.patch(&admin, &fixed, json!({"role": {"name": "x"}})).await.says(403, &says("update"));
        c.delete(&admin, &fixed).await.says(403, &says("delete"));
        // A domain's role is apart.
        let own = c.make(&admin, "roles", json!({"name": "r2", "domain_id": "default"})).await;
        c.get(&admin, &format!("/v3/roles/{own}")).await.is(200);
        assert_eq!(c.get(&admin, "/v3/roles?domain_id=default").await.is(200).json()["roles"].as_array().unwrap().len(), 1);
        assert_eq!(c.get(&admin, "/v3/roles").await.json()["roles"].as_array().unwrap().len(), 6);
        let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        c.put(&admin, &format!("/v3/domains/{domain}/users/{user}/roles/{own}")).await.is(403);
        c.delete(&admin, &format!("/v3/roles/{own}")).await.is(204);
        c.delete(&admin, &path).await.is(204);
        c.get(&admin, &path).await.is(404);
    })
    .await;
}

#[tokio::test]
async fn implications() {
    each(async |c| {
        let admin = c.admin().await;
        let role = c.make(&admin, "roles", json!({"name": "op"})).await;
        let (reader, boss) = (c.role(&admin, "reader").await, c.role(&admin, "admin").await);
        let path = format!("/v3/roles/{role}/implies/{reader}");
        c.get(&admin, &path).await.is(404);
        let made = c.put(&admin, &path).await.is(201).json();
        assert_eq!(made["role_inference"]["prior_role"]["name"], "op");
        assert_eq!(c.get(&admin, &path).await.is(200).json(), made);
        c.call(&admin, "HEAD", &path, None).await.is(204);
        let all = c.get(&admin, &format!("/v3/roles/{role}/implies")).await.is(200).json();
        assert_eq!(all["role_inference"]["implies"][0]["name"], "reader");
        assert_eq!(
            c.get(&admin, "/v3/role_inferences").await.is(200).json()["role_inferences"]
                .as_array()
                .unwrap()
                .len(),
            4
        );
        c.put(&admin, &format!("/v3/roles/{role}/implies/{boss}")).await.is(403);
        c.put(&admin, &format!("/v3/roles/{role}/implies/nosuch")).await.is(404);
        let own = c.make(&admin, "roles", json!({"name": "own", "domain_id": "default"})).await;
        c.put(&admin, &format!("/v3/roles/{role}/implies/{own}")).await.is(403);
        c.put(&admin, &format!("/v3/roles/{own}/implies/{role}")).await.is(201);
        c.delete(&admin, &path).await.is(204);
        let admin = c.admin().await; // the old token had reader, too
        c.delete(&admin, &path).await.is(404);
    })
    .await;
}

#[tokio::test]
async fn grants_in_every_place() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let group = c.make(&admin, "groups", json!({"name": "g"})).await;
        let role = c.make(&admin, "roles", json!({"name": "op"})).await;
        for place in [format!("projects/{project}"), "domains/default".into(), "system".into()] {
            for actor in [format!("users/{user}"), format!("groups/{group}")] {
                let all = format!("/v3/{place}/{actor}/roles");
                let one = format!("{all}/{role}");
                c.get(&admin, &one).await.is(404);
                c.put(&admin, &one).await.is(204);
                c.put(&admin, &one).await.is(204);
                c.get(&admin, &one).await.is(204);
                let head = c.call(&admin, "HEAD", &one, None).await.is(204);
                assert!(head.text.is_empty());
                let listed = c.get(&admin, &all).await.is(200).json();
                assert!(listed["roles"].as_array().unwrap().iter().any(|r| r["name"] == "op"));
                c.delete(&admin, &one).await.is(204);
                c.delete(&admin, &one).await.is(404);
                let admin = c.admin().await;
                c.get(&admin, &one).await.is(404);
            }
        }
        let admin = c.admin().await;
        let grant = |p: &str, u: &str, r: &str| format!("/v3/projects/{p}/users/{u}/roles/{r}");
        c.put(&admin, &grant("nosuch", "nosuch", "nosuch")).await.says(404, "Could not find role: nosuch.");
        c.put(&admin, &grant("nosuch", "nosuch", &role)).await.says(404, "Could not find user: nosuch.");
        c.put(&admin, &grant("nosuch", &user, &role)).await.says(404, "Could not find project: nosuch.");
        c.get(&admin, &grant(&project, &user, &role)).await.says(
            404,
            &format!("Could not find role assignment with role: {role}, user or group: {user}, project, domain, or system: {project}."),
        );
        // Inherited grants are others.
        let inherited = format!("/v3/OS-INHERIT{}/inherited_to_projects", &grant(&project, &user, &role)[3..]);
        c.put(&admin, &inherited).await.is(204);
        c.get(&admin, &inherited).await.is(204);
        c.get(&admin, &grant(&project, &user, &role)).await.is(404);
        c.delete(&admin, &inherited).await.is(204);
    })
    .await;
}

#[tokio::test]
async fn assignments() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let child = c.make(&admin, "projects", json!({"name": "child", "parent_id": project})).await;
        let group = c.make(&admin, "groups", json!({"name": "g"})).await;
        let (reader, member) = (c.role(&admin, "reader").await, c.role(&admin, "member").await);
        c.put(&admin, &format!("/v3/groups/{group}/users/{user}")).await.is(204);
        c.put(&admin, &format!("/v3/projects/{child}/groups/{group}/roles/{reader}")).await.is(204);
        let list = async |query: &str| -> Vec<Value> {
            let body = c.get(&admin, &format!("/v3/role_assignments?{query}")).await.is(200).json();
            body["role_assignments"].as_array().unwrap().clone()
        };
        let plain = list(&format!("user.id={user}")).await;
        assert_eq!(
            plain,
            [json!({
                "links": {"assignment": format!("{}/v3/projects/{project}/users/{user}/roles/{member}", c.base)},
                "scope": {"project": {"id": project}}, "user": {"id": user}, "role": {"id": member},
            })]
        );
        let named = list(&format!("include_names&user.id={user}")).await;
        let default = json!({"id": "default", "name": "Default"});
        assert_eq!(named[0]["user"], json!({"id": user, "name": "bob", "domain": default}));
        assert_eq!(named[0]["scope"]["project"], json!({"id": project, "name": "bob-project", "domain": default}));
        assert_eq!(named[0]["role"], json!({"id": member, "name": "member"}));
        let effective = list(&format!("effective&user.id={user}")).await;
        assert_eq!(effective.len(), 3); // member, reader, and reader on the child through the group
        assert!(effective.iter().any(|e| e["links"]["membership"] == format!("{}/v3/groups/{group}/users/{user}", c.base)));
        assert_eq!(list(&format!("scope.project.id={project}&role.id={member}")).await.len(), 1);
        assert_eq!(list(&format!("scope.project.id={project}&include_subtree")).await.len(), 2);
        assert_eq!(list(&format!("group.id={group}")).await.len(), 1);
        // Of the admin, and of the service users that read limits.
        assert_eq!(list("scope.system=all").await.len(), 3);
        assert_eq!(list("scope.domain.id=default").await.len(), 0);
        c.put(&admin, &format!("/v3/OS-INHERIT/domains/default/users/{user}/roles/{reader}/inherited_to_projects")).await.is(204);
        let inherited = list("scope.OS-INHERIT:inherited_to=projects").await;
        assert_eq!(inherited[0]["scope"], json!({"domain": {"id": "default"}, "OS-INHERIT:inherited_to": "projects"}));
        let on_child = list(&format!("effective=True&user.id={user}&scope.project.id={child}")).await;
        assert_eq!(on_child.len(), 2); // through the group, and from the domain
        for bad in [
            format!("user.id={user}&group.id={group}"),
            format!("scope.project.id={project}&scope.domain.id=default"),
            "include_subtree".into(),
            format!("effective&group.id={group}"),
        ] {
            c.get(&admin, &format!("/v3/role_assignments?{bad}")).await.is(400);
        }
        let bob = c.token("bob", "pw", "bob-project").await;
        c.get(&bob, "/v3/role_assignments").await.is(403);
        // Nothing is left behind by a user or a project.
        c.delete(&admin, &format!("/v3/projects/{child}")).await.is(204);
        c.delete(&admin, &format!("/v3/users/{user}")).await.is(204);
        assert_eq!(list(&format!("user.id={user}")).await.len(), 0);
        assert_eq!(list(&format!("scope.project.id={child}")).await.len(), 0);
    })
    .await;
}
