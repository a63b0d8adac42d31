//! Shelving, offloading and unshelving.

use crate::{
    jobs::{ASKER, Bench, until},
    servers::{becomes, each, gone, show, up, wish},
    support::{Client, Cloud, postgres_too},
    world::{NETWORK, World, count},
};
use async_trait::async_trait;
use ferrostack_bus::{Bus, LocalBus};
use ferrostack_compute_api::{
    action,
    app::App,
    jobs::{
        self, build,
        shelve::{self as job, Shelve, ShelveOffload, Shelving},
        snapshot::Data,
        unshelve::{self, Here, Unshelve, UnshelveHere, Unshelving},
    },
    reconcile, shelve,
    store::{instance_actions::Asker, shelved},
};
use ferrostack_db::Db;
use ferrostack_jobs::{
    Job, JobKind, State,
    testing::{Scenario, every_step},
};
use ferrostack_model::{
    Timestamp,
    action::Action,
    id,
    server::{PowerState, TaskState, VmState},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// As [`each`], where shelved servers stay on their hosts.
async fn each_kept<F: AsyncFn(&mut Cloud, &World)>(test: F) {
    for postgres in postgres_too() {
        let bus = Arc::new(LocalBus::new());
        let world = World::start(bus.clone(), 3).await;
        let url = world.url.clone();
        let mut cloud = Cloud::start(postgres, bus, &move |s| {
            s.compute.network_url = Some(url.clone());
            s.compute.image_url = Some(url.clone());
            s.compute.build_inquiry_seconds = 1;
            s.compute.shelved_offload_time = -1;
        })
        .await;
        let db = cloud.db().await;
        world.beat(&db, Timestamp::now()).await;
        db.close().await;
        let flavor = json!({"flavor": {"id": "f1", "name": "m1.x", "ram": 512, "vcpus": 1, "disk": 10}});
        cloud.at("admin", 1).post("/flavors", flavor).await.expect(200);
        test(&mut cloud, &world).await;
        world.stop.cancel();
        cloud.end().await;
    }
}

async fn act(client: Client<'_>, id: &str, body: Value) -> crate::support::Answer {
    client.post(&format!("/servers/{id}/action"), body).await
}

/// The images that were made of servers.
fn made(world: &World) -> Vec<Value> {
    world.state.lock().images.values().cloned().collect()
}

async fn held(cloud: &Cloud) -> i64 {
    let db = cloud.db().await;
    let claims = count(&db, "SELECT COUNT(*) FROM claims").await;
    assert_eq!(count(&db, "SELECT CAST(SUM(num_instances) AS BIGINT) FROM hosts").await, claims);
    db.close().await;
    claims
}

#[actix_web::test]
async fn a_server_goes_on_the_shelf_and_comes_back() {
    each(async |cloud, world| {
        let (admin, member) = (cloud.at("admin", 96), cloud.at("member", 96));
        let id = up(member, json!({"name": "vm", "networks": [{"uuid": NETWORK}]})).await;
        let before = show(admin, &id).await;
        let port = world.state.lock().ports.clone();
        act(member, &id, json!({"shelve": null})).await.expect(202);
        let off = becomes(admin, &id, "SHELVED_OFFLOADED").await;
        for (name, value) in [
            ("OS-EXT-STS:vm_state", json!("shelved_offloaded")),
            ("OS-EXT-STS:power_state", json!(4)),
            ("OS-EXT-SRV-ATTR:host", json!(null)),
            ("OS-EXT-SRV-ATTR:hypervisor_hostname", json!(null)),
            ("hostId", json!("")),
            ("addresses", before["addresses"].clone()),
            ("image", before["image"].clone()),
        ] {
            assert_eq!(off[name], value, "{name}");
        }
        member.conforms("servers.show", &json!({"server": show(member, &id).await}));
        let images = made(world);
        assert_eq!(images.len(), 1);
        assert_eq!((&images[0]["name"], &images[0]["status"]), (&json!("vm-shelved"), &json!("active")));
        assert_eq!((&images[0]["instance_uuid"], &images[0]["image_type"]), (&json!(id), &json!("snapshot")));
        assert_eq!((world.guest_count(), held(cloud).await), (0, 0), "the host is free");
        assert_eq!(world.state.lock().ports, port, "the ports stay");
        assert_eq!(
            world.state.lock().orders,
            ["host1 ensure", "host1 stop", "host1 snapshot", "host1 destroy"]
        );
        let actions = member.get(&format!("/servers/{id}/os-instance-actions")).await.expect(200);
        assert_eq!(actions["instanceActions"][0]["action"], "shelve");
        let request = actions["instanceActions"][0]["request_id"].as_str().unwrap().to_owned();
        let events = member.get(&format!("/servers/{id}/os-instance-actions/{request}")).await.expect(200);
        let events: Vec<_> = events["instanceAction"]["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| (e["event"].as_str().unwrap().to_owned(), e["result"].as_str().unwrap().to_owned()))
            .collect();
        let well = |name: &str| (name.to_owned(), "Success".to_owned());
        assert_eq!(events, [well("compute_shelve_offload_instance"), well("compute_shelve_instance")]);

        act(member, &id, json!({"unshelve": null})).await.expect(202);
        let back = becomes(admin, &id, "ACTIVE").await;
        assert_eq!((&back["addresses"], &back["image"]), (&before["addresses"], &before["image"]));
        assert_eq!(back["OS-EXT-STS:power_state"], 1);
        assert_ne!(back["OS-SRV-USG:launched_at"], before["OS-SRV-USG:launched_at"]);
        assert!(made(world).is_empty(), "the image goes with the shelf");
        assert_eq!((world.guest_count(), held(cloud).await), (1, 1));
        {
            let state = world.state.lock();
            let spec = &state.specs[&id];
            assert_eq!(json!(spec.image.id), images[0]["id"], "from the image of the shelf");
            assert_eq!(spec.image.properties["hw_disk_bus"], "virtio");
            assert_eq!(spec.nics.len(), 1);
            let bound: Vec<_> = state.ports.values().map(|p| p["binding:host_id"].clone()).collect();
            assert_eq!(bound, [back["OS-EXT-SRV-ATTR:host"].clone()]);
            assert_eq!(state.ports.keys().collect::<Vec<_>>(), port.keys().collect::<Vec<_>>());
        }
        // Once more, off as it is.
        act(member, &id, json!({"os-stop": null})).await.expect(202);
        becomes(member, &id, "SHUTOFF").await;
        act(member, &id, json!({"shelve": null})).await.expect(202);
        becomes(member, &id, "SHELVED_OFFLOADED").await;
        let stops = world.state.lock().orders.iter().filter(|o| o.ends_with(" stop")).count();
        assert_eq!(stops, 2, "what is off is not stopped");
        act(member, &id, json!({"unshelve": {}})).await.expect(202);
        becomes(member, &id, "ACTIVE").await;
        gone(member, &id).await;
        assert!(made(world).is_empty() && world.state.lock().ports.is_empty());
    })
    .await;
}

#[actix_web::test]
async fn a_shelved_server_may_stay_on_its_host() {
    each_kept(async |cloud, world| {
        let (admin, member) = (cloud.at("admin", 96), cloud.at("member", 96));
        let id = up(member, json!({})).await;
        act(member, &id, json!({"shelve": null})).await.expect(202);
        let on = becomes(admin, &id, "SHELVED").await;
        assert_eq!(on["OS-EXT-SRV-ATTR:host"], "host1");
        assert_eq!((world.guest_count(), held(cloud).await, made(world).len()), (1, 1, 1));
        // A zone or a host is for servers that left theirs.
        for target in [json!({"availability_zone": "nova"}), json!({"availability_zone": null}), json!({"host": "host1"})] {
            let said = act(admin, &id, json!({"unshelve": target})).await.fault(409);
            assert_eq!(said, format!("Specifying an availability zone when unshelving server {id} with status \"shelved\" is not supported. The server status must be SHELVED_OFFLOADED."));
        }
        act(member, &id, json!({"unshelve": null})).await.expect(202);
        becomes(member, &id, "ACTIVE").await;
        assert_eq!((world.guest_count(), held(cloud).await, made(world).len()), (1, 1, 0));
        act(member, &id, json!({"shelve": null})).await.expect(202);
        becomes(member, &id, "SHELVED").await;
        assert_eq!(act(member, &id, json!({"shelveOffload": null})).await.status, 403);
        act(admin, &id, json!({"shelveOffload": null})).await.expect(202);
        becomes(member, &id, "SHELVED_OFFLOADED").await;
        assert_eq!((world.guest_count(), held(cloud).await, made(world).len()), (0, 0, 1));
        let said = act(admin, &id, json!({"shelveOffload": null})).await.fault(409);
        assert_eq!(said, format!("Cannot 'shelveOffload' instance {id} while it is in vm_state shelved_offloaded"));
        let said = act(member, &id, json!({"shelve": null})).await.fault(409);
        assert_eq!(said, format!("Cannot 'shelve' instance {id} while it is in vm_state shelved_offloaded"));
        gone(member, &id).await;
        assert!(made(world).is_empty(), "a shelved server takes its image along");
        // So does one that is still there.
        let id = up(member, json!({})).await;
        act(member, &id, json!({"shelve": null})).await.expect(202);
        becomes(member, &id, "SHELVED").await;
        gone(member, &id).await;
        assert_eq!((world.guest_count(), held(cloud).await, made(world).len()), (0, 0, 0));
        // And one that is on its way.
        let id = up(member, json!({})).await;
        world.state.lock().slow_snapshots = true;
        act(member, &id, json!({"shelve": null})).await.expect(202);
        until("its disk is on its way", async || {
            (show(member, &id).await["OS-EXT-STS:task_state"] == "shelving_image_uploading").then_some(())
        })
        .await;
        assert_eq!(act(member, &id, json!({"shelve": null})).await.status, 409);
        gone(member, &id).await;
        assert_eq!((world.guest_count(), held(cloud).await, made(world).len()), (0, 0, 0));
    })
    .await;
}

/// OSSN-0059: whatever was asked for when it was made is asked for again when it comes back.
#[actix_web::test]
async fn ossn_0059_unshelving_goes_through_the_scheduler() {
    each(async |cloud, world| {
        let (admin, member) = (cloud.at("admin", 96), cloud.at("member", 96));
        let group = json!({"server_group": {"name": "g", "policy": "anti-affinity"}});
        let group = member.post("/os-server-groups", group).await.expect(200)["server_group"]["id"].clone();
        let mut body = wish(json!({"availability_zone": "nova"}));
        body["os:scheduler_hints"] = json!({"group": group, "mine": "1"});
        let id = member.post("/servers", body.clone()).await.expect(202)["server"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        becomes(member, &id, "ACTIVE").await;
        act(member, &id, json!({"shelve": null})).await.expect(202);
        becomes(member, &id, "SHELVED_OFFLOADED").await;
        // Another of the group takes the host that it was on.
        let other =
            member.post("/servers", body).await.expect(202)["server"]["id"].as_str().unwrap().to_owned();
        assert_eq!(becomes(admin, &other, "ACTIVE").await["OS-EXT-SRV-ATTR:host"], "host1");
        // Nobody to take it: it stays where it is, and can be asked for again.
        world.state.lock().no_host = true;
        act(member, &id, json!({"unshelve": null})).await.expect(202);
        let stays = becomes(member, &id, "SHELVED_OFFLOADED").await;
        assert_eq!(stays["OS-EXT-STS:task_state"], json!(null));
        assert_eq!((held(cloud).await, made(world).len()), (1, 1));
        let asked = world.state.lock().requests.last().cloned().unwrap();
        assert_eq!((asked.rebuild, asked.vcpus, asked.memory_mb, asked.disk_gb), (false, 1, 512, 10));
        assert_eq!(asked.availability_zone.as_deref(), Some("nova"));
        assert_eq!(asked.hints["mine"], ["1"]);
        assert_eq!(asked.image_properties["hw_disk_bus"], "virtio");
        assert_eq!(asked.group.unwrap().hosts, [("host1".to_owned(), 1)].into());
        world.state.lock().no_host = false;
        act(member, &id, json!({"unshelve": null})).await.expect(202);
        let back = becomes(admin, &id, "ACTIVE").await;
        assert_eq!(back["OS-EXT-SRV-ATTR:host"], "host2", "the claim keeps the group's rule");
    })
    .await;
}

#[actix_web::test]
async fn where_a_server_comes_back_may_be_said() {
    each(async |cloud, world| {
        let (admin, member) = (cloud.at("admin", 91), cloud.at("member", 91));
        let id = up(member, json!({"availability_zone": "nova"})).await;
        act(member, &id, json!({"shelve": null})).await.expect(202);
        becomes(member, &id, "SHELVED_OFFLOADED").await;
        for (version, target, status, text) in [
            (
                77,
                json!({"availability_zone": "moon"}),
                400,
                "The requested availability zone is not available",
            ),
            (77, json!({"availability_zone": null}), 400, "availability_zone"),
            (77, json!({"availability_zone": ""}), 400, "availability_zone"),
            (77, json!({}), 400, "'availability_zone' is a required property"),
            (77, json!({"host": "host1"}), 400, "host"),
            (90, json!({"availability_zone": "nova", "host": "host1"}), 400, "host"),
            (91, json!({"host": null}), 400, "host"),
            (91, json!({"host": "moon"}), 400, "Compute host moon could not be found."),
            (91, json!({"x": 1}), 400, "x"),
            (91, json!("x"), 400, "unshelve"),
        ] {
            let said = act(cloud.at("admin", version), &id, json!({"unshelve": target})).await;
            assert_eq!(said.status, status, "2.{version} {target}: {}", said.text);
            assert!(said.text.contains(text), "2.{version} {target}: {}", said.text);
        }
        let said = act(member, &id, json!({"unshelve": {"host": "host1"}})).await.fault(403);
        assert!(said.contains("os_compute_api:os-shelve:unshelve_to_host"), "{said}");
        {
            // A host of another zone.
            let db = cloud.db().await;
            ferrostack_db::sqlx::query("UPDATE hosts SET availability_zone = 'west' WHERE host = 'host3'")
                .execute(db.writer())
                .await
                .unwrap();
            db.close().await;
        }
        let said = act(admin, &id, json!({"unshelve": {"host": "host3"}})).await.fault(409);
        assert_eq!(said, "Host \"host3\" is not in the availability zone \"nova\".");
        assert_eq!(show(member, &id).await["status"], "SHELVED_OFFLOADED");
        let back = async |target: Value, host: &str| {
            act(admin, &id, json!({"unshelve": target})).await.expect(202);
            let server = becomes(cloud.at("admin", 96), &id, "ACTIVE").await;
            assert_eq!(server["OS-EXT-SRV-ATTR:host"], host);
            let zone = server["pinned_availability_zone"].clone();
            act(member, &id, json!({"shelve": null})).await.expect(202);
            becomes(member, &id, "SHELVED_OFFLOADED").await;
            zone
        };
        assert_eq!(back(json!({"host": "host2"}), "host2").await, "nova");
        assert_eq!(back(json!({"availability_zone": null, "host": "host3"}), "host3").await, json!(null));
        assert_eq!(back(json!({"availability_zone": "west", "host": "host3"}), "host3").await, "west");
        act(cloud.at("member", 77), &id, json!({"unshelve": {"availability_zone": "nova"}}))
            .await
            .expect(202);
        assert_eq!(becomes(cloud.at("admin", 96), &id, "ACTIVE").await["pinned_availability_zone"], "nova");
        let asked = world.state.lock().requests.last().cloned().unwrap();
        assert_eq!((asked.availability_zone.as_deref(), asked.host), (Some("nova"), None));
    })
    .await;
}

#[actix_web::test]
async fn shelving_that_fails_leaves_the_server_as_it_was() {
    each(async |cloud, world| {
        let (admin, member) = (cloud.at("admin", 96), cloud.at("member", 96));
        let id = up(member, json!({})).await;
        // The image service will not have it.
        world.state.lock().refuse_images = Some(403);
        assert_eq!(act(member, &id, json!({"shelve": null})).await.status, 403);
        let same = becomes(admin, &id, "ACTIVE").await;
        assert_eq!(same["OS-EXT-SRV-ATTR:host"], "host1");
        world.state.lock().refuse_images = None;
        // Others may not.
        for (who, status) in [("reader", 403), ("nobody", 403), ("other", 404), ("", 401)] {
            for body in [json!({"shelve": null}), json!({"unshelve": null}), json!({"shelveOffload": null})] {
                assert_eq!(act(cloud.at(who, 96), &id, body).await.status, status, "{who}");
            }
        }
        act(member, &id, json!({"lock": null})).await;
        let said = act(member, &id, json!({"unshelve": null})).await.fault(409);
        assert!(said.contains("locked") || said == format!("Cannot 'unshelve' instance {id} while it is in vm_state active"));
        act(member, &id, json!({"unlock": null})).await;
        act(member, &id, json!({"shelve": null})).await.expect(202);
        becomes(member, &id, "SHELVED_OFFLOADED").await;
        // Without its image it cannot come back.
        let image = made(world)[0]["id"].as_str().unwrap().to_owned();
        world.state.lock().images.clear();
        act(member, &id, json!({"unshelve": null})).await.expect(202);
        let lost = becomes(member, &id, "ERROR").await;
        assert_eq!(lost["fault"]["message"], format!("Error during unshelve instance {id}: Unshelve attempted but the image {image} cannot be found."));
        assert_eq!(held(cloud).await, 0);
        gone(member, &id).await;
    })
    .await;
}

/// A job of shelving on a server that is in the state for it.
struct Case {
    bench: Bench,
    kind: fn() -> Box<dyn JobKind<App>>,
    image: String,
}

impl Case {
    /// `shelved`: whether the server is on the shelf already, and whether it left its host.
    async fn new(kind: fn() -> Box<dyn JobKind<App>>, shelved: Option<bool>) -> Self {
        let bench = Bench::new(2).await;
        bench.build().await;
        let case = Self { bench, kind, image: id::uuid() };
        if let Some(offload) = shelved {
            let id = case.begin_shelve(offload, "req-0").await;
            let job = case.bench.finish(&id).await;
            assert_eq!(job.state, State::Done, "{:?}", job.error);
        }
        case
    }

    fn host(&self) -> &Bench {
        &self.bench
    }

    async fn begin<T: serde::Serialize>(&self, begin: &action::Begin<'_, T>, request_id: &str) -> String {
        let asker = Asker { request_id, ..ASKER };
        let server = self.bench.row().await;
        action::begin(&self.bench.app, server, asker, begin).await.map_err(|e| e.for_log()).unwrap()
    }

    async fn begin_shelve(&self, offload: bool, request_id: &str) -> String {
        let image = json!({"id": self.image, "name": "vm-shelved", "status": "queued", "disk_format": "qcow2",
            "container_format": "bare", "size": 1, "os_hash_algo": "sha512", "os_hash_value": "ab"});
        self.bench.world.state.lock().images.insert(self.image.clone(), image);
        let shelving = Shelving { offload, was: Some(VmState::Active), ..Shelving::default() };
        let data = Data { image_id: self.image.clone(), shelve: Some(shelving), ..Data::default() };
        let begin = action::Begin {
            action: Action::Shelve,
            task: TaskState::Shelving,
            name: "shelve",
            event: job::EVENT,
            kind: job::KIND,
            first_step: job::FIRST,
            data: &data,
            interrupts: "",
        };
        self.begin(&begin, request_id).await
    }

    /// What it holds fits its state.
    async fn consistent(&self) {
        let (bench, db) = (&self.bench, &self.bench.app.db);
        let server = bench.row().await;
        assert_eq!(server.task_state, None);
        let on_host = i64::from(server.vm_state != VmState::ShelvedOffloaded);
        assert_eq!(server.host.is_some(), on_host == 1);
        assert_eq!(count(db, "SELECT COUNT(*) FROM claims").await, on_host);
        assert_eq!(count(db, "SELECT CAST(SUM(num_instances) AS BIGINT) FROM hosts").await, on_host);
        assert_eq!((bench.world.state.lock().ports.len(), server.ports.len()), (1, 1));
        let on_shelf = matches!(server.vm_state, VmState::Shelved | VmState::ShelvedOffloaded);
        let images = bench.world.state.lock().images.len();
        let rows = count(db, "SELECT COUNT(*) FROM shelved_servers").await;
        assert_eq!(rows, i64::from(on_shelf), "{:?}", server.vm_state);
        if !on_shelf {
            assert_eq!(images, 0, "{:?}", server.vm_state);
        }
        if server.vm_state == VmState::ShelvedOffloaded {
            assert_eq!(bench.world.guest_count(), 0);
        }
    }
}

#[async_trait]
impl Scenario<App> for Case {
    fn context(&self) -> Arc<App> {
        self.host().app.clone()
    }
    fn db(&self) -> Db {
        self.host().app.db.clone()
    }
    fn bus(&self) -> Arc<dyn Bus> {
        self.host().app.bus.clone()
    }
    fn kind(&self) -> Box<dyn JobKind<App>> {
        (self.kind)()
    }
    async fn enqueue(&self) -> String {
        match self.kind().kind() {
            job::KIND => self.begin_shelve(true, "req-2").await,
            job::OFFLOAD_KIND => {
                shelve::offload(&self.bench.app, self.bench.row().await, ASKER)
                    .await
                    .map_err(|e| e.for_log())
                    .unwrap();
                self.bench.active().await.unwrap().id
            }
            unshelve::KIND => {
                let data = build::Data { unshelve: Some(Unshelving::default()), ..build::Data::default() };
                self.begin(&unshelving(unshelve::KIND, unshelve::FIRST, &data), "req-2").await
            }
            _ => {
                let data = Here::default();
                self.begin(&unshelving(unshelve::HERE_KIND, unshelve::HERE_FIRST, &data), "req-2").await
            }
        }
    }
    async fn assert_done(&self, job: &Job) {
        self.consistent().await;
        let server = self.bench.row().await;
        let shelves = matches!(job.kind.as_str(), job::KIND | job::OFFLOAD_KIND);
        let wanted = if shelves { VmState::ShelvedOffloaded } else { VmState::Active };
        assert_eq!((server.vm_state, server.fault), (wanted, None));
        assert_eq!(self.bench.world.guest_count(), usize::from(!shelves));
        assert_eq!(self.bench.world.state.lock().images.len(), usize::from(shelves));
        assert_eq!(self.bench.event("req-2").await.0.as_deref(), Some("Success"));
    }
    async fn assert_undone(&self, job: &Job) {
        self.consistent().await;
        let server = self.bench.row().await;
        assert!(server.fault.is_some());
        assert_eq!(self.bench.event("req-2").await.0.as_deref(), Some("Error"));
        match (job.kind.as_str(), server.vm_state) {
            (job::KIND, VmState::Active) => {
                let power = self.bench.world.state.lock().guests[&server.host.unwrap()][&server.id];
                assert_eq!(power, PowerState::Running, "what ran runs again");
            }
            // Its image is whole, so it is on the shelf, and can be taken off its host again.
            (job::KIND | job::OFFLOAD_KIND, VmState::Shelved) => {
                assert_eq!(self.bench.world.state.lock().images.len(), 1);
                let asker = Asker { request_id: "req-3", ..ASKER };
                shelve::offload(&self.bench.app, self.bench.row().await, asker)
                    .await
                    .map_err(|e| e.for_log())
                    .unwrap();
                let again = self.bench.active().await.unwrap().id;
                assert_eq!(self.bench.finish(&again).await.state, State::Done);
                self.consistent().await;
            }
            // An image that is removed already is the price of a failure after it.
            (unshelve::KIND, VmState::ShelvedOffloaded) | (unshelve::HERE_KIND, VmState::Shelved) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn unshelving<'a, T>(kind: &'a str, first_step: &'a str, data: &'a T) -> action::Begin<'a, T> {
    action::Begin {
        action: Action::Unshelve,
        task: TaskState::Unshelving,
        name: "unshelve",
        event: unshelve::EVENT,
        kind,
        first_step,
        data,
        interrupts: "",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shelve_survives_every_fault() {
    every_step(|| Case::new(|| Box::new(Shelve::new()), None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shelve_offload_survives_every_fault() {
    every_step(|| Case::new(|| Box::new(ShelveOffload::new()), Some(false))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unshelve_survives_every_fault() {
    every_step(|| Case::new(|| Box::new(Unshelve::new()), Some(true))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unshelve_on_its_host_survives_every_fault() {
    every_step(|| Case::new(|| Box::new(UnshelveHere::new()), Some(false))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shelved_servers_leave_their_hosts_in_time() {
    let case = Case::new(|| Box::new(ShelveOffload::new()), Some(false)).await;
    let app = &case.bench.app;
    assert_eq!(case.bench.row().await.vm_state, VmState::Shelved);
    reconcile::shelved::look(app, 3600).await.unwrap();
    assert!(case.bench.active().await.is_none(), "it is not long there");
    reconcile::shelved::look(app, -1).await.unwrap();
    let offload = case.bench.active().await.unwrap();
    assert_eq!(offload.kind, job::OFFLOAD_KIND);
    reconcile::shelved::look(app, -1).await.unwrap();
    assert_eq!(case.bench.finish(&offload.id).await.state, State::Done);
    assert_eq!(case.bench.row().await.vm_state, VmState::ShelvedOffloaded);
    assert_eq!(shelved::image(&app.db, &case.bench.server).await.unwrap(), Some(case.image.clone()));
    case.bench.delete().await;
    let delete = case.bench.active().await.unwrap();
    assert_eq!(delete.kind, jobs::delete::KIND);
    assert_eq!(case.bench.finish(&delete.id).await.state, State::Done);
    assert!(case.bench.world.state.lock().images.is_empty());
    case.bench.world.assert_empty(&app.db).await;
}
