//! Lists: paging, order, filters, who sees what.

use crate::support::{Cloud, PROJECT_A, PROJECT_B, each};
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn ids(cloud: &Cloud, token: &str, query: &str) -> Vec<String> {
    let (status, body) = cloud.get(token, &format!("/v2/images{query}")).await;
    assert_eq!(status, 200, "{query}: {body}");
    body["images"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap().to_owned()).collect()
}

/// Names of what a query finds, sorted.
async fn names(cloud: &Cloud, token: &str, query: &str) -> Vec<String> {
    let (status, body) = cloud.get(token, &format!("/v2/images{query}")).await;
    assert_eq!(status, 200, "{query}: {body}");
    let images = body["images"].as_array().unwrap();
    let mut names: Vec<_> = images.iter().map(|i| i["name"].as_str().unwrap_or("-").to_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_over_sixty_images() {
    each(async |cloud| {
        let mut made = Vec::new();
        for i in 0..60 {
            // Names and sizes repeat, so that every order has ties.
            let name = if i % 10 == 0 { Value::Null } else { json!(format!("n{}", i % 7)) };
            made.push(
                cloud.create(json!({"name": name, "min_ram": i, "tags": [format!("t{}", i % 2)]})).await,
            );
        }
        assert_eq!(ids(cloud, "member", "").await.len(), 25);
        assert_eq!(ids(cloud, "member", "?limit=0").await.len(), 0);
        for start in [
            "",
            "?limit=7",
            "?limit=60",
            "?limit=1000",
            "?limit=13&sort=name:asc",
            "?limit=9&sort=name,size:asc",
            "?limit=11&sort_key=name&sort_dir=desc",
            "?limit=8&sort_key=disk_format&sort_key=id&sort_dir=asc",
            "?limit=10&sort=size:asc",
            "?limit=10&sort=updated_at:asc,name:desc",
            "?limit=7&sort=status",
        ] {
            let mut seen = Vec::new();
            let mut path = format!("/v2/images{start}");
            loop {
                let (status, body) = cloud.get("member", &path).await;
                assert_eq!(status, 200, "{body}");
                assert_eq!(body["schema"], "/v2/schemas/images");
                assert!(!body["first"].as_str().unwrap().contains("marker"));
                seen.extend(body["images"].as_array().unwrap().iter().map(|i| i["id"].clone()));
                match body["next"].as_str() {
                    Some(next) => path = next.to_owned(),
                    None => break,
                }
            }
            let different: BTreeSet<_> = seen.iter().map(ToString::to_string).collect();
            assert_eq!((seen.len(), different.len()), (60, 60), "{start}");
        }
        let newest: Vec<_> = made.iter().rev().take(25).cloned().collect();
        assert_eq!(ids(cloud, "member", "").await, newest);
        let (_, body) = cloud.get("member", "/v2/images?limit=2&tag=t1&name=in%3An1%2Cn2").await;
        let next = body["next"].as_str().unwrap();
        assert!(
            next.contains("tag=t1") && next.contains("name=in%3An1%2Cn2") && next.contains("marker="),
            "{next}"
        );
        for bad in ["?marker=zz", "?marker=00000000-0000-0000-0000-000000000000", "?limit=x", "?limit=-1"] {
            assert_eq!(cloud.get("member", &format!("/v2/images{bad}")).await.0, 400, "{bad}");
        }
        let (_, error) = cloud.get("member", "/v2/images?sort_key=bad").await;
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .starts_with("Invalid sort key: bad. It must be one of the following: name, status,")
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters() {
    each(async |cloud| {
        let a = cloud
            .create(json!({"name": "a", "tags": ["x", "y"], "os_distro": "debian", "min_ram": 64, "protected": true}))
            .await;
        let b = cloud.create(json!({"name": "b,c", "disk_format": "qcow2", "tags": ["x"], "os_distro": "Debian"})).await;
        cloud.create(json!({"name": "hidden", "os_hidden": true})).await;
        assert_eq!(cloud.upload("admin", &a, vec![0; 500]).await.0, 204);
        let now = cloud.show(&a).await["created_at"].as_str().unwrap().to_owned();
        for (query, expected) in [
            ("".to_owned(), &["a", "b,c"][..]),
            ("?name=a".into(), &["a"]),
            ("?name=A".into(), &[]),
            ("?name=in:a,zz".into(), &["a"]),
            ("?name=in:%22b,c%22,a".into(), &["a", "b,c"]),
            (format!("?id=in:{a},{b}"), &["a", "b,c"]),
            (format!("?id={b}"), &["b,c"]),
            ("?id=x".into(), &[]),
            ("?status=active".into(), &["a"]),
            ("?status=in:active,queued".into(), &["a", "b,c"]),
            ("?disk_format=qcow2".into(), &["b,c"]),
            ("?container_format=in:bare,ova".into(), &["a", "b,c"]),
            ("?tag=x".into(), &["a", "b,c"]),
            ("?tag=x&tag=y".into(), &["a"]),
            ("?os_distro=debian".into(), &["a"]),
            ("?os_distro=debian&hw_x=1".into(), &[]),
            ("?size_min=1".into(), &["a"]),
            ("?size_min=501".into(), &[]),
            ("?size_max=500&size_min=500".into(), &["a"]),
            ("?min_ram=64".into(), &["a"]),
            ("?protected=True".into(), &["a"]),
            ("?protected=false".into(), &["b,c"]),
            ("?os_hidden=true".into(), &["hidden"]),
            (format!("?owner={PROJECT_A}"), &["a", "b,c"]),
            (format!("?owner={PROJECT_B}"), &[]),
            (format!("?created_at=gte:{now}"), &["a", "b,c"]),
            ("?created_at=lt:2020-01-01T00:00:00Z".into(), &[]),
            ("?created_at=gt:2020-01-01T00:00:00%2B01:00".into(), &["a", "b,c"]),
            ("?updated_at=neq:2020-01-01T00:00:00Z".into(), &["a", "b,c"]),
            (format!("?created_at={now}&name=a"), &["a"]),
            ("?checksum=x".into(), &[]),
            ("?checksum=816df6f64deba63b029ca19d880ee10a".into(), &[]),
            (format!("?os_hash_value={}", "a".repeat(128)), &[]),
            ("?os_hash_algo=sha512".into(), &["a"]),
            ("?os_hash_algo=md5".into(), &[]),
            ("?name=in:".into(), &[]),
            ("?name=in:a,".into(), &["a"]),
            ("?name=eq:a".into(), &["a"]),
            ("?name=zz&name=a".into(), &["a"]),
            ("?deleted=true".into(), &["a", "b,c"]),
            ("?tag=%20x%20".into(), &["a", "b,c"]),
            ("?tag=in:x".into(), &[]),
            ("?min_ram_min=1".into(), &["a"]),
            ("?size_min=-1".into(), &["a"]),
            ("?size_max=99999999999999999999999".into(), &["a"]),
            ("?foo_min=5".into(), &[]),
            ("?name=%27%20OR%201%3D1--".into(), &[]),
            ("?%27%20OR%201%3D1--=x".into(), &[]),
        ] {
            assert_eq!(names(cloud, "member", &query).await, expected, "{query}");
        }
        for bad in ["?size_min=x", "?protected=1", "?created_at=gt:x", "?visibility=foo", "?changes-since=x", "?name=neq:a", "?name=a:b", "?name=%00",
            "?%00=1", "?member_status=x", "?sort=name:up", "?sort=name&sort_key=id"]
        {
            assert_eq!(cloud.get("member", &format!("/v2/images{bad}")).await.0, 400, "{bad}");
        }
    })
    .await;
}

/// What Glance says to what it does not understand.
#[tokio::test(flavor = "multi_thread")]
async fn texts_of_refusals() {
    each(async |cloud| {
        let none = "00000000-0000-0000-0000-000000000000";
        let long = "x".repeat(3000);
        for (query, text) in [
            ("limit=x".to_owned(), "limit param must be an integer".to_owned()),
            ("limit=-1".into(), "limit param must be positive".into()),
            (format!("marker={none}"), format!("No image found with ID {none}")),
            ("sort_key=bad".into(), "Invalid sort key: bad. It must be one of the following: name, status, container_format, disk_format, size, id, created_at, updated_at.".into()),
            ("sort_dir=up".into(), "Invalid sort direction: up".into()),
            ("sort=name&sort_key=id".into(), "Old and new sorting syntax cannot be combined".into()),
            ("sort_key=name&sort_dir=asc&sort_dir=asc".into(), "Number of sort dirs does not match the number of sort keys".into()),
            ("visibility=foo".into(), "Invalid visibility value: foo".into()),
            ("member_status=x".into(), "Invalid status: x".into()),
            ("protected=X".into(), "Invalid value 'x' for 'protected' filter. Valid values are 'true' or 'false'.".into()),
            ("os_hidden=1".into(), "Invalid value '1' for 'os_hidden' filter. Valid values are 'true' or 'false'.".into()),
            ("size_min=x".into(), "Unable to filter on a range with a non-numeric value.".into()),
            ("created_at=gt:x".into(), "Bad \"created_at\" query filter format. Use ISO 8601 DateTime notation.".into()),
            ("updated_at=in:2020-01-01T00:00:00Z".into(), "Unable to filter on a unknown operator.".into()),
            ("status=neq:active".into(), "Unable to filter by unknown operator 'neq'.".into()),
            ("name=in:%22a".into(), "Invalid filter value \"a. The quote is not closed.".into()),
            ("changes-since=2020-01-01".into(), "The \"changes-since\" filter is no longer available on v2.".into()),
            (format!("marker={long}"), format!("No image found with ID {}", "x".repeat(255))),
            (format!("sort_key={long}"), format!("Invalid sort key: {}. It", "x".repeat(255))),
        ] {
            let (status, error) = cloud.get("member", &format!("/v2/images?{query}")).await;
            assert_eq!(status, 400, "{query}");
            let message = error["message"].as_str().unwrap();
            let message = message.replace("&#x27;", "'").replace("&quot;", "\"");
            assert!(message.starts_with(&text), "{query}: {message}");
        }
        // Another project's image is no marker, and nobody learns that it exists.
        let private = cloud.create(json!({"visibility": "private"})).await;
        let (status, error) = cloud.get("other", &format!("/v2/images?marker={private}")).await;
        assert_eq!(status, 400);
        assert!(error["message"].as_str().unwrap().starts_with(&format!("No image found with ID {private}")));
        // What Glance does not know is a custom property: no image has it.
        assert_eq!(ids(cloud, "member", &format!("?nosuch={long}")).await.len(), 0);
    })
    .await;
}

/// Images that are there from the first page to the last are listed once each, in every order, while others come,
/// change and go.
#[tokio::test(flavor = "multi_thread")]
async fn pages_lose_and_repeat_nothing_while_images_are_added() {
    each(async |cloud| {
        let mut made = BTreeSet::new();
        for i in 0..30 {
            let name = if i % 4 == 0 { Value::Null } else { json!(format!("n{}", i % 3)) };
            let format = if i % 3 == 0 { Value::Null } else { json!("raw") };
            let mut body = json!({"name": name, "disk_format": format});
            if format.is_null() {
                body["container_format"] = Value::Null;
            }
            let id = cloud.create(body).await;
            if i % 6 == 1 {
                assert_eq!(cloud.upload("member", &id, vec![0; 1 + i]).await.0, 204);
            }
            made.insert(id);
        }
        let mut orders = Vec::new();
        for key in
            ["name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"]
        {
            for direction in ["asc", "desc"] {
                orders.push(format!("sort={key}:{direction}"));
                orders.push(format!("sort_key={key}&sort_dir={direction}"));
            }
        }
        orders.push("sort=disk_format:asc,name:desc,size:asc".into());
        orders.push("sort_key=status&sort_key=name&sort_dir=desc&sort_dir=asc".into());
        for order in orders {
            let (mut seen, mut extra) = (Vec::new(), None);
            let mut path = format!("/v2/images?limit=7&{order}");
            loop {
                let (status, body) = cloud.get("member", &path).await;
                assert_eq!(status, 200, "{order}: {body}");
                seen.extend(
                    body["images"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap().to_owned()),
                );
                let Some(next) = body["next"].as_str() else { break };
                path = next.to_owned();
                if let Some(old) = extra.replace(cloud.create(json!({"name": "n1"})).await) {
                    assert_eq!(cloud.delete("member", &format!("/v2/images/{old}")).await, 204);
                    // The marker of the next page may be the one that went.
                    if next.contains(&old) {
                        assert_eq!(cloud.get("member", &path).await.0, 400);
                        break;
                    }
                }
            }
            let different: BTreeSet<_> = seen.iter().cloned().collect();
            assert_eq!(different.len(), seen.len(), "{order}: repeated");
            if !path.contains("marker") || cloud.get("member", &path).await.0 == 200 {
                assert!(different.is_superset(&made), "{order}: lost");
            }
            if let Some(old) = extra {
                assert_eq!(cloud.delete("member", &format!("/v2/images/{old}")).await, 204);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sees_what() {
    each(async |cloud| {
        for visibility in ["public", "community", "shared", "private"] {
            cloud.create(json!({"name": visibility, "visibility": visibility})).await;
        }
        let (_, body) = cloud.get("member", "/v2/images?name=shared").await;
        let shared = body["images"][0]["id"].as_str().unwrap().to_owned();
        let see = async |token: &str, query: &str| names(cloud, token, query).await;
        assert_eq!(see("member", "").await, ["community", "private", "public", "shared"]);
        assert_eq!(see("other", "").await, ["public"]);
        assert_eq!(see("other", "?visibility=community").await, ["community"]);
        assert_eq!(see("other", "?visibility=all").await, ["community", "public"]);
        assert_eq!(see("other", "?visibility=private").await, [""; 0]);
        assert_eq!(see("other", "?visibility=shared&member_status=all").await, [""; 0]);
        assert_eq!(see("admin", "?visibility=all").await, ["community", "private", "public", "shared"]);

        let members = format!("/v2/images/{shared}/members");
        let (status, member) = cloud.post("member", &members, json!({"member": PROJECT_B})).await;
        assert_eq!(status, 200);
        assert_eq!(
            (&member["member_id"], &member["status"], &member["image_id"], &member["schema"]),
            (&json!(PROJECT_B), &json!("pending"), &json!(shared), &json!("/v2/schemas/member"))
        );
        assert_eq!(cloud.post("member", &members, json!({"member": PROJECT_B})).await.0, 409);
        assert_eq!(see("other", "").await, ["public"], "not before it is accepted");
        assert_eq!(see("other", "?visibility=shared&member_status=pending").await, ["shared"]);
        assert_eq!(cloud.get("other", &format!("/v2/images/{shared}")).await.0, 200);
        let own = format!("{members}/{PROJECT_B}");
        let put = async |token: &str, body: Value| {
            cloud.call(token, reqwest::Method::PUT, &own).json(&body).send().await.unwrap().status().as_u16()
        };
        assert_eq!(put("member", json!({"status": "accepted"})).await, 403, "only the member itself");
        assert_eq!(put("other", json!({"status": "maybe"})).await, 400);
        assert_eq!(put("other", json!({"status": "accepted"})).await, 200);
        assert_eq!(see("other", "").await, ["public", "shared"]);
        let (_, list) = cloud.get("other", &members).await;
        assert_eq!(list["members"][0]["status"], "accepted");
        assert_eq!(cloud.delete("other", &own).await, 403);
        assert_eq!(cloud.delete("member", &own).await, 204);
        assert_eq!(cloud.delete("member", &own).await, 404);
        assert_eq!(see("other", "").await, ["public"]);
        let (_, body) = cloud.get("member", "/v2/images?name=private").await;
        let private = body["images"][0]["id"].as_str().unwrap();
        let path = format!("/v2/images/{private}/members");
        assert_eq!(cloud.post("member", &path, json!({"member": PROJECT_B})).await.0, 403);
    })
    .await;
}
