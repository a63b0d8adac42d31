//! `POST /servers`: what is taken, what is refused, and what networks are chosen.

use crate::{
    jobs::until,
    servers::{becomes, each, gone, make, show, up, wish},
    support::PROJECT_A,
    world::{BIG, EMPTY_NETWORK, IMAGE, KERNEL, NETWORK, QUEUED, count},
};
use serde_json::{Value, json};

#[actix_web::test]
async fn hostile_bodies_change_nothing() {
    each(async |cloud, world| {
        let member = cloud.at("member", 94);
        world.state.lock().ports.insert("88888888-8888-4888-8888-888888888888".into(), json!({
            "id": "88888888-8888-4888-8888-888888888888", "network_id": NETWORK, "mac_address": "fa:16:3e:00:00:01",
            "device_id": "somebody", "fixed_ips": [{"subnet_id": "s", "ip_address": "10.0.0.9"}]}));
        let long = "x".repeat(256);
        let cases = [
            (json!({"name": ""}), "name"),
            (json!({"name": long}), "name"),
            (json!({"name": 5}), "name"),
            (json!({"name": " x"}), "name"),
            (json!({"name": "a\u{0}b"}), "name"),
            (json!({"name": null}), "'name' is a required property"),
            (json!({"flavorRef": null}), "'flavorRef' is a required property"),
            (json!({"networks": null}), "'networks' is a required property"),
            (json!({"flavorRef": "nope"}), "Flavor nope could not be found."),
            (json!({"imageRef": "nope"}), "imageRef"),
            (json!({"imageRef": "99999999-9999-4999-8999-999999999999"}), "Can not find requested image"),
            (json!({"imageRef": QUEUED}), "is not active."),
            (json!({"imageRef": BIG}), "Flavor's disk is smaller than the minimum size"),
            (json!({"imageRef": ""}), "Invalid imageRef provided."),
            (json!({"key_name": "none"}), "Invalid key_name provided."),
            (json!({"progress": 0}), "('progress' was unexpected)"),
            (json!({"min_count": 3, "max_count": 2}), "min_count must be <= max_count"),
            (json!({"max_count": 1_000_000}), "max_count must be <="),
            (json!({"min_count": 0}), "min_count"),
            (json!({"user_data": "not base64!"}), "user_data"),
            (json!({"user_data": "QUJD".repeat(20_000)}), "user_data"),
            (json!({"metadata": {"k": "v".repeat(256)}}), "k"),
            (json!({"metadata": {"bad/key": "v"}}), "metadata"),
            (json!({"metadata": {"k": 1}}), "k"),
            (json!({"availability_zone": "mars"}), "The requested availability zone is not available"),
            (json!({"security_groups": [{"name": "web"}]}), "Security group web not found for project"),
            (json!({"networks": [{"uuid": "junk"}]}), "networks"),
            (json!({"networks": [{"uuid": "99999999-9999-4999-8999-999999999999"}]}), "could not be found."),
            (json!({"networks": [{"uuid": EMPTY_NETWORK}]}), "requires a subnet"),
            (json!({"networks": [{"port": "99999999-9999-4999-8999-999999999999"}]}), "could not be found."),
            (json!({"networks": [{}]}), "network uuid is not in proper format"),
            (json!({"networks": [{"uuid": NETWORK, "fixed_ip": "172.16.0.1"}]}), "not a valid ip address"),
            (json!({"networks": [{"uuid": NETWORK, "fixed_ip": "10.0.0.9"}]}), "already in use"),
            (json!({"networks": [{"uuid": NETWORK, "fixed_ip": "10.0.0.3"}], "max_count": 2}), "max_count cannot be greater"),
            (json!({"networks": "some"}), "networks"),
            (json!({"accessIPv4": "300.1.1.1"}), "accessIPv4"),
            (json!({"hostname": "-bad-"}), "hostname"),
            (json!({"personality": []}), "personality"),
            (json!({"block_device_mapping_v2": [{"source_type": "volume", "destination_type": "volume",
                "uuid": KERNEL, "boot_index": 0}]}), "failed to get volume"),
            (json!({"block_device_mapping_v2": [{"source_type": "blank", "destination_type": "local"}]}), "local devices"),
            (json!({"block_device_mapping_v2": [{"source_type": "image", "destination_type": "local", "boot_index": 0,
                "uuid": KERNEL}]}), "Boot sequence"),
            (json!({"block_device_mapping": [{"volume_id": KERNEL}]}), "failed to get volume"),
            (json!({"tags": ["a,b"]}), "'a,b' does not match '^[^,/]*$'"),
            (json!({"trusted_image_certificates": []}), "trusted_image_certificates"),
        ];
        for (more, text) in cases {
            let said = member.post("/servers", wish(more.clone())).await;
            assert!(said.status == 400, "{more}: {} {}", said.status, said.text);
            let said = said.fault(400);
            assert!(said.contains(text) || (text.len() < 30 && said.contains(&format!("attribute {text}"))), "{more}: {said}");
        }
        for (more, status, text) in [
            (json!({"host": "host1"}), 403, "compute:servers:create:requested_destination"),
            (json!({"availability_zone": "nova:host1"}), 403, "os_compute_api:servers:create:forced_host"),
            (json!({"networks": [{"port": "88888888-8888-4888-8888-888888888888"}]}), 409, "still in use"),
            (json!({"max_count": 51, "min_count": 51}), 403, "Quota exceeded for instances: Requested 51"),
            (json!({"metadata": (0..129).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>()}), 403,
                "Maximum number of metadata items exceeds 128"),
        ] {
            let said = member.post("/servers", wish(more.clone())).await.fault(status);
            assert!(said.contains(text), "{more}: {said}");
        }
        let hinted = |hint: Value| {
            let mut body = wish(json!({}));
            body["os:scheduler_hints"] = hint;
            body
        };
        let said = member.post("/servers", hinted(json!({"group": KERNEL}))).await.fault(400);
        assert_eq!(said, format!("Instance group {KERNEL} could not be found."));
        assert_eq!(member.post("/servers", json!([])).await.fault(400), "[] is not of type 'object'");
        assert!(member.post("/servers", json!({})).await.fault(400).contains("'server' is a required property"));
        let admin = cloud.at("admin", 94);
        let said = admin.post("/servers", wish(json!({"host": "moon"}))).await.fault(400);
        assert_eq!(said, "Compute host moon could not be found.");
        let both = json!({"host": "host1", "availability_zone": "nova:host2"});
        assert!(admin.post("/servers", wish(both)).await.fault(400).contains("mutually exclusive"));
        for (who, status) in [("reader", 403), ("nobody", 403), ("", 401)] {
            assert_eq!(cloud.at(who, 94).post("/servers", wish(json!({}))).await.status, status);
        }
        assert_eq!(admin.get("/servers?all_tenants=1").await.expect(200)["servers"], json!([]));
        let db = cloud.db().await;
        assert_eq!(count(&db, "SELECT COUNT(*) FROM servers").await, 0);
        assert_eq!(count(&db, "SELECT COUNT(*) FROM jobs").await, 0);
        db.close().await;
        world.state.lock().ports.clear();
    })
    .await;
}

#[actix_web::test]
async fn many_at_once_have_names_and_one_reservation() {
    each(async |cloud, _| {
        let member = cloud.at("member", 37);
        let body = json!({"min_count": 2, "max_count": "3", "return_reservation_id": "True", "name": "web"});
        let made = member.post("/servers", wish(body)).await.expect(202);
        member.conforms("servers.create", &made);
        let reservation = made["reservation_id"].as_str().unwrap();
        let path = format!("/servers/detail?reservation_id={reservation}&sort_key=display_name&sort_dir=asc");
        let list = until("all are up", async || {
            let list = member.get(&path).await.expect(200);
            list["servers"].as_array().unwrap().iter().all(|s| s["status"] == "ACTIVE").then_some(list)
        })
        .await;
        let names: Vec<&str> =
            list["servers"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["web-1", "web-2", "web-3"]);
        // As many as the quota lets in.
        let some = member.post("/servers", wish(json!({"min_count": 1, "max_count": 49}))).await;
        some.expect(202);
        let count = member.get("/servers").await.expect(200)["servers"].as_array().unwrap().len();
        assert_eq!(count, 50);
        assert!(
            member
                .post("/servers", wish(json!({})))
                .await
                .fault(403)
                .starts_with("Quota exceeded for instances")
        );
    })
    .await;
}

#[actix_web::test]
async fn networks_are_chosen_as_nova_does() {
    each(async |cloud, world| {
        let (old, new) = (cloud.at("member", 1), cloud.at("member", 37));
        let ips = async |id: &str| becomes(new, id, "ACTIVE").await["addresses"].clone();
        let id = make(new, json!({"networks": "auto"})).await;
        assert_eq!(ips(&id).await["private"].as_array().unwrap().len(), 1);
        let id = make(old, json!({"networks": null})).await;
        assert_eq!(ips(&id).await["private"].as_array().unwrap().len(), 1);
        let id = make(new, json!({})).await;
        assert_eq!(ips(&id).await, json!({}));
        let id =
            make(new, json!({"networks": [{"uuid": NETWORK, "fixed_ip": "10.0.200.9"}, {"uuid": NETWORK}]}))
                .await;
        let addresses = ips(&id).await;
        assert_eq!(addresses["private"][0]["addr"], "10.0.200.9", "{addresses:#}");
        assert_eq!(addresses["private"].as_array().unwrap().len(), 2);

        let port = "88888888-8888-4888-8888-888888888888";
        world.state.lock().ports.insert(
            port.into(),
            json!({"id": port, "network_id": NETWORK, "device_id": "",
            "mac_address": "fa:16:3e:00:00:01", "fixed_ips": [{"subnet_id": "s", "ip_address": "10.0.0.9"}]}),
        );
        let id = make(new, json!({"networks": [{"port": port}]})).await;
        assert_eq!(ips(&id).await["private"][0]["addr"], "10.0.0.9");
        assert_eq!(world.state.lock().ports[port]["device_id"], id);
        gone(new, &id).await;
        // A port the user brought is given back, not deleted.
        assert_eq!(world.state.lock().ports[port]["device_id"], "");

        world.state.lock().shared_networks = 2;
        let many = "Multiple possible networks found, use a Network ID to be more specific.";
        assert_eq!(new.post("/servers", wish(json!({"networks": "auto"}))).await.fault(409), many);
        assert_eq!(old.post("/servers", wish(json!({"networks": null}))).await.fault(409), many);
        world.state.lock().shared_networks = 0;
        let none = new.post("/servers", wish(json!({"networks": "auto"}))).await.fault(400);
        assert_eq!(none, format!("Unable to automatically allocate a network for project {PROJECT_A}"));
        let id = make(old, json!({"networks": null})).await;
        assert_eq!(ips(&id).await, json!({}));
    })
    .await;
}

#[actix_web::test]
async fn clients_forms_of_create_are_taken() {
    each(async |cloud, _| {
        let member = cloud.at("member", 94);
        // As the openstack client sends it.
        let mut body = wish(json!({"min_count": 1, "max_count": 1, "block_device_mapping_v2": [{"uuid": IMAGE,
            "boot_index": 0, "source_type": "image", "destination_type": "local", "delete_on_termination": true}]}));
        body["OS-SCH-HNT:scheduler_hints"] = json!({"different_host": [IMAGE], "custom": "1"});
        member.post("/servers", body).await.expect(202);
        up(member, json!({"imageRef": null, "block_device_mapping_v2": [{"uuid": IMAGE, "boot_index": "0",
            "source_type": "image", "destination_type": "local"}]}))
        .await;
        // Old SDKs: numbers as text, unknown members at /v2, injected files.
        let old = cloud.at("member", 1);
        up(old, json!({"networks": null, "min_count": "1", "config_drive": "true", "flavorRef": "f1",
            "personality": [{"path": "/etc/x", "contents": "aGk="}]}))
        .await;
        let request = cloud.request("member", reqwest::Method::POST, &format!("/v2/{PROJECT_A}/servers"));
        let mut body = wish(json!({"networks": null, "name": " padded "}));
        body["server"]["progress"] = json!(0);
        let made = crate::support::answer(request.json(&body)).await;
        let id = made.expect(202)["server"]["id"].as_str().unwrap().to_owned();
        assert_eq!(show(old, &id).await["name"], "padded");
        let admin = cloud.at("admin", 94);
        for place in [json!({"availability_zone": "nova:host3"}), json!({"host": "host3"}),
            json!({"hypervisor_hostname": "host1.example", "host": "host1"})]
        {
            let id = up(admin, place.clone()).await;
            let host = show(admin, &id).await["OS-EXT-SRV-ATTR:host"].clone();
            assert_eq!(host, if place["hypervisor_hostname"].is_null() { "host3" } else { "host1" }, "{place}");
        }
    })
    .await;
}
