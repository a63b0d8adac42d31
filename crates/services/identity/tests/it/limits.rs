//! Registered limits and limits, flat and strict two-level.

use super::support::*;
use ferrostack_settings::LimitModel;
use serde_json::{Value, json};

async fn system(c: &Cloud) -> String {
    c.login("admin", "secret", json!({"system": {"all": true}})).await.is(201).token.unwrap()
}

async fn of_domain(c: &Cloud, name: &str, domain: &str) -> String {
    c.login(name, "pw", json!({"domain": {"id": domain}})).await.is(201).token.unwrap()
}

async fn service(c: &Cloud, admin: &str) -> String {
    c.make(admin, "services", json!({"type": "walk", "name": "w"})).await
}

async fn register(c: &Cloud, admin: &str, items: Value) -> Vec<Value> {
    let made = c.post(admin, "/v3/registered_limits", json!({"registered_limits": items})).await.is(201);
    made.json()["registered_limits"].as_array().unwrap().clone()
}

async fn limit(c: &Cloud, admin: &str, item: Value) -> Answer {
    c.post(admin, "/v3/limits", json!({"limits": [item]})).await
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn registered_limits() {
    each(async |c| {
        let admin = c.admin().await;
        let service = service(c, &admin).await;
        let made = register(
            c,
            &admin,
            json!([
                {"service_id": service, "region_id": "RegionOne", "resource_name": "snapshot", "default_limit": 5},
                {"service_id": service, "resource_name": "volume", "default_limit": -1, "description": "d"},
            ]),
        )
        .await;
        let (snapshot, volume) = (id(&made[0]), id(&made[1]));
        let path = format!("/v3/registered_limits/{volume}");
        let body = json!({"service_id": service, "region_id": null, "resource_name": "volume", "default_limit": -1,
            "description": "d", "id": volume, "links": {"self": format!("{}{path}", c.base)}});
        assert_eq!(made[1], body);
        // Everybody may read them.
        c.person(&admin, "bob", "reader").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        assert_eq!(c.get(&bob, &path).await.is(200).json()["registered_limit"], body);
        for (query, wanted) in [
            ("", vec![&snapshot, &volume]),
            ("?region_id=RegionOne", vec![&snapshot]),
            ("?resource_name=volume", vec![&volume]),
            ("?resource_name__contains=shot", vec![&snapshot]),
            ("?service_id=other", vec![]),
            ("?limit=1", vec![&snapshot]),
        ] {
            let listed = c.get(&bob, &format!("/v3/registered_limits{query}")).await.is(200).json();
            let ids: Vec<String> = listed["registered_limits"].as_array().unwrap().iter().map(id).collect();
            assert_eq!(ids.iter().collect::<Vec<_>>(), wanted, "{query}");
        }
        let one = |extra: Value| {
            let mut item = json!({"service_id": service, "resource_name": "x", "default_limit": 1});
            for (name, value) in extra.as_object().unwrap() {
                item[name] = value.clone();
            }
            json!({"registered_limits": [item]})
        };
        c.post(&bob, "/v3/registered_limits", one(json!({}))).await.is(403);
        c.post(&admin, "/v3/registered_limits", one(json!({"resource_name": "volume"})))
            .await
            .says(409, "Conflict occurred attempting to store registered_limit - Duplicate entry.");
        // One bad item and nothing is made.
        let both = json!({"registered_limits": [
            {"service_id": service, "resource_name": "new", "default_limit": 1},
            {"service_id": service, "resource_name": "volume", "default_limit": 1},
        ]});
        c.post(&admin, "/v3/registered_limits", both).await.is(409);
        for bad in [
            one(json!({"service_id": "nosuch"})),
            one(json!({"region_id": "nosuch"})),
            one(json!({"default_limit": -2})),
            one(json!({"default_limit": 2147483648u64})),
            one(json!({"default_limit": 1e300})),
            one(json!({"default_limit": 1.5})),
            one(json!({"default_limit": "1"})),
            one(json!({"default_limit": true})),
            one(json!({"resource_name": ""})),
            one(json!({"resource_name": "x".repeat(256)})),
            one(json!({"resource_name": "a\0b"})),
            one(json!({"description": 5})),
            one(json!({"extra": 5})),
            json!({"registered_limits": []}),
            json!({"registered_limits": {}}),
            json!({"registered_limits": [5]}),
            json!({"registered_limits": [{}]}),
            json!({"registered_limit": {}}),
        ] {
            c.post(&admin, "/v3/registered_limits", bad.clone()).await.is(400);
        }
        assert_eq!(c.get(&admin, "/v3/registered_limits").await.json()["registered_limits"].as_array().unwrap().len(), 2);

        let changed = c.patch(&admin, &path, json!({"registered_limit": {"default_limit": 7.0, "region_id": "RegionOne", "description": null}})).await.is(200).json();
        assert_eq!(changed["registered_limit"]["default_limit"], 7);
        assert_eq!(changed["registered_limit"]["region_id"], "RegionOne");
        assert_eq!(changed["registered_limit"]["description"], Value::Null);
        c.patch(&admin, &path, json!({"registered_limit": {"resource_name": "snapshot"}})).await.is(409);
        for bad in [json!({"service_id": "nosuch"}), json!({"region_id": "nosuch"}), json!({"id": "x"}), json!({"default_limit": null})] {
            c.patch(&admin, &path, json!({"registered_limit": bad})).await.is(400);
        }
        c.patch(&bob, &path, json!({"registered_limit": {}})).await.is(403);
        c.patch(&admin, "/v3/registered_limits/nosuch", json!({"registered_limit": {}}))
            .await
            .says(404, "Could not find registered limit for nosuch.");

        // In use it can neither be changed nor deleted, and holds its service and region.
        let (project, _) = c.person(&admin, "eve", "reader").await;
        let item = json!({"service_id": service, "region_id": "RegionOne", "resource_name": "volume", "project_id": project, "resource_limit": 3});
        let limit_id = id(&limit(c, &admin, item).await.is(201).json()["limits"][0]);
        let in_use = format!("Unable to update or delete registered limit {volume} because there are project limits associated with it.");
        c.patch(&admin, &path, json!({"registered_limit": {"default_limit": 9}})).await.says(403, &in_use);
        c.delete(&admin, &path).await.says(403, &in_use);
        c.delete(&bob, &path).await.is(403);
        c.delete(&admin, &format!("/v3/services/{service}")).await.is(409);
        c.post(&admin, "/v3/regions", json!({"region": {"id": "Two"}})).await.is(201);
        c.patch(&admin, &format!("/v3/registered_limits/{snapshot}"), json!({"registered_limit": {"region_id": "Two"}})).await.is(200);
        c.delete(&admin, "/v3/regions/Two").await.is(409);
        c.delete(&admin, &format!("/v3/limits/{limit_id}")).await.is(204);
        c.delete(&admin, &path).await.is(204);
        c.get(&admin, &path).await.is(404);
        c.delete(&admin, &path).await.is(404);
        c.delete(&admin, &format!("/v3/registered_limits/{snapshot}")).await.is(204);
        c.delete(&admin, "/v3/regions/Two").await.is(204);
        c.delete(&admin, &format!("/v3/services/{service}")).await.is(204);
    })
    .await;
}

#[tokio::test]
async fn limits() {
    each(async |c| {
        let admin = c.admin().await;
        let system = system(c).await;
        let service = service(c, &admin).await;
        register(
            c,
            &admin,
            json!([
                {"service_id": service, "resource_name": "volume", "default_limit": 10},
                {"service_id": service, "resource_name": "volume", "region_id": "RegionOne", "default_limit": 10},
            ]),
        )
        .await;
        let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
        let inside = c.make(&admin, "projects", json!({"name": "inside", "domain_id": domain})).await;
        let (project, _) = c.person(&admin, "bob", "reader").await;
        let made = c
            .post(
                &admin,
                "/v3/limits",
                json!({"limits": [
                    {"service_id": service, "resource_name": "volume", "project_id": project, "resource_limit": 99},
                    {"service_id": service, "resource_name": "volume", "region_id": "RegionOne", "project_id": project, "resource_limit": 1},
                    {"service_id": service, "resource_name": "volume", "domain_id": domain, "resource_limit": 5, "description": "d"},
                    {"service_id": service, "resource_name": "volume", "project_id": inside, "resource_limit": 6},
                ]}),
            )
            .await
            .is(201)
            .json();
        let ids: Vec<String> = made["limits"].as_array().unwrap().iter().map(id).collect();
        assert_eq!(made.as_object().unwrap().len(), 1);
        let path = format!("/v3/limits/{}", ids[2]);
        let body = json!({"id": ids[2], "project_id": null, "domain_id": domain, "service_id": service, "region_id": null,
            "resource_name": "volume", "resource_limit": 5, "description": "d", "links": {"self": format!("{}{path}", c.base)}});
        assert_eq!(made["limits"][2], body);
        assert_eq!(c.get(&system, &path).await.is(200).json()["limit"], body);

        // Each sees what its scope has.
        c.post(&admin, "/v3/users", json!({"user": {"name": "dora", "password": "pw"}})).await.is(201);
        let dora = id(&c.get(&admin, "/v3/users?name=dora").await.json()["users"][0]);
        let reader = c.role(&admin, "reader").await;
        c.put(&admin, &format!("/v3/domains/{domain}/users/{dora}/roles/{reader}")).await.is(204);
        let dora = of_domain(c, "dora", &domain).await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let bare = c.login("admin", "secret", json!("unscoped")).await.is(201).token.unwrap();
        for (token, query, wanted) in [
            (&system, "", vec![0, 1, 2, 3]),
            (&system, "?region_id=RegionOne", vec![1]),
            (&system, &format!("?project_id={project}"), vec![0, 1]),
            (&system, &format!("?domain_id={domain}"), vec![2]),
            (&system, "?service_id=other", vec![]),
            (&system, "?resource_name=volume&resource_name__startswith=w", vec![]),
            (&dora, "", vec![2, 3]),
            (&dora, &format!("?project_id={project}"), vec![]),
            (&bob, "", vec![0, 1]),
            (&bob, &format!("?project_id={inside}"), vec![]),
            (&bob, &format!("?domain_id={domain}"), vec![]),
            (&admin, "", vec![]),
            (&bare, "", vec![]),
        ] {
            let listed = c.get(token, &format!("/v3/limits{query}")).await.is(200).json();
            let seen: Vec<String> = listed["limits"].as_array().unwrap().iter().map(id).collect();
            assert_eq!(seen, wanted.iter().map(|n: &usize| ids[*n].clone()).collect::<Vec<_>>(), "{query}");
        }
        for (token, seen) in [(&admin, [200; 4]), (&system, [200; 4]), (&dora, [403, 403, 200, 200]), (&bob, [200, 200, 403, 403])] {
            for (id, status) in ids.iter().zip(seen) {
                c.get(token, &format!("/v3/limits/{id}")).await.is(status);
            }
        }
        c.get(&bob, "/v3/limits/nosuch").await.is(403);
        c.get(&admin, "/v3/limits/nosuch").await.says(404, "Could not find limit for nosuch.");

        let base = json!({"service_id": service, "resource_name": "volume", "project_id": inside, "resource_limit": 1});
        let with = |changes: Value| {
            let mut item = base.clone();
            for (name, value) in changes.as_object().unwrap() {
                item[name] = value.clone();
            }
            item
        };
        limit(c, &bob, base.clone()).await.is(403);
        limit(c, &admin, base.clone()).await.says(409, "Conflict occurred attempting to store limit - Duplicate entry.");
        limit(c, &admin, with(json!({"resource_name": "other"})))
            .await
            .says(403, "Unable to create a limit that has no corresponding registered limit.");
        // As a project a domain is still the domain.
        let as_project = json!({"service_id": service, "resource_name": "volume", "project_id": domain, "resource_limit": 1});
        limit(c, &admin, as_project).await.is(409);
        let mut of_none = base.clone();
        of_none.as_object_mut().unwrap().remove("project_id");
        for bad in [
            of_none,
            with(json!({"domain_id": domain})),
            with(json!({"service_id": "nosuch"})),
            with(json!({"project_id": "nosuch"})),
            with(json!({"project_id": null})),
            with(json!({"region_id": "nosuch"})),
            with(json!({"resource_limit": -2})),
            with(json!({"resource_limit": "5"})),
            with(json!({"resource_limit": 9_999_999_999_u64})),
            with(json!({"resource_name": 5})),
            with(json!({"more": 5})),
            json!({"service_id": service, "resource_name": "volume", "domain_id": "nosuch", "resource_limit": 1}),
            json!({"service_id": service, "resource_name": "volume", "domain_id": project, "resource_limit": 1}),
        ] {
            let answer = limit(c, &admin, bad.clone()).await;
            assert_eq!(answer.status, 400, "{bad}: {}", answer.text);
        }
        for bad in [json!({}), json!({"limits": []}), json!({"limits": "x"}), json!({"limit": base})] {
            c.post(&admin, "/v3/limits", bad).await.is(400);
        }

        let changed = c.patch(&admin, &path, json!({"limit": {"resource_limit": 0, "description": null}})).await.is(200).json();
        assert_eq!((&changed["limit"]["resource_limit"], &changed["limit"]["description"]), (&json!(0), &Value::Null));
        for bad in [json!({"service_id": service}), json!({"resource_limit": -5}), json!({"resource_limit": null})] {
            c.patch(&admin, &path, json!({"limit": bad})).await.is(400);
        }
        c.patch(&bob, &path, json!({"limit": {}})).await.is(403);
        c.patch(&admin, "/v3/limits/nosuch", json!({"limit": {}})).await.is(404);
        let model = c.get(&bob, "/v3/limits/model").await.is(200).json();
        assert_eq!(model, json!({"model": {"name": "flat",
            "description": "Limit enforcement and validation does not take project hierarchy into consideration."}}));

        c.delete(&bob, &path).await.is(403);
        c.delete(&admin, &path).await.is(204);
        c.delete(&admin, &path).await.is(404);
        // They go with their project or domain.
        c.delete(&admin, &format!("/v3/projects/{project}")).await.is(204);
        c.patch(&admin, &format!("/v3/domains/{domain}"), json!({"domain": {"enabled": false}})).await.is(200);
        c.delete(&admin, &format!("/v3/domains/{domain}")).await.is(204);
        assert_eq!(c.get(&system, "/v3/limits").await.json()["limits"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn projects_with_limits() {
    each(async |c| {
        let admin = c.admin().await;
        let service = service(c, &admin).await;
        register(c, &admin, json!([{"service_id": service, "resource_name": "volume", "default_limit": 10}])).await;
        let (project, user) = c.person(&admin, "bob", "reader").await;
        let below = c.make(&admin, "projects", json!({"name": "below", "parent_id": project})).await;
        let reader = c.role(&admin, "reader").await;
        c.put(&admin, &format!("/v3/projects/{below}/users/{user}/roles/{reader}")).await.is(204);
        let item = |project: &str| json!({"service_id": service, "resource_name": "volume", "project_id": project, "resource_limit": 4});
        limit(c, &admin, item(&project)).await.is(201);
        let bob = c.token("bob", "pw", "below").await;
        let path = format!("/v3/projects/{below}?parents_as_list");
        let with = c.get(&bob, &format!("{path}&include_limits")).await.is(200).json();
        let limits = &with["project"]["parents"][0]["project"]["limits"];
        assert_eq!((&limits[0]["resource_limit"], &limits[0]["links"]), (&json!(4), &Value::Null));
        let without = c.get(&bob, &path).await.is(200).json();
        assert_eq!(without["project"]["parents"][0]["project"]["limits"], Value::Null);
        let bob = c.token("bob", "pw", "bob-project").await;
        let tree = c.get(&bob, &format!("/v3/projects/{project}?subtree_as_list&include_limits=1")).await.is(200).json();
        assert_eq!(tree["project"]["subtree"][0]["project"]["limits"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn strict_two_level() {
    each_with(
        |s| s.identity.limit_model = LimitModel::StrictTwoLevel,
        async |c| {
            let admin = c.admin().await;
            let service = service(c, &admin).await;
            register(c, &admin, json!([{"service_id": service, "resource_name": "volume", "default_limit": 10}])).await;
            let model = c.get(&admin, "/v3/limits/model").await.is(200).json();
            assert_eq!(model["model"]["name"], "strict_two_level");
            let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
            let project = |name: &str| c.make(&admin, "projects", json!({"name": name, "domain_id": domain}));
            let (one, two) = (project("one").await, project("two").await);
            // No deeper than that.
            let deeper = json!({"project": {"name": "deeper", "parent_id": one}});
            c.post(&admin, "/v3/projects", deeper).await.is(403);

            let of = |key: &str, id: &str, n: i64| json!({"service_id": service, "resource_name": "volume", key: id, "resource_limit": n});
            // Above stands the default while the domain has no limit.
            limit(c, &admin, of("project_id", &one, 11)).await.says(403, &format!(
                "Invalid resource limit: The resource limit (project_id: {one}, resource_name: volume, resource_limit: 11, service_id: {service}, region_id: None) doesn't satisfy current hierarchy model."
            ));
            limit(c, &admin, of("project_id", &one, -1)).await.is(403);
            // With its domain's in one request, in any order.
            let too_much = json!({"limits": [of("project_id", &one, 21), of("domain_id", &domain, 20)]});
            c.post(&admin, "/v3/limits", too_much).await.is(403);
            let all = json!({"limits": [of("project_id", &one, 20), of("domain_id", &domain, 20)]});
            let made = c.post(&admin, "/v3/limits", all).await.is(201).json();
            let (one_limit, domain_limit) = (id(&made["limits"][0]), id(&made["limits"][1]));
            limit(c, &admin, of("project_id", &two, 21)).await.is(403);
            limit(c, &admin, of("project_id", &two, 20)).await.is(201); // each, not their sum
            let set = async |id: &str, n: i64| {
                c.patch(&admin, &format!("/v3/limits/{id}"), json!({"limit": {"resource_limit": n}})).await.status
            };
            assert_eq!(set(&one_limit, 21).await, 403);
            assert_eq!(set(&domain_limit, 19).await, 403);
            assert_eq!(set(&domain_limit, 0).await, 403);
            assert_eq!(set(&domain_limit, -1).await, 200);
            assert_eq!(set(&one_limit, -1).await, 200);
            assert_eq!(set(&domain_limit, 50).await, 403); // one is unlimited
            assert_eq!(set(&one_limit, 50).await, 200);
            assert_eq!(set(&domain_limit, 50).await, 200);
            let shown = c.get(&admin, &format!("/v3/limits/{one_limit}")).await.is(200).json();
            assert_eq!(shown["limit"]["resource_limit"], 50);
        },
    )
    .await;
}

/// The strict model does not start on projects that it cannot hold.
#[tokio::test]
async fn strict_refuses_a_deeper_tree() {
    each(async |c| {
        let admin = c.admin().await;
        let parent = c.make(&admin, "projects", json!({"name": "a"})).await;
        let child = c.make(&admin, "projects", json!({"name": "b", "parent_id": parent})).await;
        c.pause().await;
        let mut settings = c.settings.clone();
        settings.identity.limit_model = LimitModel::StrictTwoLevel;
        let stop = tokio_util::sync::CancellationToken::new();
        let error = ferrostack_identity::start(&settings, c.bus.clone(), stop).await.err().unwrap();
        assert!(error.for_log().contains(&child), "{}", error.for_log());
    })
    .await;
}

/// Requests about the same resource wait for each other instead of failing.
#[tokio::test]
async fn many_at_once() {
    each(async |c| {
        let admin = c.admin().await;
        let service = service(c, &admin).await;
        register(c, &admin, json!([{"service_id": service, "resource_name": "volume", "default_limit": 10}])).await;
        let mut projects = Vec::new();
        for n in 0..6 {
            projects.push(c.make(&admin, "projects", json!({"name": format!("p{n}")})).await);
        }
        let make = projects.iter().map(|project| {
            limit(c, &admin, json!({"service_id": service, "resource_name": "volume", "project_id": project, "resource_limit": 1}))
        });
        for answer in futures_util::future::join_all(make).await {
            answer.is(201);
        }
    })
    .await;
}

/// Limits of one domain changed at once never end up above one another.
#[tokio::test]
async fn strict_holds_under_races() {
    each_with(
        |s| s.identity.limit_model = LimitModel::StrictTwoLevel,
        async |c| {
            let admin = c.admin().await;
            let service = service(c, &admin).await;
            register(c, &admin, json!([{"service_id": service, "resource_name": "volume", "default_limit": 10}])).await;
            let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
            let project = c.make(&admin, "projects", json!({"name": "p", "domain_id": domain})).await;
            let of = |key: &str, id: &str, n: i64| json!({"service_id": service, "resource_name": "volume", key: id, "resource_limit": n});
            let made = c.post(&admin, "/v3/limits", json!({"limits": [of("domain_id", &domain, 10), of("project_id", &project, 5)]})).await.is(201).json();
            let paths = [0, 1].map(|n| format!("/v3/limits/{}", id(&made["limits"][n])));
            for round in 0..12 {
                let down = c.patch(&admin, &paths[0], json!({"limit": {"resource_limit": 5}}));
                let up = c.patch(&admin, &paths[1], json!({"limit": {"resource_limit": 10}}));
                let (down, up) = tokio::join!(down, up);
                for answer in [down, up] {
                    assert!(matches!(answer.status, 200 | 403), "{} {}", answer.status, answer.text);
                }
                let mut now = Vec::new();
                for path in &paths {
                    now.push(c.get(&admin, path).await.is(200).json()["limit"]["resource_limit"].as_i64().unwrap());
                }
                assert!(now[1] <= now[0], "{round}: {now:?}");
                c.patch(&admin, &paths[1], json!({"limit": {"resource_limit": 5}})).await.is(200);
                c.patch(&admin, &paths[0], json!({"limit": {"resource_limit": 10}})).await.is(200);
            }
        },
    )
    .await;
}
