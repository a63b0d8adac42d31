//! Policies and what they are for.

use super::support::*;
use serde_json::{Value, json};

#[tokio::test]
async fn policies() {
    each(async |c| {
        let admin = c.admin().await;
        let blob = json!({"foobar_user": ["role:compute-user"]});
        let made = c
            .post(
                &admin,
                "/v3/policies",
                json!({"policy": {"blob": blob, "type": "application/json", "extra": 5}}),
            )
            .await
            .is(201)
            .json();
        let id = made["policy"]["id"].as_str().unwrap().to_owned();
        let path = format!("/v3/policies/{id}");
        let links = json!({"self": format!("{}{path}", c.base)});
        assert_eq!(
            made["policy"],
            json!({"id": id, "blob": blob, "type": "application/json", "extra": 5, "links": links})
        );
        assert_eq!(c.get(&admin, &path).await.is(200).json(), made);
        let other = c.make_policy(&admin, "text").await;
        let changed =
            c.patch(&admin, &path, json!({"policy": {"type": "t2", "blob": "b"}})).await.is(200).json();
        assert_eq!((&changed["policy"]["type"], &changed["policy"]["blob"]), (&json!("t2"), &json!("b")));
        for (query, count) in [("", 2), ("?type=t2", 1), ("?type=none", 0), ("?limit=1", 1)] {
            let listed = c.get(&admin, &format!("/v3/policies{query}")).await.is(200).json();
            assert_eq!(listed["policies"].as_array().unwrap().len(), count, "{query}");
        }
        for bad in [
            json!({}),
            json!({"policy": []}),
            json!({"policy": {"type": "x"}}),
            json!({"policy": {"blob": "x"}}),
            json!({"policy": {"blob": 5, "type": "x"}}),
            json!({"policy": {"blob": null, "type": "x"}}),
            json!({"policy": {"blob": "x", "type": "y".repeat(256)}}),
            json!({"policy": {"blob": "a\0", "type": "x"}}),
        ] {
            c.post(&admin, "/v3/policies", bad).await.is(400);
        }
        c.patch(&admin, &path, json!({"policy": {"id": "other"}})).await.is(400);
        c.patch(&admin, "/v3/policies/nosuch", json!({"policy": {}}))
            .await
            .says(404, "Could not find policy: nosuch.");
        let reader =
            c.login("admin", "secret", json!({"system": {"all": true}})).await.is(201).token.unwrap();
        c.get(&reader, &path).await.is(200);
        c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        for method in ["GET", "PATCH", "DELETE"] {
            c.call(&bob, method, &path, Some(json!({"policy": {}}))).await.is(403);
        }
        c.delete(&admin, &path).await.is(204);
        c.get(&admin, &path).await.is(404);
        c.delete(&admin, &path).await.is(404);
        c.get(&admin, &format!("/v3/policies/{other}")).await.is(200);
    })
    .await;
}

impl Cloud {
    async fn make_policy(&self, admin: &str, blob: &str) -> String {
        let body = json!({"policy": {"blob": blob, "type": "text/plain"}});
        let made = self.post(admin, "/v3/policies", body).await.is(201).json();
        made["policy"]["id"].as_str().unwrap().to_owned()
    }
    async fn make_endpoint(&self, admin: &str, service: &str, region: &str, interface: &str) -> String {
        let body =
            json!({"service_id": service, "region_id": region, "interface": interface, "url": "http://x"});
        self.make(admin, "endpoints", body).await
    }
}

fn ids(body: &Value, plural: &str) -> Vec<String> {
    let mut ids: Vec<String> =
        body[plural].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn the_nearest_policy_counts() {
    each(async |c| {
        let admin = c.admin().await;
        let service = c.make(&admin, "services", json!({"type": "walk"})).await;
        let other = c.make(&admin, "services", json!({"type": "other"})).await;
        for (id, parent) in [("top", None), ("mid", Some("top")), ("low", Some("mid")), ("side", None)] {
            c.post(&admin, "/v3/regions", json!({"region": {"id": id, "parent_region_id": parent}}))
                .await
                .is(201);
        }
        let mut endpoints = Vec::new();
        for (service, region) in [(&service, "low"), (&service, "mid"), (&service, "side"), (&other, "low")] {
            endpoints.push(c.make_endpoint(&admin, service, region, "public").await);
        }
        let mut policies = Vec::new();
        for name in ["endpoint", "region", "service"] {
            policies.push(c.make_policy(&admin, name).await);
        }
        let base = |policy: &str| format!("/v3/policies/{policy}/OS-ENDPOINT-POLICY");
        let targets = [
            format!("endpoints/{}", endpoints[0]),
            format!("services/{service}/regions/mid"),
            format!("services/{service}"),
        ];
        let of = async |n: usize| {
            let answer =
                c.get(&admin, &format!("/v3/endpoints/{}/OS-ENDPOINT-POLICY/policy", endpoints[n])).await;
            match answer.status {
                200 => answer.json()["policy"]["blob"].as_str().unwrap().to_owned(),
                404 => {
                    answer.says(404, &format!("No policy is associated with endpoint {}.", endpoints[n]));
                    String::new()
                }
                other => panic!("{other}"),
            }
        };
        assert_eq!(of(0).await, "");
        for (policy, target) in policies.iter().zip(&targets) {
            let path = format!("{}/{target}", base(policy));
            c.get(&admin, &path).await.says(404, "Could not find policy association.");
            c.put(&admin, &path).await.is(204);
            c.put(&admin, &path).await.is(204); // again changes nothing
            c.get(&admin, &path).await.is(204);
            c.call(&admin, "HEAD", &path, None).await.is(204);
        }
        assert_eq!(
            [of(0).await, of(1).await, of(2).await, of(3).await],
            ["endpoint", "region", "service", ""]
        );
        let list = async |n: usize| {
            ids(
                &c.get(&admin, &format!("{}/endpoints", base(&policies[n]))).await.is(200).json(),
                "endpoints",
            )
        };
        let sorted = |numbers: &[usize]| {
            let mut wanted: Vec<String> = numbers.iter().map(|n| endpoints[*n].clone()).collect();
            wanted.sort();
            wanted
        };
        assert_eq!(list(0).await, sorted(&[0]));
        assert_eq!(list(1).await, sorted(&[0, 1]));
        assert_eq!(list(2).await, sorted(&[0, 1, 2]));
        // A target has one policy: the last.
        c.put(&admin, &format!("{}/{}", base(&policies[1]), targets[2])).await.is(204);
        c.get(&admin, &format!("{}/{}", base(&policies[2]), targets[2])).await.is(404);
        assert_eq!(of(2).await, "region");
        c.delete(&admin, &format!("{}/{}", base(&policies[2]), targets[2])).await.is(204); // not its own
        assert_eq!(of(2).await, "region");
        c.delete(&admin, &format!("{}/{}", base(&policies[1]), targets[2])).await.is(204);
        assert_eq!(of(2).await, "");
        // Associations go with what they name.
        c.delete(&admin, &format!("/v3/policies/{}", policies[0])).await.is(204);
        assert_eq!(of(0).await, "region");
        for path in [
            format!("/v3/policies/nosuch/OS-ENDPOINT-POLICY/{}", targets[0]),
            format!("{}/endpoints/nosuch", base(&policies[1])),
            format!("{}/services/nosuch", base(&policies[1])),
            format!("{}/services/nosuch/regions/mid", base(&policies[1])),
            format!("{}/services/{service}/regions/nosuch", base(&policies[1])),
        ] {
            for method in ["PUT", "GET", "DELETE"] {
                c.call(&admin, method, &path, None).await.is(404);
            }
        }
        c.get(&admin, "/v3/endpoints/nosuch/OS-ENDPOINT-POLICY/policy").await.is(404);
        c.get(&admin, "/v3/policies/nosuch/OS-ENDPOINT-POLICY/endpoints").await.is(404);
        c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        for target in &targets {
            for method in ["PUT", "GET", "DELETE"] {
                c.call(&bob, method, &format!("{}/{target}", base(&policies[1])), None).await.is(403);
            }
        }
    })
    .await;
}
