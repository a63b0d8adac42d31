//! Keypairs.

use crate::support::{VERSIONS, each, each_with, user_id};
use ferrostack_compute_api::keys;
use serde_json::{Value, json};

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEFs/1LJV2aJj5gTWtIUJT2eV6R2eDDBkjxFxrMSPoq a@b";

fn import(name: &str) -> Value {
    json!({"keypair": {"name": name, "public_key": ED25519}})
}

#[actix_web::test]
async fn every_version_has_novas_shape() {
    each(async |cloud| {
        for version in VERSIONS {
            let member = cloud.at("member", version);
            let name = format!("k{version}");
            let made = member.post("/os-keypairs", import(&name)).await;
            let made = made.expect(if version == 1 { 200 } else { 201 });
            member.conforms("keypairs.create", &made);
            assert_eq!(made["keypair"]["user_id"], user_id("member"));
            assert_eq!(made["keypair"]["fingerprint"], keys::ssh_fingerprint(ED25519).unwrap());
            let list = member.get("/os-keypairs").await.expect(200);
            member.conforms("keypairs.index", &list);
            assert_eq!(list["keypairs"][0]["keypair"].get("type").is_some(), version >= 2);
            let shown = member.get(&format!("/os-keypairs/{name}")).await.expect(200);
            member.conforms("keypairs.show", &shown);
            assert_eq!(shown["keypair"]["public_key"], ED25519);
            let gone = member.delete(&format!("/os-keypairs/{name}")).await;
            assert_eq!(gone.status, if version == 1 { 202 } else { 204 });
            assert_eq!(
                member.get(&format!("/os-keypairs/{name}")).await.fault(404),
                format!("Keypair {name} not found for user {}", user_id("member"))
            );
            member.delete(&format!("/os-keypairs/{name}")).await.fault(404);
        }
    })
    .await;
}

#[actix_web::test]
async fn generates_until_2_91() {
    each(async |cloud| {
        for version in [1, 2, 91] {
            let member = cloud.at("member", version);
            let made = member.post("/os-keypairs", json!({"keypair": {"name": format!("g{version}")}})).await;
            let made = made.expect(if version == 1 { 200 } else { 201 });
            member.conforms("keypairs.create", &made);
            let key = &made["keypair"];
            let public = key["public_key"].as_str().unwrap();
            assert!(public.starts_with("ssh-rsa AAAA") && public.ends_with(" Generated-by-Nova"));
            assert_eq!(key["fingerprint"], keys::ssh_fingerprint(public).unwrap());
            assert!(key["private_key"].as_str().unwrap().starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
            let shown = member.get(&format!("/os-keypairs/g{version}")).await.expect(200);
            assert!(!shown.to_string().contains("PRIVATE"), "the private half is not kept");
        }
        let says =
            cloud.at("member", 92).post("/os-keypairs", json!({"keypair": {"name": "g"}})).await.fault(400);
        assert!(says.ends_with("'public_key' is a required property"), "{says}");
        let x509 = json!({"keypair": {"name": "x", "type": "x509"}});
        cloud.at("member", 2).post("/os-keypairs", x509).await.fault(400);
    })
    .await;
}

#[actix_web::test]
async fn names_follow_the_version() {
    each(async |cloud| {
        let member = cloud.at("member", 91);
        for bad in ["a@b", "a.b", "a/b", " a", "a ", "", "ä"] {
            member.post("/os-keypairs", import(bad)).await.fault(400);
        }
        member.post("/os-keypairs", import(&"n".repeat(256))).await.fault(400);
        cloud.at("member", 92).post("/os-keypairs", import("a@b.c d")).await.expect(201);
        cloud.at("member", 92).get("/os-keypairs/a@b.c%20d").await.expect(200);
        assert_eq!(
            cloud.at("member", 92).post("/os-keypairs", import("a@b.c d")).await.fault(409),
            "Key pair 'a@b.c d' already exists."
        );
        for (key, part) in [
            (json!("nonsense"), "Keypair data is invalid: failed to generate fingerprint"),
            (json!(""), "Keypair data is invalid"),
            (json!(5), "5 is not of type 'string'"),
            (json!(format!("{ED25519} {}", "c".repeat(70_000))), "too long"),
        ] {
            let body = json!({"keypair": {"name": "bad", "public_key": key}});
            let says = member.post("/os-keypairs", body).await.fault(400);
            assert!(says.contains(part), "{says}");
        }
        member.get("/os-keypairs/bad").await.fault(404);
        let body = json!({"keypair": {"name": "t", "public_key": ED25519, "type": "pgp"}});
        member.post("/os-keypairs", body).await.fault(400);
    })
    .await;
}

#[actix_web::test]
async fn they_belong_to_users() {
    each(async |cloud| {
        cloud.at("member", 10).post("/os-keypairs", import("k")).await.expect(201);
        let theirs = format!("?user_id={}", user_id("member"));
        cloud.at("other", 10).get("/os-keypairs/k").await.fault(404);
        let path = format!("/os-keypairs/k{theirs}");
        let refused = cloud.at("other", 10).get(&path).await.fault(403);
        assert_eq!(refused, "Policy doesn't allow os_compute_api:os-keypairs:show to be performed.");
        cloud.at("other", 10).delete(&path).await.fault(403);
        cloud.at("reader", 10).get(&format!("/os-keypairs{theirs}")).await.fault(403);
        let mut body = import("forced");
        body["keypair"]["user_id"] = json!(user_id("member"));
        cloud.at("other", 10).post("/os-keypairs", body.clone()).await.fault(403);
        // An admin may, from 2.10.
        cloud.at("admin", 10).get(&path).await.expect(200);
        cloud.at("admin", 9).get(&path).await.fault(404);
        cloud.at("admin", 10).post("/os-keypairs", body.clone()).await.expect(201);
        cloud.at("admin", 9).post("/os-keypairs", body).await.fault(400);
        let list = cloud.at("member", 10).get("/os-keypairs").await.expect(200);
        assert_eq!(list["keypairs"].as_array().unwrap().len(), 2);
        cloud.at("admin", 10).delete(&path).await.expect(204);
        cloud.at("member", 10).get("/os-keypairs/k").await.fault(404);
    })
    .await;
}

#[actix_web::test]
async fn pages_from_2_35() {
    each(async |cloud| {
        for name in ["c", "a", "b"] {
            cloud.at("member", 35).post("/os-keypairs", import(name)).await.expect(201);
        }
        let names = async |version: u16, query: &str| -> Vec<String> {
            let list = cloud.at("member", version).get(&format!("/os-keypairs{query}")).await.expect(200);
            let entries = list["keypairs"].as_array().unwrap();
            entries.iter().map(|k| k["keypair"]["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(35, "?limit=2").await, ["a", "b"]);
        assert_eq!(names(35, "?marker=b").await, ["c"]);
        assert_eq!(names(34, "?limit=2").await, ["a", "b", "c"]);
        let page = cloud.at("member", 35).get("/os-keypairs?limit=1&marker=a").await.expect(200);
        assert_eq!(
            page["keypairs_links"],
            json!([{"rel": "next", "href": format!("{}/v2.1/os-keypairs?limit=1&marker=b", cloud.base)}])
        );
        let member = cloud.at("member", 35);
        assert_eq!(member.get("/os-keypairs?marker=zz").await.fault(400), "marker [zz] not found");
        member.get("/os-keypairs?limit=x").await.fault(400);
        cloud.at("member", 75).get("/os-keypairs?x=y").await.fault(400);
    })
    .await;
}

#[actix_web::test]
async fn the_quota_holds_under_parallel_calls() {
    each_with(
        |settings| settings.compute.quota.key_pairs = 3,
        async |cloud| {
            let calls = (0..16).map(|n| {
                let client = cloud.at("member", 2);
                async move { client.post("/os-keypairs", import(&format!("k{n}"))).await }
            });
            let answers = futures_util::future::join_all(calls).await;
            assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 3);
            for refused in answers.into_iter().filter(|a| a.status != 201) {
                assert_eq!(refused.fault(403), "Quota exceeded, too many key pairs.");
            }
            // Of each user its own.
            cloud.at("reader", 2).post("/os-keypairs", import("k")).await.expect(201);
        },
    )
    .await;
}
