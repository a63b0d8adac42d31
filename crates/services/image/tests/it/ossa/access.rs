//! Whose image it is: nobody changes, deletes or sees others', and an id never comes back.

use crate::support::{Cloud, PROJECT_A, PROJECT_B, each};
use reqwest::Method;
use serde_json::{Value, json};

/// An active image of project A with these members; its id.
async fn active(cloud: &Cloud, more: Value, data: &[u8]) -> String {
    let id = cloud.create(more).await;
    let (status, said) = cloud.upload("admin", &id, data.to_vec()).await;
    assert_eq!(status, 204, "{said}");
    id
}

async fn bytes(cloud: &Cloud, id: &str) -> Vec<u8> {
    let answer = cloud.call("admin", Method::GET, &format!("/v2/images/{id}/file")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn ossa_2012_017_nobody_deletes_others_images() {
    each(async |cloud| {
        for (visibility, accepted, status) in [
            ("private", false, 404),
            ("shared", false, 404),
            ("shared", true, 403),
            ("community", false, 403),
            ("public", false, 403),
        ] {
            let id = active(cloud, json!({"visibility": visibility}), b"whole").await;
            let path = format!("/v2/images/{id}");
            if accepted {
                let members = format!("{path}/members");
                assert_eq!(cloud.post("admin", &members, json!({"member": PROJECT_B})).await.0, 200);
                let request = cloud.call("other", Method::PUT, &format!("{members}/{PROJECT_B}"));
                assert_eq!(request.json(&json!({"status": "accepted"})).send().await.unwrap().status(), 200);
            }
            let before = cloud.show(&id).await;
            assert_eq!(cloud.delete("other", &path).await, status, "{visibility}");
            // Without any role one does not even see it.
            assert!(matches!(cloud.delete("nobody", &path).await.as_u16(), 403 | 404), "{visibility}");
            assert_eq!(cloud.delete("reader", &path).await, 403, "{visibility}");
            assert_eq!(cloud.delete("", &path).await, 401, "{visibility}");
            assert_eq!(cloud.show(&id).await, before, "{visibility}");
            assert_eq!(bytes(cloud, &id).await, b"whole", "{visibility}");
        }
    })
    .await;
}

/// L01, L03: what hangs on an image is no way around it.
#[tokio::test(flavor = "multi_thread")]
async fn l01_nothing_below_a_foreign_image_can_be_reached() {
    each(async |cloud| {
        let foreign = active(cloud, json!({"visibility": "private", "tags": ["t"]}), b"secret bytes").await;
        let own = {
            let (status, image) = cloud
                .post(
                    "other",
                    "/v2/images",
                    json!({"name": "o", "disk_format": "raw", "container_format": "bare"}),
                )
                .await;
            assert_eq!(status, 201, "{image}");
            image["id"].as_str().unwrap().to_owned()
        };
        let before = cloud.show(&foreign).await;
        for (method, below, body) in [
            ("GET", "", None),
            ("GET", "/file", None),
            ("PUT", "/file", Some(json!("x"))),
            ("PUT", "/stage", Some(json!("x"))),
            ("GET", "/members", None),
            ("POST", "/members", Some(json!({"member": PROJECT_B}))),
            ("GET", &format!("/members/{PROJECT_B}"), None),
            ("PUT", &format!("/members/{PROJECT_B}"), Some(json!({"status": "accepted"}))),
            ("DELETE", &format!("/members/{PROJECT_B}"), None),
            ("PUT", "/tags/x", None),
            ("DELETE", "/tags/t", None),
            ("POST", "/actions/deactivate", None),
            ("POST", "/actions/reactivate", None),
            ("POST", "/import", Some(json!({"method": {"name": "glance-direct"}}))),
            ("DELETE", "", None),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let path = format!("/v2/images/{foreign}{below}");
            let mut request = cloud.call("other", method.clone(), &path);
            if below == "/file" || below == "/stage" {
                request = request.header("Content-Type", "application/octet-stream").body("x");
            } else if let Some(body) = &body {
                request = request.json(body);
            }
            let answer = request.send().await.unwrap();
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert!(matches!(status, 403 | 404), "{method} {path}: {status} {text}");
            assert!(!text.contains("secret bytes"), "{method} {path}");
        }
        assert_eq!(cloud.show(&foreign).await, before);
        assert_eq!(bytes(cloud, &foreign).await, b"secret bytes");
        // Its member under one's own image is not there either.
        let (status, _) = cloud.get("other", &format!("/v2/images/{own}/members/{PROJECT_A}")).await;
        assert_eq!(status, 404);
    })
    .await;
}

/// L02: no filter shows more than the list without it.
#[tokio::test(flavor = "multi_thread")]
async fn l02_no_filter_widens_a_list() {
    each(async |cloud| {
        let hidden: Vec<String> = [
            json!({"visibility": "private", "name": "hidden"}),
            json!({"visibility": "shared", "name": "hidden"}),
            json!({"visibility": "private", "name": "hidden", "os_hidden": true}),
        ]
        .map(|mut more| {
            more["tags"] = json!(["t"]);
            more
        })
        .into_iter()
        .map(async |more| cloud.create(more).await)
        .collect::<futures_util::stream::FuturesUnordered<_>>()
        .collect_ids()
        .await;
        for query in [
            String::new(),
            format!("owner={PROJECT_A}"),
            format!("owner={PROJECT_A}&visibility=private"),
            "visibility=private".into(),
            "visibility=shared".into(),
            "visibility=shared&member_status=all".into(),
            "visibility=shared&member_status=pending".into(),
            "visibility=all".into(),
            "os_hidden=true".into(),
            "name=hidden".into(),
            "tag=t".into(),
            "status=queued".into(),
            format!("id={}", hidden[0]),
            format!("id=in:{}", hidden.join(",")),
            "sort=owner:asc".into(),
            format!("project_id={PROJECT_A}"),
            "is_admin=true".into(),
            "is_public=none".into(),
            "deleted=true".into(),
            "changes-since=2000-01-01T00:00:00Z".into(),
        ] {
            let (status, list) = cloud.get("other", &format!("/v2/images?{query}")).await;
            for id in &hidden {
                assert!(!list["images"].to_string().contains(id.as_str()), "{query}: {list}");
            }
            assert!(status.as_u16() < 500, "{query}: {status}");
            // A marker that one may not see is not told apart from one that is not there.
            let marker = cloud.get("other", &format!("/v2/images?marker={}", hidden[0])).await;
            assert!(marker.0.is_client_error(), "{query}: {marker:?}");
        }
    })
    .await;
}

trait Ids {
    async fn collect_ids(self) -> Vec<String>;
}

impl<S: futures_util::Stream<Item = String>> Ids for S {
    async fn collect_ids(self) -> Vec<String> {
        futures_util::StreamExt::collect(self).await
    }
}

/// M03, M04, L04, OSSA-2015-019, OSSA-2026-015: what a body says of the caller or of the row decides nothing.
#[tokio::test(flavor = "multi_thread")]
async fn m03_m04_no_member_of_a_body_becomes_more_than_it_is() {
    each(async |cloud| {
        let base = json!({"name": "m", "disk_format": "raw", "container_format": "bare"});
        for (name, value) in [
            ("owner", json!(PROJECT_B)),
            ("status", json!("active")),
            ("size", json!(5)),
            ("virtual_size", json!(5)),
            ("checksum", json!("a".repeat(32))),
            ("os_hash_algo", json!("md5")),
            ("os_hash_value", json!("a".repeat(128))),
            ("created_at", json!("2000-01-01T00:00:00Z")),
            ("updated_at", json!("2000-01-01T00:00:00Z")),
            ("deleted", json!(true)),
            ("deleted_at", json!("2000-01-01T00:00:00Z")),
            ("locations", json!([{"url": "file:///etc/passwd", "metadata": {}}])),
            ("direct_url", json!("file:///etc/passwd")),
            ("file", json!("/etc/passwd")),
            ("self", json!("/x")),
            ("schema", json!("/x")),
            ("stores", json!("x")),
            ("target", json!({"owner": PROJECT_B})),
            ("project_id", json!(PROJECT_B)),
            ("user_id", json!("u")),
            ("is_admin", json!("True")),
            ("roles", json!("admin")),
            ("generation", json!("9")),
        ] {
            let mut body = base.clone();
            body[name] = value.clone();
            let (status, image) = cloud.post("member", "/v2/images", body).await;
            if status == 201 {
                // An own property at most.
                assert_eq!(
                    (&image["owner"], &image["status"]),
                    (&json!(PROJECT_A), &json!("queued")),
                    "{name}"
                );
                for fixed in ["size", "checksum", "os_hash_value", "virtual_size"] {
                    assert!(image[fixed].is_null(), "{name}: {image}");
                }
                assert_ne!(image["created_at"], "2000-01-01T00:00:00Z", "{name}");
                assert!(!image.to_string().contains("/etc/passwd"), "{name}: {image}");
            } else {
                assert!(matches!(status.as_u16(), 400 | 403 | 409), "{name}: {status} {image}");
            }
        }
        // The same in the query, and in headers.
        let id = cloud.create(json!({"visibility": "private"})).await;
        for query in ["is_admin=true", "roles=admin", &format!("project_id={PROJECT_A}"), "target=x"] {
            assert_eq!(cloud.get("other", &format!("/v2/images/{id}?{query}")).await.0, 404, "{query}");
        }
        for (name, value) in [
            ("X-Project-Id", PROJECT_A),
            ("X-Tenant-Id", PROJECT_A),
            ("X-Roles", "admin"),
            ("X-User-Id", "admin"),
            ("X-Is-Admin-Project", "True"),
            ("X-Identity-Status", "Confirmed"),
            ("X-Service-Identity-Status", "Confirmed"),
            ("X-Service-Roles", "service"),
            ("x_roles", "admin"),
            ("OpenStack-System-Scope", "all"),
        ] {
            for (token, status) in [("other", 404), ("", 401)] {
                let request = cloud.call(token, Method::GET, &format!("/v2/images/{id}")).header(name, value);
                assert_eq!(request.send().await.unwrap().status(), status, "{name} with token {token:?}");
            }
        }
    })
    .await;
}

/// OSSN-0075, I09: an id that was used never names another image.
#[tokio::test(flavor = "multi_thread")]
async fn x40_i09_a_used_id_never_comes_back() {
    each(async |cloud| {
        let id = "0a1b2c3d-0000-4000-8000-00000000beef";
        let body =
            |who: &str| json!({"id": id, "name": who, "disk_format": "raw", "container_format": "bare"});
        assert_eq!(cloud.post("member", "/v2/images", body("first")).await.0, 201);
        let (status, _) = cloud.post("other", "/v2/images", body("second")).await;
        assert_eq!(status, 409, "while it lives");
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        for round in 0..2 {
            for who in ["member", "other", "admin"] {
                let (status, said) = cloud.post(who, "/v2/images", body(who)).await;
                assert_eq!(status, 409, "round {round}: {said}");
            }
            assert_eq!(cloud.get("admin", &format!("/v2/images/{id}")).await.0, 404);
            cloud.shut().await;
            cloud.boot().await;
        }
        // In other spellings it is the same id, or none.
        for other in [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), format!(" {id}")] {
            let mut again = body("again");
            again["id"] = json!(other);
            let (status, said) = cloud.post("member", "/v2/images", again).await;
            assert!(matches!(status.as_u16(), 400 | 409), "{other:?}: {status} {said}");
        }
    })
    .await;
}

/// OSSN-0061: two contents with one MD5 (of Wang and Yu) are two images; the strong hash tells them apart.
#[tokio::test(flavor = "multi_thread")]
async fn x10_md5_decides_nothing() {
    let twin = |changed: [&str; 6]| {
        let [a, b, c, d, e, f] = changed;
        hex::decode(format!(
            "d131dd02c5e6eec4693d9a0698aff95c2fcab5{a}12467eab4004583eb8fb7f8955ad340609f4b30283e4888325{b}15a085125e8f7cdc99fd91dbd{c}280373c5bd8823e3156348f5bae6dacd436c919c6dd53e2{d}487da03fd02396306d248cda0e99f33420f577ee8ce54b67080{e}80d1ec69821bcb6a8839396f965{f}b6ff72a70"
        ))
        .unwrap()
    };
    let first = twin(["87", "714", "f", "b", "a", "2"]);
    let second = twin(["07", "f14", "7", "3", "2", "a"]);
    assert_ne!(first, second);
    each(async |cloud| {
        let a = active(cloud, json!({}), &first).await;
        let b = active(cloud, json!({}), &second).await;
        let (shown_a, shown_b) = (cloud.show(&a).await, cloud.show(&b).await);
        assert_eq!(shown_a["checksum"], "79054025255fb1a26e4bc422aef54eb4");
        assert_eq!(shown_a["checksum"], shown_b["checksum"]);
        assert_eq!(shown_a["os_hash_algo"], "sha512");
        assert_ne!(shown_a["os_hash_value"], shown_b["os_hash_value"]);
        assert_eq!(bytes(cloud, &a).await, first);
        assert_eq!(bytes(cloud, &b).await, second);
        // What one has is no answer to the question for the other.
        let file = cloud.call("admin", Method::GET, &format!("/v2/images/{a}/file")).send().await.unwrap();
        if let Some(tag) = file.headers().get("etag").cloned() {
            let path = format!("/v2/images/{b}/file");
            let other =
                cloud.call("admin", Method::GET, &path).header("If-None-Match", tag.clone()).send().await;
            let other = other.unwrap();
            assert!(
                other.status() == 200 || tag.to_str().unwrap().contains("79054025"),
                "{}",
                other.status()
            );
        }
    })
    .await;
}

/// OSSA-2013-007: no answer says where the bytes lie.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2013_007_nobody_learns_where_the_data_lies() {
    each(async |cloud| {
        let id = active(cloud, json!({"visibility": "public"}), b"whole").await;
        let store = cloud.store.to_string_lossy().into_owned();
        for who in ["admin", "member", "reader", "other"] {
            for path in [
                format!("/v2/images/{id}"),
                "/v2/images".into(),
                format!("/v2/images/{id}/file"),
                "/v2/info/stores".into(),
                "/v2/tasks".into(),
                format!("/v2/images/{id}/tasks"),
                format!("/v2/images/{id}/locations"),
                format!("/v1/images/{id}"),
                "/v1/images/detail".into(),
                "/v2/schemas/image".into(),
            ] {
                let answer = cloud.call(who, Method::GET, &path).send().await.unwrap();
                let headers = format!("{:?}", answer.headers()).to_lowercase();
                assert!(
                    !headers.contains("location") && !headers.contains(&store.to_lowercase()),
                    "{path}: {headers}"
                );
                let (status, text) = (answer.status(), answer.text().await.unwrap());
                if path.ends_with("/locations") {
                    // Compute's way to the data; policy gives it to services and administrators, as Glance does.
                    assert_eq!(status == 200, who == "admin", "{who} {path}: {status} {text}");
                    if who == "admin" {
                        continue;
                    }
                }
                assert!(!text.contains(&store) && !text.contains("file://"), "{who} {path}: {text}");
            }
            let (_, image) = cloud.get(who, &format!("/v2/images/{id}")).await;
            assert!(image.get("locations").is_none() && image.get("direct_url").is_none(), "{who}: {image}");
        }
    })
    .await;
}

/// OSSN-0015 and OSSN-0005: a member publishes nothing, and nothing comes into others' lists without their consent.
#[tokio::test(flavor = "multi_thread")]
async fn ossn_0005_ossn_0015_images_reach_others_only_as_they_wish() {
    each(async |cloud| {
        let body =
            json!({"name": "p", "disk_format": "raw", "container_format": "bare", "visibility": "public"});
        assert_eq!(cloud.post("member", "/v2/images", body).await.0, 403);
        let id = cloud.create(json!({"visibility": "shared", "name": "offered"})).await;
        let patch = json!([{"op": "replace", "path": "/visibility", "value": "public"}]);
        assert_eq!(cloud.patch("member", &id, patch).await.0, 403);
        assert_eq!(cloud.show(&id).await["visibility"], "shared");
        assert_eq!(
            cloud.post("member", &format!("/v2/images/{id}/members"), json!({"member": PROJECT_B})).await.0,
            200
        );
        let listed = async |query: &str| {
            let (_, list) = cloud.get("other", &format!("/v2/images{query}")).await;
            list.to_string().contains(&id)
        };
        assert!(!listed("").await, "pending");
        assert!(listed("?visibility=shared&member_status=pending").await);
        assert_eq!(cloud.get("other", &format!("/v2/images/{id}")).await.0, 200, "by its id it is there");
        let consent = async |status: &str| {
            let path = format!("/v2/images/{id}/members/{PROJECT_B}");
            let request = cloud.call("other", Method::PUT, &path).json(&json!({"status": status}));
            assert_eq!(request.send().await.unwrap().status(), 200);
        };
        consent("accepted").await;
        assert!(listed("").await, "accepted");
        consent("rejected").await;
        assert!(!listed("").await, "rejected");
        // Nobody consents for others.
        let path = format!("/v2/images/{id}/members/{PROJECT_B}");
        let answer =
            cloud.call("member", Method::PUT, &path).json(&json!({"status": "accepted"})).send().await;
        assert_eq!(answer.unwrap().status(), 403);
        assert!(!listed("").await);
    })
    .await;
}
