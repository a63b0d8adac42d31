//! Versioned notifications: who listens on the topic hears every action, with Nova's names and payloads.

use crate::{
    servers::{becomes, each, gone, up},
    support::{Cloud, PROJECT_A, user_id},
};
use ferrostack_bus::Topic;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::mpsc::UnboundedReceiver;

/// Members of `InstanceActionPayload` 1.9.
const MEMBERS: &str = "action_initiator_project action_initiator_user architecture auto_disk_config availability_zone \
    block_devices created_at deleted_at display_description display_name fault flavor host host_name image_uuid \
    ip_addresses kernel_id key_name launched_at locked locked_reason metadata node os_type power_state progress \
    ramdisk_id request_id reservation_id shares state task_state tenant_id terminated_at updated_at user_id uuid";
/// What `InstanceCreatePayload` 1.13 has beside these.
const OF_CREATE: &str = " instance_name keypairs tags trusted_image_certificates";

async fn turned_on(cloud: &mut Cloud) -> UnboundedReceiver<(Topic, Vec<u8>)> {
    cloud.shut().await;
    cloud.settings.compute.notifications.enabled = true;
    let heard = cloud.bus.notifications();
    cloud.boot().await;
    heard
}

/// The next one: its topic and the message inside oslo.messaging's envelope.
async fn next(heard: &mut UnboundedReceiver<(Topic, Vec<u8>)>) -> (Topic, Value) {
    let (topic, body) = tokio::time::timeout(Duration::from_secs(30), heard.recv()).await.unwrap().unwrap();
    let envelope: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(envelope["oslo.version"], "2.0");
    (topic, serde_json::from_str(envelope["oslo.message"].as_str().unwrap()).unwrap())
}

fn members(payload: &Value) -> BTreeSet<&str> {
    payload["nova_object.data"].as_object().unwrap().keys().map(String::as_str).collect()
}

fn wanted(text: &str) -> BTreeSet<&str> {
    text.split_whitespace().collect()
}

#[actix_web::test]
async fn a_whole_life_is_told() {
    each(async |cloud, world| {
        let mut heard = turned_on(cloud).await;
        let member = cloud.at("member", 90);
        let id = up(member, json!({"networks": "auto", "metadata": {"a": "b"}})).await;
        let (topic, said) = next(&mut heard).await;
        assert_eq!((topic.exchange.as_str(), topic.key.as_str()), ("nova", "versioned_notifications.info"));
        assert_eq!(
            (&said["event_type"], &said["priority"]),
            (&json!("instance.create.start"), &json!("INFO"))
        );
        let (_, said) = next(&mut heard).await;
        let payload = &said["payload"];
        assert_eq!(said["event_type"], "instance.create.end");
        assert_eq!(
            (&payload["nova_object.name"], &payload["nova_object.version"]),
            (&json!("InstanceCreatePayload"), &json!("1.13"))
        );
        let all = format!("{MEMBERS}{OF_CREATE}");
        assert_eq!(members(payload), wanted(&all));
        let data = &payload["nova_object.data"];
        assert_eq!(data["uuid"], id);
        assert_eq!(data["tenant_id"], PROJECT_A);
        assert_eq!(data["action_initiator_user"], user_id("member"));
        assert_eq!(data["state"], "active");
        assert_eq!(data["power_state"], "running");
        assert_eq!(data["metadata"], json!({"a": "b"}));
        assert_eq!(data["flavor"]["nova_object.data"]["flavorid"], "f1");
        assert_eq!(data["ip_addresses"][0]["nova_object.data"]["label"], "private");
        assert_eq!(said["publisher_id"], format!("nova-compute:{}", data["host"].as_str().unwrap()));

        let action = format!("/servers/{id}/action");
        member.post(&action, json!({"os-stop": null})).await.expect(202);
        becomes(member, &id, "SHUTOFF").await;
        for (event, task, power) in [
            ("instance.power_off.start", json!("powering-off"), "running"),
            ("instance.power_off.end", json!(null), "shutdown"),
        ] {
            let (_, said) = next(&mut heard).await;
            let data = &said["payload"]["nova_object.data"];
            assert_eq!(said["event_type"], event);
            assert_eq!(members(&said["payload"]), wanted(MEMBERS));
            assert_eq!((&data["task_state"], &data["power_state"]), (&task, &json!(power)));
        }

        // What takes no time is told once.
        member.post(&action, json!({"lock": {"locked_reason": "no"}})).await.expect(202);
        let (_, said) = next(&mut heard).await;
        let data = &said["payload"]["nova_object.data"];
        assert_eq!((&said["event_type"], &data["locked"]), (&json!("instance.lock"), &json!(true)));
        assert_eq!(data["locked_reason"], "no");
        member.post(&action, json!({"unlock": null})).await.expect(202);
        assert_eq!(next(&mut heard).await.1["event_type"], "instance.unlock");

        // A failure goes to the queue of errors, with its fault.
        let host = member_host(cloud, &id).await;
        world.state.lock().failing.insert(host.clone(), false);
        member.post(&action, json!({"os-start": null})).await.expect(202);
        let (_, said) = next(&mut heard).await;
        assert_eq!(said["event_type"], "instance.power_on.start");
        let (topic, said) = next(&mut heard).await;
        assert_eq!(topic.key, "versioned_notifications.error");
        assert_eq!(
            (&said["event_type"], &said["priority"]),
            (&json!("instance.power_on.error"), &json!("ERROR"))
        );
        let fault = &said["payload"]["nova_object.data"]["fault"];
        assert_eq!(fault["nova_object.name"], "ExceptionPayload");
        assert!(!fault["nova_object.data"]["exception_message"].as_str().unwrap().is_empty());
        world.state.lock().failing.clear();

        becomes(member, &id, "SHUTOFF").await;
        member.delete(&format!("/servers/{id}")).await.expect(204);
        gone(member, &id).await;
        let (_, said) = next(&mut heard).await;
        assert_eq!(said["event_type"], "instance.delete.start");
        let (_, said) = next(&mut heard).await;
        assert_eq!(said["event_type"], "instance.delete.end");
        assert_eq!(said["payload"]["nova_object.data"]["state"], "deleted");
        assert!(heard.try_recv().is_err(), "each is sent once");
    })
    .await;
}

async fn member_host(cloud: &Cloud, id: &str) -> String {
    let server = cloud.at("admin", 90).get(&format!("/servers/{id}")).await.expect(200);
    server["server"]["OS-EXT-SRV-ATTR:host"].as_str().unwrap().to_owned()
}

/// They are off unless turned on: nothing is written for them.
#[actix_web::test]
async fn off_nothing_is_kept() {
    each(async |cloud, _| {
        let mut heard = cloud.bus.notifications();
        up(cloud.at("member", 90), json!({})).await;
        let db = cloud.db().await;
        let kept: i64 = ferrostack_db::sqlx::query_scalar("SELECT COUNT(*) FROM notifications")
            .fetch_one(db.reader())
            .await
            .unwrap();
        assert_eq!(kept, 0);
        assert!(heard.try_recv().is_err());
        db.close().await;
    })
    .await;
}

/// What was decided while nobody could send it is sent by whoever starts next, in its order.
#[actix_web::test]
async fn what_waits_is_sent_after_a_restart() {
    each(async |cloud, _| {
        use ferrostack_compute_api::store::notifications;
        use ferrostack_model::Timestamp;
        let db = cloud.db().await;
        let mut tx = db.begin_write().await.unwrap();
        for n in 0..250 {
            let body =
                json!({"oslo.version": "2.0", "oslo.message": json!({"n": n}).to_string()}).to_string();
            notifications::insert(&mut tx, &format!("id-{n}"), Timestamp(n), "INFO", &body).await.unwrap();
        }
        tx.commit().await.unwrap();
        // While another replica lives its batch is its own, and what comes after waits for it.
        let until = Timestamp::now().plus_seconds(600);
        assert_eq!(notifications::claim(&db, "other", until, 3).await.unwrap().len(), 3);
        assert!(notifications::claim(&db, "me", until, 1000).await.unwrap().is_empty());
        // It dies: its lease ends.
        let held = notifications::claim(&db, "other", Timestamp::now().plus_seconds(-1), 3).await.unwrap();
        assert_eq!(held.len(), 3);
        let mut heard = turned_on(cloud).await;
        for n in 0..250 {
            assert_eq!(next(&mut heard).await.1["n"], n);
        }
        db.close().await;
    })
    .await;
}
