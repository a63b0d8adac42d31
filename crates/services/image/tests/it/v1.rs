//! Image API v1 as the Java SDK uses it.

use crate::support::{Cloud, PROJECT_B, each, each_with};
use reqwest::{Method, Response};
use serde_json::{Value, json};

async fn on<F: AsyncFn(&mut Cloud)>(test: F) {
    each_with(|settings| settings.image.v1_api = Some(true), test).await;
}

/// What the SDK sends: metadata in headers, the data in chunks.
async fn upload(cloud: &Cloud, token: &str, headers: &[(&str, &str)], data: &'static [u8]) -> Response {
    let chunks = data.chunks(7).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let mut call = cloud.call(token, Method::POST, "/v1/images").header("Accept", "application/json");
    call = call.header("X-Auth-Project-Id", "a").header("Content-Type", "application/octet-stream");
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    call.body(body).send().await.unwrap()
}

const META: &[(&str, &str)] = &[
    ("x-image-meta-name", "from java"),
    ("x-image-meta-container_format", "bare"),
    ("x-image-meta-disk_format", "raw"),
    ("x-image-meta-is_public", "False"),
    ("x-image-meta-property-os_distro", "debian"),
];

async fn body(response: Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_life() {
    on(async |cloud| {
        let made = upload(cloud, "member", META, b"0123456789 the data").await;
        assert_eq!(made.status(), 201);
        assert_eq!(made.headers()["content-type"], "application/json");
        let location = made.headers()["location"].to_str().unwrap().to_owned();
        let image = body(made).await["image"].clone();
        let id = image["id"].as_str().unwrap().to_owned();
        assert!(location.ends_with(&format!("/v1/images/{id}")));
        let keys: Vec<_> = image.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, [
            "checksum", "container_format", "created_at", "deleted", "deleted_at", "disk_format", "id", "is_public",
            "min_disk", "min_ram", "name", "owner", "properties", "protected", "size", "status", "updated_at",
            "virtual_size",
        ]);
        assert_eq!(
            (&image["status"], &image["size"], &image["is_public"], &image["properties"]),
            (&json!("active"), &json!(19), &json!(false), &json!({"os_distro": "debian"}))
        );
        assert!(image["created_at"].as_str().unwrap().ends_with(".000000"));
        // The same image in v2.
        let v2 = cloud.show(&id).await;
        assert_eq!((&v2["os_distro"], &v2["visibility"], &v2["checksum"]), (&json!("debian"), &json!("shared"), &image["checksum"]));
        let (_, list) = cloud.get("member", "/v1/images").await;
        assert_eq!(list["images"], json!([{"checksum": image["checksum"], "container_format": "bare", "disk_format": "raw", "id": id, "name": "from java", "size": 19}]));
        let (_, detail) = cloud.get("member", "/v1/images/detail?property-os_distro=debian&is_public=None").await;
        assert_eq!(detail["images"][0], image);
        let (_, none) = cloud.get("member", "/v1/images/detail?property-os_distro=x").await;
        assert_eq!(none["images"], json!([]));
        for method in [Method::HEAD, Method::GET] {
            let got = cloud.call("member", method.clone(), &format!("/v1/images/{id}")).send().await.unwrap();
            assert_eq!(got.status(), 200, "{method}");
            for (name, value) in [
                ("x-image-meta-name", "from java"), ("x-image-meta-status", "active"), ("x-image-meta-size", "19"),
                ("x-image-meta-is_public", "False"), ("x-image-meta-property-os_distro", "debian"),
            ] {
                assert_eq!(got.headers()[name], value, "{method} {name}");
            }
            assert!(got.headers().contains_key("content-type") || method == Method::HEAD);
            let data = got.bytes().await.unwrap();
            assert_eq!(&data[..], if method == Method::GET { &b"0123456789 the data"[..] } else { b"" });
        }
        let put = cloud
            .call("member", Method::PUT, &format!("/v1/images/{id}"))
            .header("x-image-meta-name", "renamed")
            .header("x-image-meta-min_disk", "3")
            .send().await.unwrap();
        assert_eq!(put.status(), 200);
        let changed = body(put).await["image"].clone();
        assert_eq!((&changed["name"], &changed["min_disk"], &changed["properties"]), (&json!("renamed"), &json!(3), &json!({})));
        let format = cloud.call("member", Method::PUT, &format!("/v1/images/{id}")).header("x-image-meta-disk_format", "qcow2");
        assert_eq!(format.send().await.unwrap().status(), 403);
        assert_eq!(cloud.delete("member", &format!("/v1/images/{id}")).await, 204);
        assert_eq!(cloud.get("member", &format!("/v1/images/{id}")).await.0, 404);
        // A record first, its data later.
        let reserve = cloud.call("member", Method::POST, "/v1/images").header("x-image-meta-name", "later").send().await.unwrap();
        assert_eq!(reserve.status(), 201);
        let later = body(reserve).await["image"].clone();
        assert_eq!((&later["status"], &later["size"], &later["checksum"]), (&json!("queued"), &json!(0), &Value::Null));
        let path = format!("/v1/images/{}", later["id"].as_str().unwrap());
        assert_eq!(cloud.get("member", &path).await.0, 404, "there is no data");
        let put = cloud.call("member", Method::PUT, &path).header("Content-Type", "application/octet-stream")
            .header("x-image-meta-disk_format", "raw").header("x-image-meta-container_format", "bare").body("DATA");
        let put = put.send().await.unwrap();
        assert_eq!(put.status(), 200);
        assert_eq!(body(put).await["image"]["size"], 4);
    })
    .await;
}

/// The rules of v2 hold: who may, what may be inside, and nothing is left of what is refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_v2_hold() {
    on(async |cloud| {
        let public: Vec<_> =
            META.iter().map(|(n, v)| (*n, if n.ends_with("public") { "True" } else { v })).collect();
        assert_eq!(upload(cloud, "member", &public, b"DATA").await.status(), 403);
        assert_eq!(upload(cloud, "reader", META, b"DATA").await.status(), 403);
        assert_eq!(upload(cloud, "", META, b"DATA").await.status(), 401);
        // A qcow2 with a backing file, said to be raw.
        let hostile =
            b"QFI\xfb\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x08\x00\x00\x00\x10";
        assert!(upload(cloud, "member", META, hostile).await.status().is_client_error());
        let sized: Vec<_> = META.iter().copied().chain([("x-image-meta-size", "5")]).collect();
        assert!(upload(cloud, "member", &sized, b"DATA").await.status().is_client_error());
        for (name, value) in [
            ("x-image-meta-location", "file:///etc/passwd"),
            ("x-image-meta-copy_from", "http://127.0.0.1/"),
            ("x-glance-api-copy-from", "http://127.0.0.1/"),
            ("x-image-meta-nosuch", "x"),
            ("x-image-meta-min_ram", "x"),
            ("x-image-meta-owner", PROJECT_B),
            ("x-image-meta-disk_format", "exe"),
            ("x-image-meta-name", "second"),
            ("x-image-meta-property-os_glance_x", "x"),
        ] {
            let headers: Vec<_> = META.iter().copied().chain([(name, value)]).collect();
            let status = upload(cloud, "member", &headers, b"DATA").await.status();
            assert!(status == 400 || status == 403, "{name}: {status}");
        }
        let plain =
            cloud.call("member", Method::POST, "/v1/images").header("Content-Type", "text/plain").body("x");
        assert_eq!(plain.send().await.unwrap().status(), 400);
        assert_eq!(cloud.get("admin", "/v2/images?visibility=all").await.1["images"], json!([]));
        assert_eq!(cloud.stored(), [""; 0]);
        // Another project's image is not there.
        let made = upload(cloud, "member", META, b"DATA").await;
        let path = format!("/v1/images/{}", body(made).await["image"]["id"].as_str().unwrap());
        for method in [Method::HEAD, Method::GET, Method::PUT, Method::DELETE] {
            assert_eq!(
                cloud.call("other", method.clone(), &path).send().await.unwrap().status(),
                404,
                "{method}"
            );
        }
        for method in [Method::PUT, Method::DELETE] {
            assert_eq!(
                cloud.call("reader", method.clone(), &path).send().await.unwrap().status(),
                403,
                "{method}"
            );
        }
        assert_eq!(cloud.call("reader", Method::HEAD, &path).send().await.unwrap().status(), 200);
        assert_eq!(cloud.call("reader", Method::GET, &path).send().await.unwrap().status(), 403);
    })
    .await;
}

/// S-2013-007: no answer tells where data lies, also not to its owner, and nobody sets it or the status.
#[tokio::test(flavor = "multi_thread")]
async fn s_2013_007_v1_tells_no_locations() {
    on(async |cloud| {
        let forged: Vec<_> = META
            .iter()
            .copied()
            .chain([
                ("x-image-meta-status", "queued"),
                ("x-image-meta-checksum", "0"),
                ("x-image-meta-deleted", "True"),
                ("x-image-meta-created_at", "2001-01-01T00:00:00"),
                ("x-image-meta-virtual_size", "1"),
                ("x-image-meta-uri", "x"),
            ])
            .collect();
        let made = upload(cloud, "member", &forged, b"DATA").await;
        assert_eq!(made.status(), 201);
        let text = made.text().await.unwrap();
        let image: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&image["image"]["status"], &image["image"]["checksum"]),
            (&json!("active"), &json!("e44f9e348e41cb272efa87387728571b"))
        );
        assert!(image["image"]["created_at"].as_str().unwrap() > "2020");
        let path = format!("/v1/images/{}", image["image"]["id"].as_str().unwrap());
        let mut all = text;
        for (token, method, path) in [
            ("member", Method::GET, path.as_str()),
            ("admin", Method::HEAD, path.as_str()),
            ("admin", Method::GET, "/v1/images/detail"),
            ("member", Method::GET, "/v1/images"),
        ] {
            let answer = cloud.call(token, method, path).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            for (name, value) in answer.headers() {
                all.push_str(&format!("{name}: {value:?}\n"));
            }
            all.push_str(&answer.text().await.unwrap());
        }
        for word in
            ["file://", "direct_url", "locations", "x-image-meta-location", cloud.store.to_str().unwrap()]
        {
            assert!(!all.contains(word), "{word}: {all}");
        }
    })
    .await;
}

/// Without `image.v1_api` the paths of v1, as all that have no version, get the list of versions.
#[tokio::test(flavor = "multi_thread")]
async fn off_there_is_the_list_of_versions() {
    each(async |cloud| {
        for path in [
            "/v1/images",
            "/v1",
            "/v1/images/detail",
            "/",
            "/nosuch",
            "/v3/images",
            "/v2.99/images",
            "/v2.01/images",
            "/images",
        ] {
            for (token, method) in
                [("", "GET"), ("member", "GET"), ("member", "POST"), ("member", "DELETE"), ("", "HEAD")]
            {
                let answer = cloud.call(token, method.parse().unwrap(), path).send().await.unwrap();
                assert_eq!(answer.status(), 300, "{method} {path}");
                if method == "GET" {
                    assert!(body(answer).await["versions"].as_array().unwrap().len() > 5, "{path}");
                }
            }
        }
        for path in ["/v2/nosuch", "/v2.9/nosuch"] {
            assert_eq!(cloud.get("member", path).await.0, 404);
            assert_eq!(cloud.get("", path).await.0, 401);
        }
    })
    .await;
}
