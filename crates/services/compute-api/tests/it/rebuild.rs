//! Rebuilds.

use crate::{
    jobs::{ASKER, Bench, until},
    servers::{becomes, each, make, show, up},
    world::{IMAGE, KERNEL, NETWORK, QUEUED, World, count},
};
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_compute_api::{
    action,
    app::App,
    jobs::rebuild::{Data, EVENT, FIRST, KIND, Rebuild},
    store::servers::{self, rebuild::Boot},
};
use ferrostack_db::Db;
use ferrostack_jobs::{
    Job, JobKind,
    testing::{Scenario, every_step},
};
use ferrostack_model::{
    action::Action,
    image::ImageSource,
    server::{PowerState, TaskState, VmState},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Where the request or the answer changes, and the ends.
const VERSIONS: [u16; 22] =
    [1, 8, 9, 18, 19, 25, 26, 46, 47, 53, 54, 56, 57, 62, 63, 70, 71, 73, 75, 90, 94, 96];
const OTHER: &str = "0ddba110-0000-4000-8000-000000000001";
const ALIEN: &str = "0ddba110-0000-4000-8000-000000000002";

fn images(world: &World) {
    let mut state = world.state.lock();
    state.odd_images.insert(OTHER.into(), json!({"hw_disk_bus": "scsi"}));
    state.odd_images.insert(ALIEN.into(), json!({"hw_architecture": "aarch64"}));
}

fn rebuild(image: &str, more: Value) -> Value {
    let mut body = json!({"rebuild": {"imageRef": image}});
    for (name, value) in more.as_object().unwrap() {
        body["rebuild"][name] = value.clone();
    }
    body
}

#[actix_web::test]
async fn rebuild_answers_at_every_version() {
    each(async |cloud, world| {
        images(world);
        let id = up(cloud.at("member", 94), json!({"networks": [{"uuid": NETWORK}]})).await;
        let path = format!("/servers/{id}/action");
        for version in VERSIONS {
            let member = cloud.at("member", version);
            let answer = member.post(&path, rebuild(OTHER, json!({"adminPass": "s3cret"}))).await;
            let location = answer.headers["location"].to_str().unwrap().to_owned();
            let body = answer.expect(202);
            assert!(location.ends_with(&format!("/v2.1/servers/{id}")), "{location}");
            member.conforms("servers.rebuild", &body);
            let server = &body["server"];
            assert_eq!((&server["status"], &server["adminPass"]), (&json!("REBUILD"), &json!("s3cret")));
            assert_eq!(server["image"]["id"], OTHER);
            assert_eq!(server.get("key_name").is_some(), version >= 54, "2.{version}");
            assert_eq!(server.get("user_data").is_some(), version >= 57, "2.{version}");
            until("the job ends", async || {
                let server = show(cloud.at("member", 94), &id).await;
                (server["status"] == "ACTIVE").then_some(())
            })
            .await;
        }
    })
    .await;
}

#[actix_web::test]
async fn a_rebuild_changes_what_it_names_and_nothing_else() {
    each(async |cloud, world| {
        images(world);
        let member = cloud.at("member", 96);
        let key = json!({"keypair": {"name": "k", "type": "ssh", "public_key":
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUZZp5vk5AJNNpsOm9gUWH1oGVs5mfVqWgcAhxTcZCJ x"}});
        member.post("/os-keypairs", key).await.expect(201);
        let id = up(
            member,
            json!({"networks": [{"uuid": NETWORK}], "metadata": {"a": "1"}, "description": "d",
            "user_data": "aGk=", "tags": ["t"], "hostname": "first"}),
        )
        .await;
        let before = show(cloud.at("admin", 96), &id).await;
        let ports = world.state.lock().ports.clone();
        let path = format!("/servers/{id}/action");
        // Nothing named: all stays but what a rebuild is.
        member.post(&path, rebuild(IMAGE, json!({}))).await.expect(202);
        let mut after = becomes(cloud.at("admin", 96), &id, "ACTIVE").await;
        for name in ["updated", "OS-SRV-USG:launched_at"] {
            after[name] = before[name].clone();
        }
        assert_eq!(after, before);
        // S-2013-030: the ports are the same, bound as before.
        assert_eq!(world.state.lock().ports, ports, "S-2013-030");
        let wanted = json!({"name": "new", "description": null, "metadata": {"b": "2"}, "key_name": "k",
            "user_data": "eW8=", "hostname": "second", "accessIPv4": "192.0.2.9", "accessIPv6": "2001:db8::9",
            "OS-DCF:diskConfig": "AUTO", "adminPass": "pass-for-guest", "preserve_ephemeral": true});
        member.post(&path, rebuild(OTHER, wanted)).await.expect(202);
        let after = becomes(cloud.at("admin", 96), &id, "ACTIVE").await;
        for (name, value) in [
            ("name", json!("new")),
            ("description", json!(null)),
            ("metadata", json!({"b": "2"})),
            ("key_name", json!("k")),
            ("OS-EXT-SRV-ATTR:hostname", json!("second")),
            ("OS-EXT-SRV-ATTR:user_data", json!("eW8=")),
            ("accessIPv4", json!("192.0.2.9")),
            ("accessIPv6", json!("2001:db8::9")),
            ("OS-DCF:diskConfig", json!("AUTO")),
            ("tags", json!(["t"])),
        ] {
            assert_eq!(after[name], value, "{name}");
        }
        for same in
            ["id", "addresses", "OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:instance_name", "created", "flavor"]
        {
            assert_eq!(after[same], before[same], "{same}");
        }
        {
            let state = world.state.lock();
            assert_eq!(state.rebuilds, [format!("{id} false"), format!("{id} true")]);
            let spec = &state.specs[&id];
            assert_eq!(spec.image.id, OTHER);
            assert_eq!(spec.image.properties["hw_disk_bus"], "scsi");
            assert_eq!(spec.admin_pass.as_ref().unwrap().0, "pass-for-guest");
            assert_eq!(spec.user_data.as_deref(), Some("eW8="));
            assert_eq!((spec.nics.len(), spec.public_key.is_some()), (1, true));
        }
        let unset = json!({"key_name": null, "user_data": null, "trusted_image_certificates": null});
        member.post(&path, rebuild(OTHER, unset)).await.expect(202);
        let after = becomes(cloud.at("admin", 96), &id, "ACTIVE").await;
        assert_eq!((&after["key_name"], &after["OS-EXT-SRV-ATTR:user_data"]), (&json!(null), &json!(null)));
        let files = json!({"personality": [{"path": "/etc/x", "contents": "aGk="}]});
        cloud.at("member", 56).post(&path, rebuild(OTHER, files)).await.expect(202);
        becomes(member, &id, "ACTIVE").await;
        assert_eq!(world.state.lock().specs[&id].personality[0].path, "/etc/x");
        let db = cloud.db().await;
        let secrets =
            "SELECT COUNT(*) FROM server_inputs WHERE admin_pass IS NOT NULL OR personality IS NOT NULL";
        assert_eq!(count(&db, secrets).await, 0, "secrets are left");
        db.close().await;
        let actions = member.get(&format!("/servers/{id}/os-instance-actions")).await.expect(200);
        let rebuilds =
            actions["instanceActions"].as_array().unwrap().iter().filter(|a| a["action"] == "rebuild");
        assert_eq!(rebuilds.count(), 4);
    })
    .await;
}

#[actix_web::test]
async fn what_cannot_be_rebuilt_is_refused_and_nothing_is_changed() {
    each(async |cloud, world| {
        images(world);
        world
            .state
            .lock()
            .odd_images
            .insert("0ddba110-0000-4000-8000-000000000003".into(), json!({"min_ram": 513}));
        world
            .state
            .lock()
            .odd_images
            .insert("0ddba110-0000-4000-8000-000000000004".into(), json!({"min_disk": 11}));
        let member = cloud.at("member", 96);
        let id = up(member, json!({})).await;
        let path = format!("/servers/{id}/action");
        let before = show(cloud.at("admin", 96), &id).await;
        let many: serde_json::Map<_, _> = (0..129).map(|n| (format!("k{n}"), json!("v"))).collect();
        let missing = "99999999-9999-4999-8999-999999999999";
        for (version, body, status, text) in [
            (96, rebuild(missing, json!({})), 400, "Cannot find image for rebuild"),
            (96, rebuild(QUEUED, json!({})), 400, &*format!("Image {QUEUED} is not active.")),
            (96, rebuild("x", json!({})), 400, "imageRef"),
            (96, json!({"rebuild": {}}), 400, "'imageRef' is a required property"),
            (
                96,
                rebuild("0ddba110-0000-4000-8000-000000000003", json!({})),
                400,
                "Flavor's memory is too small",
            ),
            (
                96,
                rebuild("0ddba110-0000-4000-8000-000000000004", json!({})),
                400,
                "Flavor's disk is smaller than the minimum",
            ),
            (96, rebuild(IMAGE, json!({"key_name": "none"})), 400, "Invalid key_name provided."),
            (
                96,
                rebuild(IMAGE, json!({"metadata": many})),
                403,
                "Maximum number of metadata items exceeds 128",
            ),
            (96, rebuild(IMAGE, json!({"hostname": "-"})), 400, "hostname"),
            (96, rebuild(IMAGE, json!({"name": "x".repeat(256)})), 400, "name"),
            (96, rebuild(IMAGE, json!({"nonsense": 1})), 400, "nonsense"),
            (89, rebuild(IMAGE, json!({"hostname": "h"})), 400, "hostname"),
            (
                62,
                rebuild(IMAGE, json!({"trusted_image_certificates": null})),
                400,
                "trusted_image_certificates",
            ),
            (57, rebuild(IMAGE, json!({"personality": []})), 400, "personality"),
            (56, rebuild(IMAGE, json!({"user_data": "aGk="})), 400, "user_data"),
            (
                56,
                rebuild(IMAGE, json!({"personality": vec![json!({"path": "/x", "contents": "aGk="}); 6]})),
                403,
                "Personality file limit exceeded.",
            ),
            (53, rebuild(IMAGE, json!({"key_name": "k"})), 400, "key_name"),
            (18, rebuild(IMAGE, json!({"description": "d"})), 400, "description"),
        ] {
            let said = cloud.at("member", version).post(&path, body.clone()).await;
            assert_eq!(said.status, status, "2.{version} {body}: {}", said.text);
            let said = said.fault(status);
            assert!(said.contains(text), "2.{version} {body}: {said}");
        }
        for (who, status) in [("reader", 403), ("nobody", 403), ("other", 404), ("", 401)] {
            assert_eq!(
                cloud.at(who, 96).post(&path, rebuild(IMAGE, json!({}))).await.status,
                status,
                "{who}"
            );
        }
        assert_eq!(show(cloud.at("admin", 96), &id).await, before);
        cloud.at("admin", 96).post(&path, json!({"os-resetState": {"state": "error"}})).await.expect(202);
        let building = {
            world.state.lock().no_scheduler = true;
            make(member, json!({})).await
        };
        let said =
            member.post(&format!("/servers/{building}/action"), rebuild(IMAGE, json!({}))).await.fault(409);
        assert_eq!(said, format!("Cannot 'rebuild' instance {building} while it is in vm_state building"));
        assert!(world.state.lock().rebuilds.is_empty());
    })
    .await;
}

/// S-2017-005: a host that does not take the new image refuses it; the server keeps the one it had.
#[actix_web::test]
async fn s_2017_005_a_new_image_goes_through_the_filters() {
    each(async |cloud, world| {
        images(world);
        let (admin, member) = (cloud.at("admin", 96), cloud.at("member", 96));
        let id = up(member, json!({})).await;
        let path = format!("/servers/{id}/action");
        let host = show(admin, &id).await["OS-EXT-SRV-ATTR:host"].as_str().unwrap().to_owned();
        member.post(&path, rebuild(ALIEN, json!({}))).await.expect(202);
        let failed = becomes(member, &id, "ERROR").await;
        assert_eq!(failed["image"]["id"], IMAGE, "the image it had");
        assert!(
            failed["fault"]["message"].as_str().unwrap().starts_with("No valid host was found."),
            "{failed}"
        );
        {
            let state = world.state.lock();
            let asked = state.requests.last().unwrap();
            assert_eq!((asked.rebuild, asked.host.as_deref()), (true, Some(&*host)));
            assert_eq!(asked.image_properties["hw_architecture"], "aarch64");
            assert!(state.rebuilds.is_empty(), "the guest was not touched");
            assert_eq!(state.guests[&host][&id], PowerState::Running);
        }
        // From ERROR it can be rebuilt; the same image needs no scheduler.
        let asked = world.state.lock().requests.len();
        member.post(&path, rebuild(IMAGE, json!({}))).await.expect(202);
        let healed = becomes(member, &id, "ACTIVE").await;
        assert!(healed.get("fault").is_none());
        assert_eq!(world.state.lock().requests.len(), asked);
        member.post(&path, rebuild(OTHER, json!({}))).await.expect(202);
        let other = becomes(admin, &id, "ACTIVE").await;
        assert_eq!((&other["image"]["id"], &other["OS-EXT-SRV-ATTR:host"]), (&json!(OTHER), &json!(host)));
    })
    .await;
}

/// S-2017-006: however often a server is rebuilt, it holds its flavor once.
#[actix_web::test]
async fn s_2017_006_twenty_rebuilds_hold_the_flavor_once() {
    each(async |cloud, world| {
        images(world);
        let member = cloud.at("member", 96);
        let id = up(member, json!({})).await;
        let db = cloud.db().await;
        for n in 0..20 {
            let image = if n % 2 == 0 { OTHER } else { IMAGE };
            member.post(&format!("/servers/{id}/action"), rebuild(image, json!({}))).await.expect(202);
            becomes(member, &id, "ACTIVE").await;
        }
        assert_eq!(world.state.lock().rebuilds.len(), 20);
        assert_eq!(count(&db, "SELECT COUNT(*) FROM claims").await, 1);
        for (column, used) in [
            ("SELECT CAST(SUM(vcpus_used) AS BIGINT) FROM hosts", 1),
            ("SELECT CAST(SUM(memory_mb_used) AS BIGINT) FROM hosts", 512),
            ("SELECT CAST(SUM(local_gb_used) AS BIGINT) FROM hosts", 10),
            ("SELECT CAST(SUM(num_instances) AS BIGINT) FROM hosts", 1),
        ] {
            assert_eq!(count(&db, column).await, used, "{column}");
        }
        db.close().await;
    })
    .await;
}

#[actix_web::test]
async fn a_stopped_server_is_rebuilt_and_stays_stopped() {
    each(async |cloud, world| {
        images(world);
        let member = cloud.at("member", 96);
        let id = up(member, json!({})).await;
        let path = format!("/servers/{id}/action");
        member.post(&path, json!({"os-stop": null})).await.expect(202);
        becomes(member, &id, "SHUTOFF").await;
        let body = member.post(&path, rebuild(OTHER, json!({}))).await.expect(202);
        assert_eq!(body["server"]["status"], "REBUILD");
        let off = becomes(member, &id, "SHUTOFF").await;
        assert_eq!((&off["image"]["id"], &off["OS-EXT-STS:power_state"]), (&json!(OTHER), &json!(4)));
        assert_eq!(world.state.lock().rebuilds.len(), 1);
        // A rebuild that fails on the host says so, and can be tried again.
        world.state.lock().failing = world.hosts.iter().map(|h| (h.clone(), true)).collect();
        member.post(&path, rebuild(IMAGE, json!({}))).await.expect(202);
        let failed = becomes(member, &id, "ERROR").await;
        assert_eq!(failed["fault"]["message"], "The disk is full.");
        world.state.lock().failing.clear();
        member.post(&path, rebuild(IMAGE, json!({}))).await.expect(202);
        becomes(member, &id, "ACTIVE").await;
        let db = cloud.db().await;
        assert_eq!(count(&db, "SELECT COUNT(*) FROM claims").await, 1);
        db.close().await;
        let _ = KERNEL;
    })
    .await;
}

/// A rebuild to another image.
struct Case(Bench);

fn other() -> ImageSource {
    ImageSource {
        id: OTHER.into(),
        disk_format: "raw".into(),
        size: 2,
        virtual_size: 2,
        sha512: "cd".into(),
        properties: [].into(),
    }
}

#[async_trait]
impl Scenario<App> for Case {
    fn context(&self) -> Arc<App> {
        self.0.app.clone()
    }
    fn db(&self) -> Db {
        self.0.app.db.clone()
    }
    fn bus(&self) -> Arc<dyn Bus> {
        self.0.app.bus.clone()
    }
    fn kind(&self) -> Box<dyn JobKind<App>> {
        Box::new(Rebuild::new())
    }
    async fn enqueue(&self) -> String {
        let server = self.0.row().await;
        let before = Boot::of(&server);
        let mut tx = self.0.app.db.begin_write().await.unwrap();
        let boot = Boot { image: other(), ..before.clone() };
        servers::rebuild::boot_from(&mut tx, &server.id, &boot).await.unwrap();
        servers::rebuild::write_inputs(&mut tx, &server.id, &crate::jobs::inputs()).await.unwrap();
        tx.commit().await.unwrap();
        let data = Data { before: Some(before), ..Data::default() };
        let begin = action::Begin {
            action: Action::Rebuild,
            task: TaskState::Rebuilding,
            name: KIND,
            event: EVENT,
            kind: KIND,
            first_step: FIRST,
            data: &data,
            interrupts: "",
        };
        action::begin(&self.0.app, self.0.row().await, ASKER, &begin).await.map_err(|e| e.for_log()).unwrap()
    }
    async fn assert_done(&self, _: &Job) {
        let server = self.0.row().await;
        assert_eq!((server.vm_state, server.task_state), (VmState::Active, None));
        assert_eq!(server.image.id, OTHER);
        assert_eq!(self.0.event("req-2").await.0.as_deref(), Some("Success"));
        self.held().await;
        assert_eq!(self.0.world.state.lock().specs[&server.id].image.id, OTHER);
    }
    async fn assert_undone(&self, _: &Job) {
        let server = self.0.row().await;
        assert_eq!((server.vm_state, server.task_state), (VmState::Error, None));
        assert!(server.fault.is_some());
        let touched = !self.0.world.state.lock().rebuilds.is_empty();
        assert_eq!(server.image.id, if touched { OTHER } else { IMAGE });
        assert_eq!(self.0.event("req-2").await.0.as_deref(), Some("Error"));
        self.held().await;
    }
}

impl Case {
    /// One claim, one guest, the port it had, and no secret.
    async fn held(&self) {
        let db = &self.0.app.db;
        assert_eq!(count(db, "SELECT COUNT(*) FROM claims").await, 1);
        assert_eq!(count(db, "SELECT CAST(SUM(num_instances) AS BIGINT) FROM hosts").await, 1);
        assert_eq!((self.0.world.guest_count(), self.0.world.state.lock().ports.len()), (1, 1));
        let inputs = servers::inputs(db, &self.0.server).await.unwrap();
        assert!(inputs.admin_pass.is_none() && inputs.personality.is_empty());
        assert_eq!(inputs.user_data.as_deref(), Some("aGk="));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_survives_every_fault() {
    every_step(|| async {
        let bench = Bench::new(2).await;
        bench.build().await;
        Case(bench)
    })
    .await;
}
