//! Deletions that are put off, and deletions that are not.

use crate::{
    jobs::{ASKER, Bench, until},
    servers::{becomes, each, each_with, gone, make, show, up},
};
use ferrostack_compute_api::{jobs, reconcile, store::servers::states};
use ferrostack_model::{Timestamp, server::VmState};
use serde_json::json;

#[actix_web::test]
async fn a_deleted_server_can_be_restored_until_it_is_reclaimed() {
    each_with(
        |s| {
            s.compute.reclaim_instance_interval = 3600;
            s.compute.quota.instances = 2;
        },
        async |cloud, world| {
            let (member, admin) = (cloud.at("member", 84), cloud.at("admin", 84));
            let id = up(member, json!({"networks": "auto"})).await;
            let (path, action) = (format!("/servers/{id}"), format!("/servers/{id}/action"));
            let early = member.post(&action, json!({"restore": null})).await.fault(409);
            assert_eq!(early, format!("Cannot 'restore' instance {id} while it is in vm_state active"));
            member.delete(&path).await.expect(204);
            let server = becomes(member, &id, "SOFT_DELETED").await;
            assert_eq!(server["OS-EXT-STS:power_state"], 4);
            assert_eq!(world.guest_count(), 1, "its disk is kept");
            assert_eq!(world.state.lock().ports.len(), 1, "and its addresses");
            let db = cloud.db().await;
            assert_eq!(crate::world::count(&db, "SELECT COUNT(*) FROM claims").await, 1, "and its place");
            let list = member.get("/servers").await.expect(200);
            assert_eq!(list["servers"], json!([]), "but it is not listed");
            let found = admin.get("/servers?status=SOFT_DELETED").await.expect(200);
            assert_eq!(found["servers"][0]["id"], json!(id));
            // It counts for no quota.
            let two = [up(member, json!({})).await, up(member, json!({})).await];
            let full = member.post(&action, json!({"restore": null})).await.fault(403);
            assert!(full.starts_with("Quota exceeded for instances"), "{full}");
            assert_eq!(show(member, &id).await["OS-EXT-STS:task_state"], json!(null));
            member.delete(&format!("/servers/{}", two[0])).await.expect(204);
            becomes(member, &two[0], "SOFT_DELETED").await;
            member.post(&action, json!({"restore": null})).await.expect(202);
            let server = becomes(member, &id, "ACTIVE").await;
            assert_eq!(server["OS-EXT-STS:power_state"], 1);
            let list = admin.get(&format!("{path}/os-instance-actions")).await.expect(200);
            let names: Vec<_> =
                list["instanceActions"].as_array().unwrap().iter().map(|a| &a["action"]).collect();
            assert_eq!(names, ["restore", "delete", "create"]);
            // A second delete changes nothing; forceDelete waits for nobody.
            for _ in 0..2 {
                member.delete(&path).await.expect(204);
                becomes(member, &id, "SOFT_DELETED").await;
            }
            member.post(&action, json!({"forceDelete": null})).await.expect(202);
            until("it is gone", async || (member.get(&path).await.status == 404).then_some(())).await;
            // What never stood is not put aside.
            world.state.lock().no_host = true;
            let broken = make(member, json!({})).await;
            becomes(member, &broken, "ERROR").await;
            gone(member, &broken).await;
            for id in two {
                member.post(&format!("/servers/{id}/action"), json!({"forceDelete": {}})).await.expect(202);
                until("it is gone", async || {
                    (member.get(&format!("/servers/{id}")).await.status == 404).then_some(())
                })
                .await;
            }
            world.assert_empty(&db).await;
            db.close().await;
        },
    )
    .await;
}

#[actix_web::test]
async fn without_the_setting_a_delete_is_hard() {
    each(async |cloud, world| {
        let member = cloud.at("member", 84);
        for how in ["delete", "forceDelete"] {
            let id = up(member, json!({})).await;
            if how == "delete" {
                gone(member, &id).await;
            } else {
                let path = format!("/servers/{id}/action");
                member.post(&path, json!({"forceDelete": null})).await.expect(202);
                until("it is gone", async || {
                    (member.get(&format!("/servers/{id}")).await.status == 404).then_some(())
                })
                .await;
            }
        }
        let db = cloud.db().await;
        world.assert_empty(&db).await;
        db.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_off_long_enough_is_reclaimed() {
    let bench = Bench::new(1).await;
    bench.build().await;
    jobs::delete::begin_soft(&bench.app, &bench.row().await, ASKER).await.map_err(|e| e.for_log()).unwrap();
    bench.finish(&bench.active().await.unwrap().id).await;
    assert_eq!(bench.row().await.vm_state, VmState::SoftDeleted);
    reconcile::reclaim::collect(&bench.app, 3600).await.unwrap();
    assert!(bench.active().await.is_none(), "not yet");
    reconcile::reclaim::collect(&bench.app, 0).await.unwrap();
    assert!(bench.active().await.is_none(), "not where deletions are hard");
    let mut tx = bench.app.db.begin_write().await.unwrap();
    states::keep(&mut tx, &bench.server).await.unwrap();
    states::put_off(&mut tx, &bench.server, Timestamp::now().plus_seconds(-3601)).await.unwrap();
    tx.commit().await.unwrap();
    reconcile::reclaim::collect(&bench.app, 3600).await.unwrap();
    bench.finish(&bench.active().await.unwrap().id).await;
    assert!(bench.row().await.deleted_at.is_some());
    bench.world.assert_empty(&bench.app.db).await;
}
