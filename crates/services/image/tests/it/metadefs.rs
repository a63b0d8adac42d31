//! Metadata definitions: what is made, shown, changed and deleted, by whom, and what is refused.

use crate::support::{Cloud, PROJECT_A, PROJECT_B, each};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const NAMESPACES: &str = "/v2/metadefs/namespaces";

fn at(namespace: &str, rest: &str) -> String {
    format!("{NAMESPACES}/{namespace}{rest}")
}

impl Cloud {
    async fn put(&self, token: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let response = self
            .call(token, Method::PUT, path)
            .header("Accept", "application/json")
            .json(&body)
            .send()
            .await
            .unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A namespace of project A.
    async fn namespace(&self, name: &str, more: Value) {
        let mut body = json!({"namespace": name});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let (status, made) = self.post("admin", NAMESPACES, body).await;
        assert_eq!(status, 201, "{made}");
    }
}

#[track_caller]
fn refused(answer: (StatusCode, Value), status: u16, text: &str) {
    let message = answer.1["message"].as_str().unwrap_or_default().replace("&#x27;", "'");
    assert_eq!(answer.0, status, "{}", answer.1);
    assert!(message.contains(text), "{message}");
}

fn names(list: &Value, key: &str, name: &str) -> Vec<String> {
    list[key].as_array().unwrap().iter().map(|x| x[name].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_lives() {
    each(async |cloud| {
        let body = json!({"namespace": "FredCo::Example", "display_name": "An Example", "description": "words",
            "visibility": "public", "protected": true});
        let response = cloud.call("admin", Method::POST, NAMESPACES).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 201);
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        assert_eq!(location, format!("{}/v2/metadefs/namespaces/FredCo::Example", cloud.base));
        let made: Value = response.json().await.unwrap();
        assert_eq!(made["owner"], PROJECT_A);
        assert_eq!(made["self"], "/v2/metadefs/namespaces/FredCo::Example");
        assert_eq!(made["schema"], "/v2/schemas/metadefs/namespace");
        assert!(made["created_at"].as_str().unwrap().ends_with('Z') && made.get("objects").is_none());
        let path = at("FredCo::Example", "");
        let (status, shown) = cloud.get("reader", &path).await;
        assert_eq!((status.as_u16(), &shown), (200, &made));
        refused(
            cloud.post("admin", NAMESPACES, body).await,
            409,
            "The metadata definition namespace=FredCo::Example already exists.",
        );
        let response = cloud.call("admin", Method::DELETE, &path).send().await.unwrap();
        assert_eq!(response.status(), 403);
        let text = response.text().await.unwrap();
        assert!(text.contains("Metadata definition namespace FredCo::Example is protected and cannot be deleted."));

        // What is not given falls back to what a new one has.
        let (status, changed) = cloud.put("admin", &path, json!({"namespace": "FredCo::Renamed"})).await;
        assert_eq!(status, 200, "{changed}");
        assert_eq!((&changed["visibility"], &changed["protected"]), (&json!("private"), &json!(false)));
        assert!(changed.get("display_name").is_none());
        assert_eq!(cloud.get("admin", &path).await.0, 404);
        cloud.namespace("Other", json!({})).await;
        refused(
            cloud.put("admin", &at("Other", ""), json!({"namespace": "FredCo::Renamed"})).await,
            409,
            "Invalid update. It would result in a duplicate metadata definition namespace with the same name of FredCo::Renamed",
        );
        assert_eq!(cloud.delete("admin", &at("FredCo::Renamed", "")).await, 204);
        refused(cloud.get("admin", &at("FredCo::Renamed", "")).await, 404, "namespace=FredCo::Renamed was not found.");
        refused(cloud.put("admin", &at("x", ""), json!({"namespace": "x"})).await, 404, "Namespace x not found");
        assert_eq!(cloud.delete("admin", &at("x", "")).await, 404);
    })
    .await;
}

fn full(name: &str) -> Value {
    json!({"namespace": name, "visibility": "public",
        "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_"},
            {"name": "OS::Cinder::Volume", "prefix": "hw_", "properties_target": "image"}, {"name": "Bare"}],
        "properties": {
            "boot_menu": {"title": "Boot menu", "type": "string", "enum": ["true", "false"], "readonly": false},
            "ports": {"title": "Ports", "description": "How many", "type": "integer", "minimum": 0, "maximum": 9,
                "default": 1, "operators": ["<or>"]},
            "flags": {"title": "Flags", "type": "array", "items": {"type": "string", "enum": ["a"]},
                "uniqueItems": true, "minItems": 0, "maxItems": 3, "additionalItems": true},
            "id": {"title": "Id", "type": "string", "pattern": "^[a-z]+$", "minLength": 1, "maxLength": 5}},
        "objects": [{"name": "Limits", "description": "d", "required": ["cpu"],
            "properties": {"cpu": {"title": "CPU", "type": "integer"}}}],
        "tags": [{"name": "one"}, {"name": "two"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_create_and_prefixes() {
    each(async |cloud| {
        let body = full("N");
        let (status, made) = cloud.post("admin", NAMESPACES, body.clone()).await;
        assert_eq!(status, 201, "{made}");
        for key in ["resource_type_associations", "properties", "objects", "tags"] {
            assert_eq!(made[key], body[key], "as it was given");
        }
        let (_, shown) = cloud.get("reader", &at("N", "")).await;
        assert_eq!(shown["properties"], body["properties"]);
        assert_eq!(names(&shown, "resource_type_associations", "name"), ["OS::Glance::Image", "OS::Cinder::Volume", "Bare"].map(String::from).into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        let object = &shown["objects"][0];
        assert_eq!(object["self"], "/v2/metadefs/namespaces/N/objects/Limits");
        assert_eq!(object["properties"], body["objects"][0]["properties"]);
        assert_eq!(names(&shown, "tags", "name"), ["two", "one"]);

        let (_, shown) = cloud.get("reader", &at("N", "?resource_type=OS::Glance::Image")).await;
        let mut keys: Vec<_> = shown["properties"].as_object().unwrap().keys().cloned().collect();
        keys.sort();
        assert_eq!(keys, ["hw_boot_menu", "hw_flags", "hw_id", "hw_ports"]);
        assert_eq!(shown["objects"][0]["required"], json!(["hw_cpu"]));
        assert!(shown["objects"][0]["properties"]["hw_cpu"].is_object());
        for plain in ["Bare", "OS::Nova::Server", ""] {
            let (_, shown) = cloud.get("reader", &at("N", &format!("?resource_type={plain}"))).await;
            assert_eq!(shown["properties"], body["properties"], "{plain}");
        }

        // A part that does not fit leaves nothing behind.
        let mut twice = full("T");
        twice["objects"] = json!([{"name": "o"}, {"name": "o"}]);
        refused(
            cloud.post("admin", NAMESPACES, twice).await,
            409,
            "A metadata definition object with name=o already exists in namespace=T.",
        );
        let mut twice = full("T");
        twice["tags"] = json!([{"name": "a"}, {"name": "t"}, {"name": "t"}]);
        refused(cloud.post("admin", NAMESPACES, twice).await, 409, "A metadata tag with name=t already exists in namespace=T.");
        let mut twice = full("T");
        twice["resource_type_associations"] = json!([{"name": "R"}, {"name": "R"}]);
        refused(
            cloud.post("admin", NAMESPACES, twice).await,
            409,
            "The metadata definition resource-type association of resource-type=R to namespace=T already exists.",
        );
        assert_eq!(cloud.get("admin", &at("T", "")).await.0, 404);

        // Everything goes with the namespace; resource types stay.
        assert_eq!(cloud.delete("admin", &at("N", "")).await, 204);
        let (_, types) = cloud.get("reader", "/v2/metadefs/resource_types").await;
        assert!(names(&types, "resource_types", "name").contains(&"Bare".to_owned()));
        cloud.namespace("N", json!({})).await;
        let (_, shown) = cloud.get("admin", &at("N", "")).await;
        for key in ["resource_type_associations", "properties", "objects", "tags"] {
            assert!(shown.get(key).is_none(), "{shown}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_live() {
    each(async |cloud| {
        cloud.namespace("P", json!({"visibility": "public"})).await;
        let all = at("P", "/properties");
        let one = at("P", "/properties/cpu_info:model");
        let body = json!({"name": "cpu_info:model", "title": "Model", "type": "string", "enum": ["a", "b"]});
        let (status, made) = cloud.post("admin", &all, body.clone()).await;
        assert_eq!((status.as_u16(), &made), (201, &body));
        refused(
            cloud.post("admin", &all, body.clone()).await,
            409,
            "A metadata definition property with name=cpu_info:model already exists in namespace=P.",
        );
        assert_eq!(cloud.get("reader", &one).await.1, body);
        let (_, list) = cloud.get("reader", &all).await;
        assert_eq!(list, json!({"properties": {"cpu_info:model": {"title": "Model", "type": "string", "enum": ["a", "b"]}}}));
        let wanted = json!({"name": "model", "title": "M", "type": "integer"});
        assert_eq!(cloud.put("admin", &one, wanted.clone()).await, (StatusCode::OK, wanted.clone()));
        refused(cloud.get("admin", &one).await, 404, "Could not find property cpu_info:model");
        refused(cloud.put("admin", &one, wanted.clone()).await, 404, "Could not find property cpu_info:model");
        assert_eq!(cloud.post("admin", &all, body.clone()).await.0, 201);
        refused(
            cloud.put("admin", &one, wanted).await,
            409,
            "Invalid update. It would result in a duplicate metadata definition property with the same name=model in namespace=P.",
        );

        // As a resource type calls it.
        let types = at("P", "/resource_types");
        let (status, made) = cloud.post("admin", &types, json!({"name": "Img", "prefix": "hw_"})).await;
        assert_eq!(status, 201, "{made}");
        assert_eq!(made["prefix"], "hw_");
        assert_eq!(cloud.post("admin", &types, json!({"name": "Bare"})).await.0, 201);
        let (status, shown) = cloud.get("reader", &at("P", "/properties/hw_model?resource_type=Img")).await;
        assert_eq!((status.as_u16(), &shown["name"]), (200, &json!("model")));
        refused(
            cloud.get("reader", &at("P", "/properties/model?resource_type=Img")).await,
            404,
            "Property model does not start with the expected resource type association prefix of 'hw_'.",
        );
        refused(
            cloud.get("reader", &at("P", "/properties/model?resource_type=Bare")).await,
            404,
            "prefix of 'None'.",
        );
        refused(
            cloud.get("reader", &at("P", "/properties/model?resource_type=No")).await,
            404,
            "The metadata definition resource-type with name=No, was not found.",
        );
        assert_eq!(cloud.delete("admin", &at("P", "/resource_types/Bare")).await, 204);
        refused(
            cloud.get("reader", &at("P", "/properties/model?resource_type=Bare")).await,
            404,
            "association of resource-type=Bare to namespace=P, was not found.",
        );

        assert_eq!(cloud.delete("admin", &one).await, 204);
        assert_eq!(cloud.delete("admin", &one).await, 404);
        assert_eq!(cloud.delete("admin", &all).await, 204);
        assert_eq!(cloud.get("reader", &all).await.1, json!({"properties": {}}));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_live() {
    each(async |cloud| {
        cloud.namespace("O", json!({"visibility": "public"})).await;
        let all = at("O", "/objects");
        let one = at("O", "/objects/CPU Limits");
        let body = json!({"name": "CPU Limits", "description": "d", "required": [],
            "properties": {"quota:cpu_shares": {"title": "Shares", "type": "integer"}}});
        let (status, made) = cloud.post("admin", &all, body.clone()).await;
        assert_eq!(status, 201, "{made}");
        assert_eq!(made["self"], "/v2/metadefs/namespaces/O/objects/CPU Limits");
        assert_eq!(made["schema"], "/v2/schemas/metadefs/object");
        refused(
            cloud.post("admin", &all, body.clone()).await,
            409,
            "A metadata definition object with name=CPU Limits already exists in namespace=O.",
        );
        assert_eq!(cloud.get("reader", &one).await.1, made);
        let (_, list) = cloud.get("reader", &all).await;
        assert_eq!(list["schema"], "v2/schemas/metadefs/objects");
        assert_eq!(list["objects"], json!([made]));
        let (status, changed) = cloud.put("admin", &one, json!({"name": "L"})).await;
        assert_eq!(status, 200, "{changed}");
        assert!(changed.get("description").is_none() && changed["properties"] == json!({}));
        refused(cloud.get("admin", &one).await, 404, "Could not find metadata object CPU Limits");
        assert_eq!(cloud.post("admin", &all, body).await.0, 201);
        refused(
            cloud.put("admin", &one, json!({"name": "L"})).await,
            409,
            "Invalid update. It would result in a duplicate metadata definition object with the same name=L in namespace=O.",
        );
        for (query, text) in [
            ("?limit=0", "limit param must be positive"),
            ("?limit=x", "limit param must be an integer"),
            ("?sort_dir=up", "Invalid sort direction: up"),
            ("?visibility=all", "Invalid visibility value: all"),
        ] {
            refused(cloud.get("reader", &format!("{all}{query}")).await, 400, text);
        }
        assert_eq!(cloud.delete("admin", &one).await, 204);
        assert_eq!(cloud.delete("admin", &one).await, 404);
        assert_eq!(cloud.delete("admin", &all).await, 204);
        assert_eq!(cloud.get("reader", &all).await.1["objects"], json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_live() {
    each(async |cloud| {
        cloud.namespace("T", json!({"visibility": "public"})).await;
        let all = at("T", "/tags");
        let one = |name: &str| at("T", &format!("/tags/{name}"));
        let tags = |names: &[&str]| json!({"tags": names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>()});
        let (status, made) = cloud.post("admin", &all, tags(&["a", "b", "c"])).await;
        assert_eq!((status.as_u16(), &made), (201, &tags(&["a", "b", "c"])));
        assert_eq!(cloud.get("reader", &all).await.1, tags(&["c", "b", "a"]), "the newest first");
        assert_eq!(cloud.get("reader", &format!("{all}?limit=2")).await.1, tags(&["c", "b"]));
        assert_eq!(cloud.get("reader", &format!("{all}?limit=2&marker=b")).await.1, tags(&["a"]));
        assert_eq!(cloud.get("reader", &format!("{all}?sort_key=name&sort_dir=asc&marker=a")).await.1, tags(&["b", "c"]));
        refused(cloud.get("reader", &format!("{all}?marker=z")).await, 404, "Could not find metadata tag z");
        refused(cloud.get("reader", &format!("{all}?sort_key=size")).await, 400, "Sort key supplied was not valid.");

        // Without the header, they take the place of all that are there.
        assert_eq!(cloud.post("admin", &all, tags(&["d", "a"])).await.0, 201);
        assert_eq!(cloud.get("reader", &all).await.1, tags(&["a", "d"]));
        let append = |value: &'static str, names: Value| {
            cloud.call("admin", Method::POST, &all).header("X-Openstack-Append", value).json(&names)
        };
        assert_eq!(append("True", tags(&["e"])).send().await.unwrap().status(), 201);
        assert_eq!(cloud.get("reader", &all).await.1, tags(&["e", "a", "d"]));
        let response = append("yes", tags(&["f", "d"])).send().await.unwrap();
        assert_eq!(response.status(), 409);
        assert!(response.text().await.unwrap().contains(
            "A metadata tag with name=d already exists in namespace=T. (Please note that metadata tag names are case insensitive)."
        ));
        assert_eq!(cloud.get("reader", &all).await.1, tags(&["e", "a", "d"]), "nothing was added");
        refused(cloud.post("admin", &all, tags(&["x", "y", "x"])).await, 409, "name=x already exists");
        assert_eq!(cloud.post("admin", &all, tags(&[])).await.0, 201);
        assert_eq!(cloud.get("reader", &all).await.1, tags(&["e", "a", "d"]), "nothing was replaced");
        // More than one statement holds.
        let many: Vec<String> = (0..250).map(|i| format!("t{i:03}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(cloud.post("admin", &all, tags(&many)).await.0, 201);
        assert_eq!(cloud.get("reader", &all).await.1["tags"].as_array().unwrap().len(), 250);
        assert_eq!(cloud.post("admin", &all, tags(&["a"])).await.0, 201);

        let (status, made) = cloud.post("admin", &one("n"), Value::Null).await;
        assert_eq!((status.as_u16(), &made["name"]), (201, &json!("n")));
        assert!(made["created_at"].is_string());
        refused(cloud.post("admin", &one("n"), Value::Null).await, 409, "name=n already exists");
        assert_eq!(cloud.get("reader", &one("n")).await.1, made);
        let (status, changed) = cloud.put("admin", &one("n"), json!({"name": "m"})).await;
        assert_eq!((status.as_u16(), &changed["name"]), (200, &json!("m")));
        refused(cloud.put("admin", &one("m"), json!({"name": "a"})).await, 409, "name=a already exists");
        refused(cloud.get("reader", &one("n")).await, 404, "Could not find metadata tag n");
        assert_eq!(cloud.delete("admin", &one("m")).await, 204);
        assert_eq!(cloud.delete("admin", &one("m")).await, 404);
        assert_eq!(cloud.delete("admin", &all).await, 204);
        assert_eq!(cloud.get("reader", &all).await.1, tags(&[]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_protected_namespace_is_deleted() {
    each(async |cloud| {
        let mut body = full("Safe");
        body["protected"] = json!(true);
        assert_eq!(cloud.post("admin", NAMESPACES, body).await.0, 201);
        for (path, text) in [
            ("", "Metadata definition namespace Safe is protected and cannot be deleted."),
            ("/properties", "Metadata definition namespace Safe is protected and cannot be deleted."),
            ("/objects", "Metadata definition namespace Safe is protected and cannot be deleted."),
            ("/tags", "Metadata definition namespace Safe is protected and cannot be deleted."),
            ("/properties/id", "Metadata definition property id is protected and cannot be deleted."),
            ("/objects/Limits", "Metadata definition object Limits is protected and cannot be deleted."),
            ("/tags/one", "Metadata definition tag one is protected and cannot be deleted."),
            (
                "/resource_types/Bare",
                "Metadata definition resource-type-association Bare is protected and cannot be deleted.",
            ),
        ] {
            let response = cloud.call("admin", Method::DELETE, &at("Safe", path)).send().await.unwrap();
            assert_eq!(response.status(), 403, "{path}");
            assert!(response.text().await.unwrap().contains(text), "{path}");
        }
        let (_, shown) = cloud.get("admin", &at("Safe", "")).await;
        assert_eq!(shown["properties"].as_object().unwrap().len(), 4);
        assert_eq!(shown["resource_type_associations"].as_array().unwrap().len(), 3);
        let response =
            cloud.call("admin", Method::DELETE, &at("Safe", "/resource_types/No")).send().await.unwrap();
        assert_eq!(response.status(), 404);
        assert!(response.text().await.unwrap().contains("Failed to find resource type No to delete"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_sorted_and_paged() {
    each(async |cloud| {
        for (name, visibility, kind) in [
            ("Z::1", "public", "A"),
            ("Z::2", "private", "B"),
            ("Z::3", "public", "B"),
            ("Z::4", "private", "C"),
        ] {
            let more = json!({"visibility": visibility, "resource_type_associations": [{"name": kind}],
                "display_name": format!("d{name}")});
            cloud.namespace(name, more).await;
        }
        let list = async |query: &str| {
            let (status, list) = cloud.get("reader", &format!("{NAMESPACES}?{query}")).await;
            assert_eq!(status, 200, "{list}");
            names(&list, "namespaces", "namespace")
        };
        let ours = "resource_types=A,B,C";
        assert_eq!(list(ours).await, ["Z::4", "Z::3", "Z::2", "Z::1"]);
        assert_eq!(list("resource_types=B&sort_key=namespace&sort_dir=asc").await, ["Z::2", "Z::3"]);
        assert_eq!(list("resource_types=No").await, [] as [&str; 0]);
        assert_eq!(list(&format!("{ours}&visibility=private")).await, ["Z::4", "Z::2"]);
        for key in ["visibility", "protected", "owner", "updated_at", "display_name", "description", "id"] {
            for direction in ["asc", "desc"] {
                let sorted = format!("{ours}&sort_key={key}&sort_dir={direction}");
                let whole = list(&sorted).await;
                assert_eq!(whole.len(), 4, "{sorted}");
                let mut paged = Vec::new();
                let mut path = format!("{NAMESPACES}?{sorted}&limit=1");
                loop {
                    let (_, page) = cloud.get("reader", &path).await;
                    paged.extend(names(&page, "namespaces", "namespace"));
                    match page["next"].as_str() {
                        Some(next) => path = next.to_owned(),
                        None => break,
                    }
                }
                assert_eq!(paged, whole, "{sorted}");
            }
        }
        let (_, page) =
            cloud.get("reader", &format!("{NAMESPACES}?resource_types=A,B&limit=2&foo=bar")).await;
        assert_eq!(page["first"], "/v2/metadefs/namespaces?resource_types=A%2CB&limit=2&foo=bar");
        assert_eq!(
            page["next"],
            "/v2/metadefs/namespaces?resource_types=A%2CB&limit=2&foo=bar&marker=Z%3A%3A2"
        );
        assert_eq!(page["schema"], "/v2/schemas/metadefs/namespaces");
        assert_eq!(page["namespaces"][0]["resource_type_associations"][0]["name"], "B");
        let (_, page) = cloud.get("reader", NAMESPACES).await;
        assert_eq!((&page["first"], page["namespaces"].as_array().unwrap().len()), (&json!(NAMESPACES), 25));
        let (_, page) = cloud.get("reader", &format!("{NAMESPACES}?limit=0")).await;
        assert_eq!((&page["namespaces"], page.get("next")), (&json!([]), None));
        for (query, status, text) in [
            ("limit=-1", 400, "limit param must be positive"),
            ("limit=ten", 400, "limit param must be an integer"),
            ("limit=99999999999999999999", 400, "limit param must be an integer"),
            ("sort_dir=ASC", 400, "Invalid sort direction: ASC"),
            ("sort_key=name", 400, "Sort key supplied was not valid."),
            ("visibility=shared", 400, "Invalid visibility value: shared"),
            ("marker=none", 404, "Metadata definition namespace=none was not found."),
            ("marker=%00", 400, "NUL"),
        ] {
            refused(cloud.get("reader", &format!("{NAMESPACES}?{query}")).await, status, text);
        }
        assert_eq!(
            cloud.get("reader", &format!("{NAMESPACES}?resource_types={}", "x,".repeat(3000))).await.0,
            400
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_namespaces_do_not_exist_for_others() {
    each(async |cloud| {
        let mut body = full("Mine");
        body["visibility"] = json!("private");
        assert_eq!(cloud.post("admin", NAMESPACES, body.clone()).await.0, 201);
        body["namespace"] = json!("Theirs");
        body["owner"] = json!(PROJECT_B);
        assert_eq!(cloud.post("admin", NAMESPACES, body).await.0, 201);
        let paths = [
            "",
            "/properties",
            "/objects",
            "/tags",
            "/resource_types",
            "/properties/id",
            "/objects/Limits",
            "/tags/one",
        ];
        for (namespace, sees, not) in [("Mine", "member", "other"), ("Theirs", "other", "member")] {
            for path in paths {
                let path = at(namespace, path);
                assert_eq!(cloud.get(sees, &path).await.0, 200, "{path} as {sees}");
                assert_eq!(cloud.get("admin", &path).await.0, 200, "{path} as admin");
                let (status, hidden) = cloud.get(not, &path).await;
                assert_eq!(status, 404, "{path} as {not}");
                // The same words as for one that is not there.
                let (_, absent) = cloud.get(not, &path.replace(namespace, "Nosuch")).await;
                assert_eq!(hidden.to_string().replace(namespace, "Nosuch"), absent.to_string());
                assert_eq!(cloud.get("nobody", &path).await.0, 404, "{path} without a role");
                assert_eq!(cloud.get("", &path).await.0, 401);
            }
            let list = cloud.get(not, &format!("{NAMESPACES}?limit=1000")).await.1;
            assert!(!names(&list, "namespaces", "namespace").contains(&namespace.to_owned()));
            let list = cloud.get(sees, &format!("{NAMESPACES}?limit=1000")).await.1;
            assert!(names(&list, "namespaces", "namespace").contains(&namespace.to_owned()));
            refused(cloud.get(not, &format!("{NAMESPACES}?marker={namespace}")).await, 404, "was not found");
        }
        assert_eq!(cloud.get("nobody", NAMESPACES).await.0, 404);
        assert_eq!(cloud.get("nobody", "/v2/metadefs/resource_types").await.0, 404);
        assert_eq!(cloud.get("reader", "/v2/metadefs/resource_types").await.0, 200);
    })
    .await;
}

/// X34: every write is the administrator's, by the table and by trying.
#[tokio::test(flavor = "multi_thread")]
async fn x34_no_write_of_definitions_is_open() {
    for rule in ferrostack_image::policy::RULES.iter().filter(|r| r.name.contains("_metadef_")) {
        let reads = rule.name.starts_with("get_") || rule.name.starts_with("list_");
        assert_eq!(reads, rule.check != "rule:metadef_admin", "{}", rule.name);
        assert!(!rule.check.is_empty() && rule.check != "rule:metadef_default", "{}", rule.name);
    }
    each(async |cloud| {
        let mut private = full("Own");
        private["visibility"] = json!("private");
        assert_eq!(cloud.post("admin", NAMESPACES, private).await.0, 201);
        assert_eq!(cloud.post("admin", NAMESPACES, full("Open")).await.0, 201);
        let fill = |path: &str, namespace: &str| {
            path.replace("{namespace}", namespace)
                .replace("{property_name}", "id")
                .replace("{object_name}", "Limits")
                .replace("{tag_name}", "one")
                .replace("{resource_type}", "Bare")
        };
        let mut writes = 0;
        for route in ferrostack_image::routes::table() {
            if !route.path.starts_with("/v2/metadefs") || route.method == "GET" {
                continue;
            }
            writes += 1;
            for (namespace, token, status) in [
                ("Open", "reader", 403),
                ("Open", "member", 403),
                ("Open", "other", 403),
                ("Own", "reader", 403),
                ("Own", "member", 403),
                ("Own", "other", 404),
                ("Own", "nobody", 404),
                ("Open", "", 401),
                ("Open", "garbage", 401),
            ] {
                let path = fill(route.path, namespace);
                // Nobody may make a namespace, whichever.
                let status = if route.path == NAMESPACES && token == "other" { 403 } else { status };
                for body in
                    [full("New"), json!({"name": "x", "title": "x", "type": "string"}), json!({"tags": []})]
                {
                    let request =
                        cloud.call(token, route.method.as_str().parse().unwrap(), &path).json(&body);
                    let got = request.send().await.unwrap().status();
                    assert_eq!(got, status, "{} {path} as {token}", route.method);
                }
            }
        }
        assert_eq!(writes, 18);
        for namespace in ["Own", "Open"] {
            let (_, shown) = cloud.get("admin", &at(namespace, "")).await;
            assert_eq!(shown["tags"].as_array().unwrap().len(), 2);
            assert_eq!(shown["properties"].as_object().unwrap().len(), 4);
        }
        assert_eq!(cloud.get("admin", &at("New", "")).await.0, 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_definitions_change_nothing() {
    each(async |cloud| {
        cloud.namespace("H", json!({"visibility": "public"})).await;
        let property = |more: Value| {
            let mut body = json!({"name": "p", "title": "t", "type": "string"});
            for (key, value) in more.as_object().unwrap() {
                body[key] = value.clone();
            }
            body
        };
        let cases = [
            (NAMESPACES.to_owned(), json!({"namespace": "x".repeat(81)}), "['namespace']"),
            (NAMESPACES.to_owned(), json!({"namespace": ""}), "['namespace']"),
            (NAMESPACES.to_owned(), json!({"namespace": null}), "['namespace']"),
            (NAMESPACES.to_owned(), json!({"namespace": "x", "display_name": "x".repeat(81)}), "['display_name']"),
            (NAMESPACES.to_owned(), json!({"namespace": "x", "description": "x".repeat(501)}), "['description']"),
            (NAMESPACES.to_owned(), json!({"namespace": "x", "owner": "x".repeat(256)}), "['owner']"),
            (NAMESPACES.to_owned(), json!({"namespace": "x", "visibility": "shared"}), "['visibility']"),
            (NAMESPACES.to_owned(), json!({"namespace": "x", "protected": "yes"}), "['protected']"),
            (NAMESPACES.to_owned(), json!({"namespace": "x", "id": 1}), "'id' was unexpected"),
            (NAMESPACES.to_owned(), json!({"namespace": "x\u{0}"}), "NUL"),
            (NAMESPACES.to_owned(), json!({"namespace": "x", "tags": {"name": "t"}}), "['tags']"),
            (NAMESPACES.to_owned(), json!({"namespace": "x", "objects": [{"name": "x".repeat(81)}]}), "['name']"),
            (
                NAMESPACES.to_owned(),
                json!({"namespace": "x", "properties": {"x".repeat(81): {"title": "t", "type": "string"}}}),
                "1 to 80 characters",
            ),
            (NAMESPACES.to_owned(), json!({"namespace": "x", "properties": {"p": 5}}), "['properties']['p']"),
            (
                NAMESPACES.to_owned(),
                json!({"namespace": "x", "resource_type_associations": [{"name": "r", "prefix": "x".repeat(81)}]}),
                "['prefix']",
            ),
            (NAMESPACES.to_owned(), json!([1]), "JSON object"),
            (NAMESPACES.to_owned(), json!("x"), "JSON object"),
            (at("H", "/properties"), property(json!({"name": "x".repeat(81)})), "['name']"),
            (at("H", "/properties"), property(json!({"type": "text"})), "['type']"),
            (at("H", "/properties"), property(json!({"minimum": "1"})), "['minimum']"),
            (at("H", "/properties"), property(json!({"minLength": -1})), "['minLength']"),
            (at("H", "/properties"), property(json!({"enum": "a"})), "['enum']"),
            (at("H", "/properties"), property(json!({"items": {"type": "x"}})), "['items']['type']"),
            (at("H", "/properties"), property(json!({"operators": [1]})), "['operators'][0]"),
            (at("H", "/properties"), property(json!({"pattern": "("})), "['pattern']"),
            (at("H", "/properties"), property(json!({"nosuch": 1})), "'nosuch' was unexpected"),
            (at("H", "/properties"), json!({"name": "p", "type": "string"}), "'title' is a required property"),
            (at("H", "/objects"), json!({"name": "o", "required": ["a", "a"]}), "['required']"),
            (at("H", "/objects"), json!({"name": "o", "properties": {"p": {"type": "string"}}}), "'title'"),
            (at("H", "/objects"), json!({}), "'name' is a required property"),
            (at("H", "/tags"), json!({}), "'tags' is a required property"),
            (at("H", "/tags"), json!({"tags": [{"name": "x".repeat(81)}]}), "['tags'][0]['name']"),
            (at("H", "/tags"), json!({"tags": [{"name": ""}]}), "['name']"),
            (at("H", "/tags"), json!({"tags": ["x"]}), "['tags'][0]"),
            (at("H", &format!("/tags/{}", "x".repeat(81))), Value::Null, "['name']"),
            (at("H", "/tags/a%00b"), Value::Null, "NUL"),
            (at("H", "/resource_types"), json!({"name": "x".repeat(81)}), "['name']"),
            (at("H", "/resource_types"), json!({"name": ""}), "['name']"),
        ];
        for (path, body, text) in cases {
            refused(cloud.post("admin", &path, body).await, 400, text);
        }
        for key in ["self", "schema", "created_at", "updated_at"] {
            let text = format!("Attribute '{key}' is read-only.");
            refused(cloud.post("admin", NAMESPACES, json!({"namespace": "x", key: "x"})).await, 403, &text);
            refused(cloud.post("admin", &at("H", "/objects"), json!({"name": "x", key: "x"})).await, 403, &text);
        }
        for name in ["x'; DROP TABLE metadef_namespace; --", "<script>", "ü\u{1F980}", "a/b", "..", " ", "%"] {
            let body = json!({"namespace": name, "tags": [{"name": name}]});
            let response = cloud.call("admin", Method::POST, NAMESPACES).json(&body).send().await.unwrap();
            assert_eq!(response.status(), 201, "{name}");
            assert!(response.headers()["location"].to_str().is_ok());
        }
        for path in ["%00", "a%00b", &"x".repeat(5000), "%ff"] {
            for rest in ["", "/tags", "/tags/x", "/objects/x", "/properties/x"] {
                let status = cloud.get("admin", &at(path, rest)).await.0.as_u16();
                assert!(matches!(status, 400 | 404 | 414), "{status} {path}{rest}");
            }
        }
        for rest in ["/tags/%00", "/objects/%00", "/properties/%00", "/properties/x?resource_type=%00"] {
            let status = cloud.get("admin", &at("H", rest)).await.0.as_u16();
            assert!(matches!(status, 400 | 404), "{status} {rest}");
        }
        let (status, _) = cloud.post("admin", NAMESPACES, json!({"namespace": "x", "description": "x".repeat(200_000)})).await;
        assert_eq!(status, 413);
        let (_, shown) = cloud.get("admin", &at("H", "")).await;
        for key in ["resource_type_associations", "properties", "objects", "tags"] {
            assert!(shown.get(key).is_none(), "{shown}");
        }
    })
    .await;
}
