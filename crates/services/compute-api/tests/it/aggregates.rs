//! Host aggregates and the zones made of them.

use crate::{
    jobs::until,
    servers::{each, up, wish},
    support::{Client, VERSIONS},
    world::{IMAGE, KERNEL, QUEUED},
};
use serde_json::{Value, json};

async fn aggregate(admin: Client<'_>, name: &str, zone: Value) -> i64 {
    let body = json!({"aggregate": {"name": name, "availability_zone": zone}});
    admin.post("/os-aggregates", body).await.expect(200)["aggregate"]["id"].as_i64().unwrap()
}

async fn add(admin: Client<'_>, id: i64, host: &str) -> crate::support::Answer {
    admin.post(&format!("/os-aggregates/{id}/action"), json!({"add_host": {"host": host}})).await
}

async fn remove(admin: Client<'_>, id: i64, host: &str) -> crate::support::Answer {
    admin.post(&format!("/os-aggregates/{id}/action"), json!({"remove_host": {"host": host}})).await
}

async fn set(admin: Client<'_>, id: i64, metadata: Value) -> crate::support::Answer {
    let body = json!({"set_metadata": {"metadata": metadata}});
    admin.post(&format!("/os-aggregates/{id}/action"), body).await
}

#[actix_web::test]
async fn live_at_every_version() {
    each(async |cloud, _| {
        for version in VERSIONS {
            let admin = cloud.at("admin", version);
            let made = admin
                .post("/os-aggregates", json!({"aggregate": {"name": "a", "availability_zone": "z"}}))
                .await
                .expect(200);
            admin.conforms("aggregates.create", &made);
            assert_eq!(made["aggregate"].get("uuid").is_some(), version >= 41);
            assert!(made["aggregate"].get("hosts").is_none());
            let path = format!("/os-aggregates/{}", made["aggregate"]["id"]);
            let id = made["aggregate"]["id"].as_i64().unwrap();
            let taken = json!({"aggregate": {"name": "a"}});
            assert_eq!(admin.post("/os-aggregates", taken).await.fault(409), "Aggregate a already exists.");
            let shown = admin.get(&path).await.expect(200);
            admin.conforms("aggregates.show", &shown);
            assert_eq!(shown["aggregate"]["metadata"], json!({"availability_zone": "z"}));
            assert_eq!(shown["aggregate"]["updated_at"], Value::Null);
            let set = set(admin, id, json!({"k": "v", "gone": null})).await.expect(200);
            admin.conforms("aggregates.set_metadata", &set);
            assert_eq!(set["aggregate"]["metadata"], json!({"availability_zone": "z", "k": "v"}));
            assert!(set["aggregate"]["updated_at"].is_string());
            let renamed = json!({"aggregate": {"name": "b", "availability_zone": "y"}});
            let renamed = admin.put(&path, renamed).await.expect(200);
            admin.conforms("aggregates.update", &renamed);
            assert_eq!(
                (&renamed["aggregate"]["name"], &renamed["aggregate"]["availability_zone"]),
                (&json!("b"), &json!("y"))
            );
            let added = add(admin, id, "host1").await.expect(200);
            admin.conforms("aggregates.add_host", &added);
            assert_eq!(added["aggregate"]["hosts"], json!(["host1"]));
            assert_eq!(
                add(admin, id, "host1").await.fault(409),
                format!("Aggregate {id} already has host host1.")
            );
            assert_eq!(add(admin, id, "nosuch").await.fault(404), "Compute host nosuch could not be found.");
            let list = admin.get("/os-aggregates").await.expect(200);
            admin.conforms("aggregates.index", &list);
            assert_eq!(list["aggregates"].as_array().unwrap().len(), 1);
            assert_eq!(
                admin.delete(&path).await.fault(400),
                format!("Cannot remove host from aggregate {id}. Reason: Host aggregate is not empty.")
            );
            let removed = remove(admin, id, "host1").await.expect(200);
            admin.conforms("aggregates.remove_host", &removed);
            assert_eq!(
                remove(admin, id, "host1").await.fault(404),
                format!("Cannot remove host host1 in aggregate {id}")
            );
            admin.delete(&path).await.expect(200);
            assert_eq!(admin.delete(&path).await.fault(404), format!("Aggregate {id} could not be found."));
        }
    })
    .await;
}

#[actix_web::test]
async fn what_is_wrong_is_said_and_changes_nothing() {
    each(async |cloud, _| {
        let admin = cloud.at("admin", 96);
        let id = aggregate(admin, "a", Value::Null).await;
        aggregate(admin, "b", Value::Null).await;
        let before = admin.get("/os-aggregates").await.text;
        let path = format!("/os-aggregates/{id}");
        for body in [
            json!({}),
            json!({"aggregate": {}}),
            json!({"aggregate": {"name": ""}}),
            json!({"aggregate": {"name": " a"}}),
            json!({"aggregate": {"name": "n".repeat(256)}}),
            json!({"aggregate": {"name": "c", "availability_zone": "a:b"}}),
            json!({"aggregate": {"name": "c", "availability_zone": "z".repeat(256)}}),
            json!({"aggregate": {"name": "c", "x": 1}}),
        ] {
            admin.post("/os-aggregates", body).await.fault(400);
        }
        assert_eq!(
            admin.put(&path, json!({"aggregate": {"name": "b"}})).await.fault(409),
            "Aggregate b already exists."
        );
        assert_eq!(
            admin.put(&path, json!({"aggregate": {"name": "c", "availability_zone": null}})).await.fault(400),
            format!(
                "Cannot update aggregate {id}. Reason: Aggregate a does not support empty named availability zone."
            )
        );
        assert_eq!(
            set(admin, id, json!({"availability_zone": null, "k": "v"})).await.fault(400),
            format!(
                "Cannot update metadata of aggregate {id}. Reason: Aggregate a does not support empty named \
                 availability zone."
            )
        );
        set(admin, id, json!({"k": "v".repeat(256)})).await.fault(400);
        set(admin, id, json!({"k/": "v"})).await.fault(400);
        set(admin, id, json!({"k": 1})).await.fault(400);
        add(admin, id, "a b").await.fault(400);
        add(admin, id, &"h".repeat(256)).await.fault(400);
        let action = format!("{path}/action");
        assert_eq!(
            admin.post(&action, json!({"explode": {}})).await.fault(400),
            "There is no such action: explode"
        );
        admin.post(&action, json!({"add_host": {"host": "host1"}, "x": {}})).await.fault(400);
        for bad in ["x", "1.5", "1e3", "%20", "0x1"] {
            let path = format!("/os-aggregates/{bad}");
            assert_eq!(
                admin.get(&path).await.fault(400),
                "Invalid input received: id must be an integer",
                "{bad}"
            );
            admin.delete(&path).await.fault(400);
            admin.put(&path, json!({"aggregate": {"name": "x"}})).await.fault(400);
        }
        for none in ["0", "-1", "99", "9999999999999999999999"] {
            admin.get(&format!("/os-aggregates/{none}")).await.fault(404);
            admin.delete(&format!("/os-aggregates/{none}")).await.fault(404);
        }
        assert_eq!(admin.get("/os-aggregates").await.text, before);
    })
    .await;
}

#[actix_web::test]
async fn a_host_is_in_one_zone_only_and_servers_keep_theirs() {
    each(async |cloud, world| {
        let (admin, member) = (cloud.at("admin", 96), cloud.at("member", 96));
        let near = aggregate(admin, "near", json!("near")).await;
        let also = aggregate(admin, "also", json!("near")).await;
        let far = aggregate(admin, "far", json!("far")).await;
        let plain = aggregate(admin, "plain", Value::Null).await;
        for id in [near, also, plain] {
            add(admin, id, "host1").await.expect(200);
        }
        assert_eq!(
            add(admin, far, "host1").await.fault(409),
            format!(
                "Cannot add host to aggregate {far}. Reason: One or more hosts already in availability zone(s) \
                 ['near', 'near']."
            )
        );
        assert_eq!(
            set(admin, plain, json!({"availability_zone": "far"})).await.fault(400),
            format!(
                "Cannot update metadata of aggregate {plain}. Reason: One or more hosts already in availability \
                 zone(s) ['near', 'near']."
            )
        );
        // Everybody sees the zone, and schedulers are told.
        let services = admin.get("/os-services?host=host1").await.expect(200);
        assert_eq!(services["services"][0]["zone"], "near");
        let zones = member.get("/os-availability-zone").await.expect(200);
        let names: Vec<_> =
            zones["availabilityZoneInfo"].as_array().unwrap().iter().map(|z| z["zoneName"].clone()).collect();
        assert_eq!(names, ["near", "nova"]);
        until("schedulers know the zone", async || {
            let state = world.state.lock();
            let told = state.told.get("host1")?;
            (told.availability_zone == "near" && told.aggregates.len() == 3).then_some(())
        })
        .await;
        assert_eq!(
            world.state.lock().told["host1"].aggregates[0].metadata.get("availability_zone").unwrap(),
            "near"
        );
        // A server of the zone is in it; an unknown zone is refused at once.
        let server = up(member, json!({"availability_zone": "near"})).await;
        let shown = member.get(&format!("/servers/{server}")).await.expect(200);
        assert_eq!(shown["server"]["OS-EXT-AZ:availability_zone"], "near");
        assert_eq!(
            member
                .post("/servers", wish(json!({"availability_zone": "far"})))
                .await
                .fault(400),
            "The requested availability zone is not available"
        );
        // With a server the zone of its host stays.
        assert_eq!(
            admin
                .put(&format!("/os-aggregates/{near}"), json!({"aggregate": {"availability_zone": "x", "name": "n"}}))
                .await
                .fault(400),
            format!(
                "Cannot update aggregate {near}. Reason: One or more hosts already in availability zone(s) ['near']."
            )
        );
        remove(admin, also, "host1").await.expect(200);
        assert_eq!(
            admin
                .put(&format!("/os-aggregates/{near}"), json!({"aggregate": {"availability_zone": "x", "name": "n"}}))
                .await
                .fault(400),
            format!("Cannot update aggregate {near}. Reason: One or more hosts contain instances in this zone.")
        );
        assert_eq!(
            remove(admin, near, "host1").await.fault(409),
            format!("Cannot remove host host1 in aggregate {near}")
        );
        let kept = admin.get(&format!("/os-aggregates/{near}")).await.expect(200);
        assert_eq!((&kept["aggregate"]["name"], &kept["aggregate"]["hosts"]), (&json!("near"), &json!(["host1"])));
        // A rename that leaves the zone is fine, and so is a host whose zone stays.
        let same = json!({"aggregate": {"name": "nearer", "availability_zone": "near"}});
        admin.put(&format!("/os-aggregates/{near}"), same).await.expect(200);
        member.post("/servers", wish(json!({"availability_zone": "nova:host2"}))).await.fault(403);
        let forced = up(admin, json!({"availability_zone": "nova:host2"})).await;
        assert!(add(admin, far, "host2").await.fault(409).contains("would change from 'nova' to 'far'"));
        member.delete(&format!("/servers/{server}")).await.expect(204);
        admin.delete(&format!("/servers/{forced}")).await.expect(204);
        until("host1 is empty", async || {
            (remove(admin, near, "host1").await.status == 200).then_some(())
        })
        .await;
        let services = admin.get("/os-services?host=host1").await.expect(200);
        assert_eq!(services["services"][0]["zone"], "nova");
    })
    .await;
}

#[actix_web::test]
async fn a_service_that_goes_leaves_its_aggregates() {
    each(async |cloud, _| {
        let admin = cloud.at("admin", 53);
        let id = aggregate(admin, "a", json!("z")).await;
        add(admin, id, "host3").await.expect(200);
        let services = admin.get("/os-services?host=host3").await.expect(200);
        let service = services["services"][0]["id"].as_str().unwrap().to_owned();
        admin.delete(&format!("/os-services/{service}")).await.expect(204);
        let left = admin.get(&format!("/os-aggregates/{id}")).await.expect(200);
        assert_eq!(left["aggregate"]["hosts"], json!([]));
        admin.delete(&format!("/os-aggregates/{id}")).await.expect(200);
    })
    .await;
}

#[actix_web::test]
async fn images_are_cached_by_the_agents_of_its_hosts() {
    each(async |cloud, world| {
        let admin = cloud.at("admin", 81);
        let id = aggregate(admin, "a", Value::Null).await;
        for host in ["host1", "host2"] {
            add(admin, id, host).await.expect(200);
        }
        let off = json!({"host": "host2", "binary": "nova-compute"});
        cloud.at("admin", 52).put("/os-services/disable", off).await.expect(200);
        let path = format!("/os-aggregates/{id}/images");
        let both = json!({"cache": [{"id": IMAGE}, {"id": KERNEL}]});
        assert_eq!(admin.post(&path, both.clone()).await.expect(202), Value::Null);
        until("the agent is told", async || (world.state.lock().cached.len() == 2).then_some(())).await;
        // Disabled hosts and those outside are not.
        let wanted = [format!("host1 {IMAGE}"), format!("host1 {KERNEL}")];
        assert_eq!(world.state.lock().cached, wanted);
        assert_eq!(
            admin.post(&path, json!({"cache": [{"id": IMAGE}, {"id": IMAGE}]})).await.fault(400),
            "Duplicate images in request"
        );
        admin.post(&path, json!({"cache": []})).await.fault(400);
        admin.post(&path, json!({"cache": [{"id": "x"}]})).await.fault(400);
        admin.post(&path, json!({"cache": [{"id": QUEUED}]})).await.fault(400);
        let none = "99999999-9999-4999-8999-999999999999";
        assert_eq!(
            admin.post(&path, json!({"cache": [{"id": none}]})).await.fault(400),
            format!("Image {none} could not be found.")
        );
        admin.post("/os-aggregates/99/images", both.clone()).await.fault(404);
        cloud.at("member", 81).post(&path, both.clone()).await.fault(403);
        cloud.at("admin", 80).post(&path, both).await.fault(404);
        assert_eq!(world.state.lock().cached.len(), 2);
    })
    .await;
}
