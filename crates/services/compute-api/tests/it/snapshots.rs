//! Images of servers: the job through every fault, and the actions over HTTP.

use crate::{
    jobs::{ASKER, Bench, until},
    servers::{becomes, each, show, up},
    support::{PROJECT_A, PROJECT_B, conforms, user_id},
    world::IMAGE,
};
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_compute_api::{
    app::App,
    jobs::snapshot::{Data, Rotation, Snapshot},
    snapshot::{self, Wish},
    store::instance_actions as actions,
};
use ferrostack_db::Db;
use ferrostack_jobs::{
    Job, JobKind, State, find,
    testing::{self, Fault, Scenario, every_step},
};
use ferrostack_model::{
    Caller, TokenClaims,
    auth::{ProjectRef, Secret},
    id,
    server::{PowerState, TaskState, VmState},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const REQUEST: &str = "req-snap";

fn caller(project: &str) -> Caller {
    let project = ProjectRef { id: project.into(), name: "p".into(), ..ProjectRef::default() };
    let claims = TokenClaims { sub: "u".into(), project: Some(project), ..TokenClaims::default() };
    Caller { claims, token: Secret("x".into()) }
}

fn wish(backup: bool) -> Wish {
    let rotation = backup.then(|| Rotation { backup_type: "daily".into(), keep: 1 });
    Wish { name: "snap".into(), metadata: [("k".into(), "v".into())].into(), rotation }
}

impl Bench {
    async fn snapshot(&self, backup: bool) -> String {
        let server = self.row().await;
        let asked = snapshot::begin(&self.app, &caller(PROJECT_A), server, &wish(backup), REQUEST).await;
        asked.map_err(|e| e.for_log()).unwrap()
    }

    fn images(&self) -> Vec<Value> {
        self.world.state.lock().images.values().cloned().collect()
    }

    /// A backup as an earlier run left it.
    fn old_backup(&self, more: Value) -> String {
        let id = id::uuid();
        let mut image = json!({"id": id, "status": "active", "image_type": "backup", "backup_type": "daily",
            "instance_uuid": self.server, "owner": PROJECT_A, "created_at": "00000000-"});
        for (name, value) in more.as_object().unwrap() {
            image[name] = value.clone();
        }
        self.world.state.lock().images.insert(id.clone(), image);
        id
    }
}

struct Case {
    bench: Bench,
    backup: bool,
}

#[async_trait]
impl Scenario<App> for Case {
    fn context(&self) -> Arc<App> {
        self.bench.app.clone()
    }
    fn db(&self) -> Db {
        self.bench.app.db.clone()
    }
    fn bus(&self) -> Arc<dyn Bus> {
        self.bench.app.bus.clone()
    }
    fn kind(&self) -> Box<dyn JobKind<App>> {
        Box::new(if self.backup { Snapshot::backup() } else { Snapshot::image() })
    }
    async fn enqueue(&self) -> String {
        if self.backup {
            self.bench.old_backup(json!({}));
        }
        self.bench.snapshot(self.backup).await;
        self.bench.active().await.unwrap().id
    }
    async fn assert_done(&self, job: &Job) {
        let images = self.bench.images();
        assert_eq!(images.len(), 1, "{images:?}");
        assert_eq!(images[0]["status"], "active");
        assert_eq!(images[0]["id"], job.data::<Data>().unwrap().image_id);
        let server = self.bench.row().await;
        assert_eq!((server.vm_state, server.task_state), (VmState::Active, None));
        assert_eq!((server.power_state, server.fault), (PowerState::Running, None));
        assert_eq!(self.bench.event(REQUEST).await.0.as_deref(), Some("Success"));
    }
    async fn assert_undone(&self, job: &Job) {
        let mine = job.data::<Data>().unwrap().image_id;
        assert!(self.bench.images().iter().all(|i| i["id"] != mine), "the image is left");
        let server = self.bench.row().await;
        assert_eq!((server.vm_state, server.task_state), (VmState::Active, None));
        assert_eq!(self.bench.world.guest_count(), 1, "the guest runs on");
        let (result, details) = self.bench.event(REQUEST).await;
        assert_eq!(result.as_deref(), Some("Error"));
        assert!(details.is_some());
    }
}

async fn case(backup: bool) -> Case {
    let bench = Bench::new(1).await;
    bench.build().await;
    Case { bench, backup }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_survives_every_fault() {
    every_step(|| case(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_survives_every_fault() {
    every_step(|| case(true)).await;
}

/// R38 with the deletion of the server at every step: nothing is left but an image that has all its data.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_during_any_step_takes_the_unfinished_image_along() {
    for step in ["image", "copy", "finish"] {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::CrashAfterCommit] {
            let Case { bench, .. } = case(false).await;
            bench.snapshot(false).await;
            let id = bench.active().await.unwrap().id;
            let runner = bench.runner();
            runner.faults().arm(step, false, fault);
            while runner.faults().left() > 0 {
                runner.run_one(&id).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            bench.delete().await;
            testing::expire_leases(&bench.app.db).await;
            runner.run_one(&id).await.unwrap();
            let job = bench.active().await.unwrap();
            assert_eq!(bench.finish(&job.id).await.state, State::Done, "{fault:?} in {step}");
            let row = bench.row().await;
            assert!(row.deleted_at.is_some() && row.vm_state == VmState::Deleted);
            let images = bench.images();
            assert!(images.iter().all(|i| i["status"] == "active"), "{fault:?} in {step}: {images:?}");
            bench.world.assert_empty(&bench.app.db).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_during_the_upload_removes_the_image() {
    let Case { bench, .. } = case(false).await;
    bench.world.state.lock().slow_snapshots = true;
    bench.snapshot(false).await;
    let id = bench.active().await.unwrap().id;
    let runner = bench.runner();
    until("the agent's stage is shown", async || {
        runner.run_one(&id).await.unwrap();
        (bench.row().await.task_state == Some(TaskState::ImageUploading)).then_some(())
    })
    .await;
    bench.delete().await;
    let job = bench.active().await.unwrap();
    assert_eq!(bench.finish(&job.id).await.state, State::Done);
    assert_eq!(bench.images(), Vec::<Value>::new());
    assert!(bench.row().await.fault.is_none());
    let events = actions::events(&bench.app.db, &bench.server, REQUEST).await.unwrap();
    assert_eq!(events[0].result.as_deref(), Some("Error"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_deleted_meanwhile_leaves_the_server_as_it_was() {
    let Case { bench, .. } = case(false).await;
    bench.snapshot(false).await;
    let id = bench.active().await.unwrap().id;
    let runner = bench.runner();
    runner.faults().arm("image", false, Fault::CrashAfterCommit);
    while runner.faults().left() > 0 {
        runner.run_one(&id).await.unwrap();
    }
    bench.world.state.lock().images.clear();
    testing::expire_leases(&bench.app.db).await;
    assert_eq!(bench.finish(&id).await.state, State::Failed);
    let server = bench.row().await;
    assert_eq!((server.vm_state, server.task_state), (VmState::Active, None));
    assert!(bench.event(REQUEST).await.1.unwrap().contains("could not be found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_dies_before_its_image_leaves_nothing() {
    let Case { bench, .. } = case(false).await;
    bench.snapshot(false).await;
    // As if the process had ended between the job and the image.
    bench.world.state.lock().images.clear();
    let id = bench.active().await.unwrap().id;
    assert_eq!(bench.finish(&id).await.state, State::Failed);
    assert_eq!(bench.row().await.task_state, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_host_costs_the_image_and_not_the_server() {
    let Case { bench, .. } = case(false).await;
    bench.world.state.lock().mute.insert("host1".into());
    bench.snapshot(false).await;
    let id = bench.active().await.unwrap().id;
    assert_eq!(bench.finish(&id).await.state, State::Failed);
    assert_eq!(bench.images(), Vec::<Value>::new());
    let server = bench.row().await;
    assert_eq!((server.vm_state, server.task_state), (VmState::Active, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_removes_only_the_oldest_of_the_same_kind_and_owner() {
    let Case { bench, .. } = case(true).await;
    let oldest = bench.old_backup(json!({"created_at": "00000000-a"}));
    let protected = bench.old_backup(json!({"created_at": "00000000-b", "protected": true}));
    let others = [
        json!({"backup_type": "weekly"}),
        json!({"image_type": "snapshot"}),
        json!({"instance_uuid": "x"}),
        // Somebody else says that his images are backups of this server.
        json!({"owner": PROJECT_B, "created_at": "99999999"}),
    ]
    .map(|more| bench.old_backup(more));
    let made = bench.snapshot(true).await;
    let id = bench.active().await.unwrap().id;
    assert_eq!(bench.finish(&id).await.state, State::Done);
    let left: Vec<String> = bench.images().iter().map(|i| i["id"].as_str().unwrap().to_owned()).collect();
    assert!(!left.contains(&oldest));
    for kept in others.iter().chain([&made, &protected]) {
        assert!(left.contains(kept), "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_image_does_not_hold_up_its_undoing() {
    let Case { bench, .. } = case(false).await;
    bench.world.state.lock().failing.insert("host1".into(), false);
    let image = bench.snapshot(false).await;
    bench.world.state.lock().images.get_mut(&image).unwrap()["protected"] = json!(true);
    let id = bench.active().await.unwrap().id;
    assert_eq!(bench.finish(&id).await.state, State::Failed);
    assert_eq!(bench.row().await.task_state, None);
    assert_eq!(find(&bench.app.db, &id).await.unwrap().unwrap().state, State::Failed);
    assert_eq!(ASKER.user_id, "u");
}

fn create_image(more: Value) -> Value {
    let mut body = json!({"createImage": {"name": "snap"}});
    for (name, value) in more.as_object().unwrap() {
        body["createImage"][name] = value.clone();
    }
    body
}

fn create_backup(rotation: Value) -> Value {
    json!({"createBackup": {"name": "bak", "backup_type": "daily", "rotation": rotation}})
}

#[tokio::test(flavor = "multi_thread")]
async fn images_over_http() {
    each(async |cloud, world| {
        let (old, new) = (cloud.at("member", 44), cloud.at("member", 45));
        let id = up(new, json!({})).await;
        let path = format!("/servers/{id}/action");
        let action = format!("/servers/{id}/os-instance-actions");
        let answer =
            old.post(&path, create_image(json!({"metadata": {"mine": "yes", "hw_disk_bus": "scsi"}}))).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (202, ""));
        let location = answer.headers["location"].to_str().unwrap().to_owned();
        let image_id = location.rsplit('/').next().unwrap().to_owned();
        assert_eq!(location, format!("{}/images/{image_id}", world.url));
        let image = world.state.lock().images[&image_id].clone();
        let expected = json!({"name": "snap", "visibility": "private", "disk_format": "qcow2",
            "container_format": "bare", "min_disk": 10, "min_ram": 1, "image_type": "snapshot",
            "instance_uuid": id, "user_id": user_id("member"), "owner_id": PROJECT_A, "base_image_ref": IMAGE,
            "image_location": "snapshot", "image_state": "available", "owner_user_name": "member",
            "owner_project_name": "a", "boot_roles": "member,reader", "mine": "yes", "hw_disk_bus": "scsi"});
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(image[name], *value, "{name}");
        }
        becomes(new, &id, "ACTIVE").await;
        assert_eq!(world.state.lock().images[&image_id]["status"], "active");
        let body = new.post(&path, create_image(json!({}))).await.expect(202);
        conforms("servers.createImage", 45, &body);
        becomes(new, &id, "ACTIVE").await;
        let list = new.get(&action).await.expect(200);
        let all = list["instanceActions"].as_array().unwrap().clone();
        let made = all.iter().find(|a| a["action"] == "createImage").unwrap();
        let one = format!("{action}/{}", made["request_id"].as_str().unwrap());
        let event = cloud.at("admin", 51).get(&one).await.expect(200)["instanceAction"]["events"][0].clone();
        assert_eq!(
            (&event["event"], &event["result"]),
            (&json!("compute_snapshot_instance"), &json!("Success"))
        );

        // Backups.
        for round in ["1", "2"] {
            let body = new.post(&path, create_backup(json!(round))).await.expect(202);
            conforms("servers.createBackup", 45, &body);
            becomes(new, &id, "ACTIVE").await;
        }
        let backups = || {
            let state = world.state.lock();
            state.images.values().filter(|i| i["image_type"] == "backup").count()
        };
        assert_eq!(backups(), 2);
        let answer = old.post(&path, create_backup(json!(1))).await;
        assert!(answer.headers.contains_key("location"));
        becomes(new, &id, "ACTIVE").await;
        assert_eq!(backups(), 1);
        let answer = old.post(&path, create_backup(json!(0))).await;
        assert_eq!(answer.status.as_u16(), 202);
        assert!(!answer.headers.contains_key("location"));
        becomes(new, &id, "ACTIVE").await;
        assert_eq!(backups(), 0);

        // Stopped servers too, and nothing else beside.
        new.post(&path, json!({"os-stop": null})).await;
        becomes(new, &id, "SHUTOFF").await;
        new.post(&path, create_image(json!({}))).await.expect(202);
        let task = show(new, &id).await["OS-EXT-STS:task_state"].clone();
        let again = new.post(&path, create_image(json!({}))).await;
        if again.status == 409 {
            let text = again.fault(409);
            assert!(
                text.starts_with(&format!("Cannot 'createImage' instance {id} while it is in task_state ")),
                "{text}"
            );
        } else {
            assert!(task.is_null(), "{task}");
        }
        becomes(new, &id, "SHUTOFF").await;
        cloud.at("admin", 1).post(&path, json!({"os-resetState": {"state": "error"}})).await;
        for (name, body) in
            [("createImage", create_image(json!({}))), ("createBackup", create_backup(json!(1)))]
        {
            let text = new.post(&path, body).await.fault(409);
            assert_eq!(text, format!("Cannot '{name}' instance {id} while it is in vm_state error"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_wishes_change_nothing() {
    each(async |cloud, world| {
        let client = cloud.at("member", 38);
        let id = up(client, json!({})).await;
        let path = format!("/servers/{id}/action");
        let long = "n".repeat(256);
        for bad in [
            json!({"createImage": {}}),
            json!({"createImage": null}),
            json!({"createImage": []}),
            create_image(json!({"name": ""})),
            create_image(json!({"name": long})),
            create_image(json!({"name": " x"})),
            create_image(json!({"name": 5})),
            create_image(json!({"more": 1})),
            create_image(json!({"metadata": []})),
            create_image(json!({"metadata": {"": "x"}})),
            create_image(json!({"metadata": {long.clone(): "x"}})),
            create_image(json!({"metadata": {"k": long.clone()}})),
            create_image(json!({"metadata": {"k": 1}})),
            // Attributes of the image that are not the user's to say.
            create_image(json!({"metadata": {"owner": "o"}})),
            create_image(json!({"metadata": {"id": "../../x"}})),
            create_image(json!({"metadata": {"visibility": "public"}})),
            create_image(json!({"metadata": {"os_glance_failed_import": "x"}})),
            create_backup(json!(-1)),
            create_backup(json!("x")),
            create_backup(json!("")),
            create_backup(json!(1.5)),
            json!({"createBackup": {"name": "b", "rotation": 1}}),
            json!({"createBackup": {"name": "b", "backup_type": 1, "rotation": 1}}),
        ] {
            let answer = client.post(&path, bad.clone()).await;
            assert_eq!(answer.status.as_u16(), 400, "{bad}: {}", answer.text);
        }
        let many: Value =
            (0..129).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
        let text = client.post(&path, create_image(json!({"metadata": many.clone()}))).await.fault(403);
        assert_eq!(text, "Image metadata limit exceeded");
        // From 2.39 on it is the image service's to say.
        world.state.lock().refuse_images = Some(413);
        let newer = cloud.at("member", 39);
        let text = newer.post(&path, create_image(json!({"metadata": many}))).await.fault(403);
        assert_eq!(text, "The image service says no.");
        becomes(newer, &id, "ACTIVE").await;
        world.state.lock().refuse_images = None;
        assert!(world.state.lock().images.is_empty());

        cloud.at("reader", 45).post(&path, create_image(json!({}))).await.fault(403);
        cloud.at("reader", 45).post(&path, create_backup(json!(1))).await.fault(403);
        cloud.at("other", 45).post(&path, create_image(json!({}))).await.fault(404);
        let nowhere = format!("/servers/{}/action", id::uuid());
        client.post(&nowhere, create_image(json!({}))).await.fault(404);
        assert!(world.state.lock().images.is_empty());
        assert!(show(client, &id).await["OS-EXT-STS:task_state"].is_null());

        // A rotation above every number keeps all.
        client.post(&path, create_backup(json!("99999999999999999999999"))).await;
        becomes(client, &id, "ACTIVE").await;
        assert_eq!(world.state.lock().images.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_shares_what_he_makes_of_others_servers() {
    each(async |cloud, world| {
        let owner = cloud.at("other", 45);
        let id = up(owner, json!({})).await;
        let admin = cloud.at("admin", 45);
        let body = admin.post(&format!("/servers/{id}/action"), create_image(json!({}))).await.expect(202);
        becomes(owner, &id, "ACTIVE").await;
        let image = body["image_id"].as_str().unwrap();
        let state = world.state.lock();
        assert_eq!(state.images[image]["visibility"], "shared");
        assert_eq!(state.images[image]["instance_owner"], PROJECT_B);
        assert_eq!(state.images[image]["owner_id"], PROJECT_B);
        assert_eq!(state.image_members, [format!("{image} {PROJECT_B}")]);
    })
    .await;
}
