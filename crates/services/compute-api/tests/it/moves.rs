//! Resizes and cold migrations over HTTP: going, confirming, coming back; the disk follows and claims are exact.

use crate::{
    jobs::until,
    servers::{becomes, each, gone, make, show, up},
    support::{Cloud, PROJECT_B},
    world::{NETWORK, World, count},
};
use ferrostack_db::sqlx;
use serde_json::{Value, json};

async fn flavors(cloud: &Cloud) {
    let admin = cloud.at("admin", 1);
    for (id, ram, vcpus, disk, more) in [
        ("f2", 1024, 2, 20, json!({})),
        ("small", 256, 1, 5, json!({})),
        ("huge", 1024, 15, 20, json!({})),
        ("private", 1024, 2, 20, json!({"os-flavor-access:is_public": false})),
        ("nodisk", 1024, 2, 0, json!({})),
    ] {
        let mut body = json!({"flavor": {"id": id, "name": id, "ram": ram, "vcpus": vcpus, "disk": disk}});
        for (name, value) in more.as_object().unwrap() {
            body["flavor"][name] = value.clone();
        }
        admin.post("/flavors", body).await.expect(200);
    }
}

/// What hosts hold, by name: vCPUs, MiB, servers.
async fn held(cloud: &Cloud) -> Vec<(String, i64, i64, i64)> {
    let db = cloud.db().await;
    let rows = sqlx::query_as(
        "SELECT host, vcpus_used, memory_mb_used, num_instances FROM hosts WHERE num_instances > 0 OR vcpus_used > 0
         OR memory_mb_used > 0 OR local_gb_used > 0 ORDER BY host",
    )
    .fetch_all(db.reader())
    .await
    .unwrap();
    db.close().await;
    rows
}

fn at(host: &str, vcpus: i64, memory_mb: i64, servers: i64) -> (String, i64, i64, i64) {
    (host.into(), vcpus, memory_mb, servers)
}

async fn act(cloud: &Cloud, who: &str, id: &str, body: Value) -> crate::support::Answer {
    cloud.at(who, 84).post(&format!("/servers/{id}/action"), body).await
}

fn disk(world: &World, host: &str, id: &str) -> Option<String> {
    world.state.lock().disks.get(&(host.to_owned(), id.to_owned())).cloned()
}

async fn migrations(cloud: &Cloud, id: &str) -> Vec<String> {
    let list = cloud.at("admin", 84).get(&format!("/os-migrations?instance_uuid={id}")).await.expect(200);
    list["migrations"].as_array().unwrap().iter().map(|m| m["status"].as_str().unwrap().into()).collect()
}

/// I04, R08, R16, R28: to another host and back, then there to stay.
#[actix_web::test]
async fn a_resize_to_another_host_takes_the_disk_along_and_can_be_taken_back() {
    each(async |cloud, world| {
        flavors(cloud).await;
        let member = cloud.at("member", 84);
        let id = up(member, json!({"networks": [{"uuid": NETWORK}]})).await;
        let content = disk(world, "host1", &id).unwrap();
        // Only others are left to choose.
        world.state.lock().avoid = Some("host1".into());
        let resize = json!({"resize": {"flavorRef": "f2"}});
        act(cloud, "member", &id, resize.clone()).await.expect(202);
        let server = becomes(member, &id, "VERIFY_RESIZE").await;
        assert_eq!(server["flavor"]["original_name"], "f2");
        assert_eq!(disk(world, "host2", &id), Some(content.clone()), "the disk followed");
        assert_eq!(disk(world, "host1", &id), Some(content.clone()), "the old disk is kept");
        assert_eq!(held(cloud).await, [at("host1", 1, 512, 1), at("host2", 2, 1024, 1)]);
        let port = world.state.lock().ports.values().next().cloned().unwrap();
        assert_eq!(port["binding:host_id"], "host2");
        assert_eq!(migrations(cloud, &id).await, ["finished"]);
        // The old guest is not taken for a stray one.
        world.report_guests("host1", ferrostack_model::Timestamp::now(), true).await;

        act(cloud, "member", &id, json!({"revertResize": null})).await.expect(202);
        let server = becomes(member, &id, "ACTIVE").await;
        assert_eq!(server["flavor"]["original_name"], "m1.x");
        assert_eq!(held(cloud).await, [at("host1", 1, 512, 1)]);
        assert_eq!(disk(world, "host1", &id), Some(content.clone()));
        assert_eq!(disk(world, "host2", &id), None);
        assert_eq!(world.guest_count(), 1);
        let port = world.state.lock().ports.values().next().cloned().unwrap();
        assert_eq!(port["binding:host_id"], "host1");

        act(cloud, "member", &id, resize).await.expect(202);
        becomes(member, &id, "VERIFY_RESIZE").await;
        let confirmed = act(cloud, "member", &id, json!({"confirmResize": null})).await;
        assert_eq!(confirmed.status, 204);
        let server = becomes(member, &id, "ACTIVE").await;
        assert_eq!(server["flavor"]["original_name"], "f2");
        assert_eq!(held(cloud).await, [at("host2", 2, 1024, 1)]);
        assert_eq!(disk(world, "host1", &id), None);
        assert_eq!(disk(world, "host2", &id), Some(content));
        assert_eq!(migrations(cloud, &id).await, ["confirmed", "reverted"]);
        gone(member, &id).await;
        world.assert_empty(&cloud.db().await).await;
    })
    .await;
}

/// U3: on the same host the larger of both sizes is claimed, and a stopped server comes back stopped.
#[actix_web::test]
async fn a_resize_in_place_claims_the_larger_size_and_keeps_the_power() {
    each(async |cloud, world| {
        flavors(cloud).await;
        let member = cloud.at("member", 84);
        let id = up(member, json!({})).await;
        act(cloud, "member", &id, json!({"os-stop": null})).await.expect(202);
        becomes(member, &id, "SHUTOFF").await;
        act(cloud, "member", &id, json!({"resize": {"flavorRef": "f2"}})).await.expect(202);
        becomes(member, &id, "VERIFY_RESIZE").await;
        assert_eq!(held(cloud).await, [at("host1", 2, 1024, 1)]);
        assert_eq!(world.state.lock().kept.len(), 1);
        act(cloud, "member", &id, json!({"revertResize": null})).await.expect(202);
        becomes(member, &id, "SHUTOFF").await;
        assert_eq!(held(cloud).await, [at("host1", 1, 512, 1)]);
        assert!(world.state.lock().kept.is_empty());
        act(cloud, "member", &id, json!({"resize": {"flavorRef": "f2"}})).await.expect(202);
        becomes(member, &id, "VERIFY_RESIZE").await;
        act(cloud, "member", &id, json!({"confirmResize": null})).await.expect(204);
        becomes(member, &id, "SHUTOFF").await;
        assert_eq!(held(cloud).await, [at("host1", 2, 1024, 1)]);
        assert!(world.state.lock().kept.is_empty());
        gone(member, &id).await;
        world.assert_empty(&cloud.db().await).await;
    })
    .await;
}

/// R16, S-2014-037: deleted while it waits for a decision.
#[actix_web::test]
async fn a_delete_in_verify_resize_leaves_nothing_on_either_host() {
    each(async |cloud, world| {
        flavors(cloud).await;
        let member = cloud.at("member", 84);
        let id = up(member, json!({})).await;
        world.state.lock().avoid = Some("host1".into());
        act(cloud, "member", &id, json!({"resize": {"flavorRef": "f2"}})).await.expect(202);
        becomes(member, &id, "VERIFY_RESIZE").await;
        gone(member, &id).await;
        world.assert_empty(&cloud.db().await).await;
        assert_eq!(migrations(cloud, &id).await, ["confirmed"]);
        assert_eq!(count(&cloud.db().await, "SELECT COUNT(*) FROM move_claims").await, 0);
    })
    .await;
}

#[actix_web::test]
async fn what_cannot_be_is_refused_in_novas_words() {
    each(async |cloud, world| {
        flavors(cloud).await;
        let member = cloud.at("member", 84);
        let id = up(member, json!({})).await;
        let refused = async |body: Value, status: u16| act(cloud, "member", &id, body).await.fault(status);
        let to = |flavor: &str| json!({"resize": {"flavorRef": flavor}});
        assert_eq!(refused(to("f1"), 400).await, "When resizing, instances must change flavor!");
        assert_eq!(refused(to("nope"), 400).await, "Flavor nope could not be found.");
        // X22, S-2013-019: another's private flavor is like none.
        assert_eq!(refused(to("private"), 400).await, "Flavor private could not be found.");
        assert_eq!(
            refused(to("small"), 400).await,
            "Server disk was unable to be resized because: Unable to resize disk down."
        );
        assert_eq!(
            refused(to("nodisk"), 400).await,
            "Server disk was unable to be resized because: Resize to zero disk flavor is not allowed."
        );
        for bad in [json!({"resize": {}}), json!({"resize": {"flavorRef": ""}}), json!({"resize": null})] {
            refused(bad, 400).await;
        }
        for verb in ["confirmResize", "revertResize"] {
            let mut body = json!({});
            body[verb] = Value::Null;
            assert_eq!(
                refused(body, 409).await,
                format!("Cannot '{verb}' instance {id} while it is in vm_state active")
            );
        }
        refused(json!({"migrate": null}), 403).await;
        let admin = async |body: Value, status: u16| act(cloud, "admin", &id, body).await.fault(status);
        assert_eq!(
            admin(json!({"migrate": {"host": "host1"}}), 400).await,
            "Cannot migrate to the host where the server exists."
        );
        assert_eq!(
            admin(json!({"migrate": {"host": "no"}}), 400).await,
            "Compute host no could not be found."
        );
        // A move that finds no host leaves everything as it was.
        world.state.lock().no_host = true;
        act(cloud, "member", &id, to("f2")).await.expect(202);
        until("the move has failed", async || (migrations(cloud, &id).await == ["error"]).then_some(()))
            .await;
        let server = show(member, &id).await;
        assert_eq!((&server["status"], &server["OS-EXT-STS:task_state"]), (&json!("ACTIVE"), &Value::Null));
        assert_eq!(held(cloud).await, [at("host1", 1, 512, 1)]);
        cloud.at("other", 84).post(&format!("/servers/{id}/action"), to("f2")).await.fault(404);
        assert_ne!(PROJECT_B, "");
        let _ = make;
    })
    .await;
}
