//! The standard definitions: there after the first start, and an administrator's from then on.

use crate::support::{Cloud, each, each_with};
use reqwest::Method;
use serde_json::{Value, json};

const NAMESPACES: &str = "/v2/metadefs/namespaces";

async fn listed(cloud: &Cloud) -> Vec<Value> {
    let (_, list) =
        cloud.get("reader", &format!("{NAMESPACES}?limit=1000&sort_key=namespace&sort_dir=asc")).await;
    list["namespaces"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_there_after_the_first_start() {
    each(async |cloud| {
        let definitions = ferrostack_image::metadefs::standard::definitions().unwrap();
        assert!(definitions.len() >= 25);
        assert_eq!(listed(cloud).await.len(), definitions.len());
        for (namespace, contents) in definitions {
            let (status, shown) = cloud.get("other", &format!("{NAMESPACES}/{}", namespace.name)).await;
            assert_eq!(status, 200, "{shown}");
            assert_eq!((&shown["owner"], &shown["protected"]), (&json!("admin"), &json!(true)));
            let count = |key: &str| match &shown[key] {
                Value::Array(all) => all.len(),
                Value::Object(all) => all.len(),
                _ => 0,
            };
            assert_eq!(count("properties"), contents.properties.len(), "{}", namespace.name);
            assert_eq!(count("objects"), contents.objects.len(), "{}", namespace.name);
            assert_eq!(
                count("resource_type_associations"),
                contents.associations.len(),
                "{}",
                namespace.name
            );
        }
        let (_, shown) = cloud
            .get("other", &format!("{NAMESPACES}/OS::Compute::Libvirt?resource_type=OS::Nova::Flavor"))
            .await;
        assert!(shown["properties"]["hw:boot_menu"].is_object(), "{shown}");
        let bare = &cloud.get("other", &format!("{NAMESPACES}/OS::Compute::Watchdog")).await.1;
        let of_image = &bare["resource_type_associations"][0];
        assert_eq!((&of_image["name"], &of_image["prefix"]), (&json!("OS::Glance::Image"), &json!("hw_")));
        assert!(of_image.get("properties_target").is_none());
        let (_, types) = cloud.get("other", "/v2/metadefs/resource_types").await;
        let types: Vec<_> =
            types["resource_types"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
        for name in ["OS::Glance::Image", "OS::Nova::Flavor", "OS::Nova::Aggregate", "OS::Cinder::Volume"] {
            assert!(types.contains(&name), "{types:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_changed_stays() {
    each(async |cloud| {
        let path = |rest: &str| format!("{NAMESPACES}/OS::Compute::{rest}");
        let open = |name: &str| {
            let body = json!({"namespace": format!("OS::Compute::{name}"), "visibility": "public", "description": "mine"});
            cloud.call("admin", Method::PUT, &path(name)).json(&body).send()
        };
        for name in ["Libvirt", "Quota", "Watchdog"] {
            assert_eq!(open(name).await.unwrap().status(), 200);
        }
        assert_eq!(cloud.delete("admin", &path("Watchdog")).await, 204);
        assert_eq!(cloud.delete("admin", &path("Libvirt/properties/boot_menu")).await, 204);
        assert_eq!(cloud.delete("admin", &path("Libvirt/resource_types/OS::Nova::Flavor")).await, 204);
        assert_eq!(cloud.delete("admin", &path("Quota/objects/Disk QoS")).await, 204);
        let new = json!({"name": "mem_encryption", "title": "Mine", "type": "boolean"});
        let put = cloud.call("admin", Method::PUT, &path("Libvirt/properties/mem_encryption")).json(&new);
        assert_eq!(put.send().await.unwrap().status(), 200);
        let renamed = json!({"namespace": "Hypervisor", "visibility": "public"});
        let put = cloud.call("admin", Method::PUT, &path("Hypervisor")).json(&renamed);
        assert_eq!(put.send().await.unwrap().status(), 200);
        let before = listed(cloud).await;
        let details = async |cloud: &Cloud| {
            let mut all = Vec::new();
            for name in ["Libvirt", "Quota"] {
                all.push(cloud.get("admin", &format!("{NAMESPACES}/OS::Compute::{name}")).await.1);
            }
            all
        };
        let contents = details(cloud).await;
        assert_eq!(contents[0]["properties"]["mem_encryption"]["title"], "Mine");
        assert!(contents[0]["properties"].get("boot_menu").is_none());
        for _ in 0..2 {
            cloud.shut().await;
            cloud.boot().await;
            assert_eq!(listed(cloud).await, before);
            assert_eq!(details(cloud).await, contents);
        }
    })
    .await;
}

/// A release that knows more than the one that made the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_release_adds_what_is_new() {
    each_with(
        |settings| settings.image.metadefs.load_standard = false,
        async |cloud| {
            use ferrostack_image::{metadefs::standard::definitions, store::metadefs::standard::load};
            assert_eq!(listed(cloud).await, [] as [Value; 0]);
            let db = cloud.db().await;
            let mine = json!({"namespace": "OS::Compute::Quota", "visibility": "public"});
            assert_eq!(cloud.post("admin", NAMESPACES, mine).await.0, 201);
            let whole = definitions().unwrap();
            let mut older = whole.clone();
            older.retain(|(n, _)| n.name != "OS::Compute::Watchdog");
            let at = |all: &[_], name: &str| {
                all.iter()
                    .position(|(n, _): &(ferrostack_image::metadefs::Namespace, _)| n.name == name)
                    .unwrap()
            };
            let libvirt = at(&older, "OS::Compute::Libvirt");
            older[libvirt].1.properties.retain(|p| p.name != "boot_menu");
            let webservers = at(&older, "OS::Software::WebServers");
            older[webservers].1.objects.pop();
            older[webservers].1.associations.pop();
            let quota = at(&older, "OS::Compute::Quota");
            older[quota].1.objects.pop();
            load(&db, &older).await.unwrap();
            assert_eq!(listed(cloud).await.len(), whole.len() - 1);
            // Two replicas of the new release start at once.
            let (a, b) = tokio::join!(load(&db, &whole), load(&db, &whole));
            a.unwrap();
            b.unwrap();
            for (namespace, contents) in &whole {
                let (_, shown) = cloud.get("admin", &format!("{NAMESPACES}/{}", namespace.name)).await;
                let count = |key: &str| match &shown[key] {
                    Value::Array(all) => all.len(),
                    Value::Object(all) => all.len(),
                    _ => 0,
                };
                if namespace.name == "OS::Compute::Quota" {
                    // It was there before: nothing is put into it.
                    assert_eq!(count("objects") + count("resource_type_associations"), 0, "{shown}");
                    continue;
                }
                assert_eq!(count("properties"), contents.properties.len(), "{}", namespace.name);
                assert_eq!(count("objects"), contents.objects.len(), "{}", namespace.name);
                assert_eq!(
                    count("resource_type_associations"),
                    contents.associations.len(),
                    "{}",
                    namespace.name
                );
            }
        },
    )
    .await;
}
