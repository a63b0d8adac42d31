//! Every job through every fault: crash, repetition and failure of each step, forward and back.

use crate::{
    support::Database,
    world::{IMAGE, NETWORK, World, count},
};
use async_trait::async_trait;
use ferrostack_bus::{Bus, LocalBus};
use ferrostack_compute_api::{
    app::{App, Timing},
    consumer, jobs, open_database, reconcile,
    store::{
        instance_actions::{self as actions, Asker},
        servers::{self, Inputs, NicRequest, Server},
    },
};
use ferrostack_db::Db;
use ferrostack_jobs::{
    Enqueue, Job, JobKind, Runner, RunnerOptions, State, enqueue, find, find_active,
    testing::{self, Fault, Scenario, every_step},
};
use ferrostack_model::{
    Timestamp,
    auth::Secret,
    guest::{GuestFlavor, Personality},
    id,
    image::ImageSource,
    server::{PowerState, TaskState, VmState},
};
use ferrostack_settings::Settings;
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const PROJECT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const ASKER: Asker<'static> =
    Asker { request_id: "req-2", user_id: "u", project_id: PROJECT, admin: false };

/// Compute without HTTP in a world.
pub struct Bench {
    pub app: Arc<App>,
    pub world: World,
    pub server: String,
    pub database: Option<Database>,
    _directory: TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.app.stop.cancel();
        self.world.stop.cancel();
    }
}

pub async fn until<T, F: AsyncFn() -> Option<T>>(what: &str, check: F) -> T {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Bench {
    pub async fn new(hosts: usize) -> Self {
        Self::on(None, hosts).await
    }

    pub async fn on(database: Option<Database>, hosts: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bus = Arc::new(LocalBus::new());
        let world = World::start(bus.clone(), hosts).await;
        let mut settings = Settings::default();
        settings.database.url = database
            .as_ref()
            .map_or_else(|| format!("sqlite:{}", directory.path().display()), |d| d.url.clone());
        settings.compute.network_url = Some(world.url.clone());
        settings.compute.image_url = Some(world.url.clone());
        settings.credentials.auth_url = crate::support::identity();
        settings.credentials.password_file = directory.path().join("password");
        std::fs::write(&settings.credentials.password_file, "secret").unwrap();
        let db = open_database(&settings).await.map_err(|e| e.for_log()).unwrap();
        // Deletions are put off where that is asked for.
        settings.compute.reclaim_instance_interval = 3600;
        let timing = Timing { schedule_ms: 300, inquiry_ms: 300, inquiries: 6, lost_claim_ms: 20 };
        let app = App::with_timing(&settings, db, bus, CancellationToken::new(), timing).unwrap();
        consumer::start(&app).await.unwrap();
        tokio::spawn(reconcile::feed::run(app.clone()));
        world.beat(&app.db, Timestamp::now()).await;
        let mut bench = Self { app, world, server: String::new(), database, _directory: directory };
        bench.server = bench.insert("vm", 1).await;
        bench
    }

    /// A server as the API inserts it, without its job.
    pub async fn insert(&self, name: &str, vcpus: u32) -> String {
        let server = server(name, vcpus);
        let inputs = inputs();
        let mut tx = self.app.db.begin_write().await.unwrap();
        servers::insert(&mut tx, &server, &inputs).await.map_err(|e| e.for_log()).unwrap();
        let asker = Asker { request_id: "req-1", ..ASKER };
        actions::begin(&mut tx, &server.id, "create", asker).await.unwrap();
        tx.commit().await.unwrap();
        server.id
    }

    pub async fn enqueue_build(&self, server: &str) -> String {
        let mut tx = self.app.db.begin_write().await.unwrap();
        let job = Enqueue {
            kind: jobs::build::KIND,
            first_step: jobs::build::FIRST,
            target: server,
            data: serde_json::to_value(jobs::build::Data::default()).unwrap(),
            request_id: Some("req-1"),
        };
        let id = enqueue(&mut tx, job).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    pub fn runner(&self) -> Arc<Runner<App>> {
        let options = RunnerOptions { retry_ms: 1, poll_ms: 5, ..RunnerOptions::default() };
        Runner::new(self.app.clone(), self.app.db.clone(), self.app.bus.clone(), jobs::kinds(), options)
    }

    /// Runs a job to its end.
    pub async fn finish(&self, id: &str) -> Job {
        let runner = self.runner();
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            runner.run_one(id).await.unwrap();
            let job = find(&self.app.db, id).await.unwrap().unwrap();
            if job.state.is_final() {
                return job;
            }
            assert!(std::time::Instant::now() < deadline, "the job hangs in {}: {:?}", job.step, job.error);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn build(&self) {
        let id = self.enqueue_build(&self.server).await;
        let job = self.finish(&id).await;
        assert_eq!(job.state, State::Done, "{:?}", job.error);
    }

    pub async fn row(&self) -> Server {
        servers::find(&self.app.db, &self.server).await.unwrap().unwrap()
    }

    pub async fn delete(&self) {
        jobs::delete::begin(&self.app, &self.row().await, ASKER).await.map_err(|e| e.for_log()).unwrap();
    }

    pub async fn active(&self) -> Option<Job> {
        find_active(&self.app.db, &self.server).await.unwrap()
    }

    pub async fn event(&self, request: &str) -> (Option<String>, Option<String>) {
        let events = actions::events(&self.app.db, &self.server, request).await.unwrap();
        let last = events.first().unwrap_or_else(|| panic!("{request} has no event"));
        (last.result.clone(), last.details.clone())
    }
}

/// A job on a server that was built before, or the build itself.
struct Case {
    bench: Bench,
    kind: fn() -> Box<dyn JobKind<App>>,
    verb: Option<jobs::power::Verb>,
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
        (self.kind)()
    }
    async fn enqueue(&self) -> String {
        match (self.kind().kind(), self.verb) {
            ("build", _) => return self.bench.enqueue_build(&self.bench.server).await,
            ("delete", _) => self.bench.delete().await,
            ("soft_delete", _) => jobs::delete::begin_soft(&self.bench.app, &self.bench.row().await, ASKER)
                .await
                .map_err(|e| e.for_log())
                .unwrap(),
            ("changePassword" | "rescue", Some(verb)) => {
                let image = self.bench.row().await.image;
                let secret = Secret("s3cret".into());
                let rescue = jobs::power::RescueImages { image, kernel: None, ramdisk: None };
                let data = jobs::power::Data { rescue: Some(rescue), ..jobs::power::Data::of(verb) };
                let also = ferrostack_compute_api::action::Also::AdminPass(&secret);
                jobs::power::begin_with(&self.bench.app, self.bench.row().await, data, ASKER, &also)
                    .await
                    .map_err(|e| e.for_log())
                    .unwrap();
            }
            (_, Some(verb)) => {
                jobs::power::begin(&self.bench.app, self.bench.row().await, verb, ASKER)
                    .await
                    .map_err(|e| e.for_log())
                    .unwrap();
            }
            other => panic!("{other:?}"),
        }
        self.bench.active().await.unwrap().id
    }

    async fn assert_done(&self, job: &Job) {
        let (bench, db) = (&self.bench, &self.bench.app.db);
        let server = bench.row().await;
        assert_eq!(server.task_state, None);
        let request = job.request_id.as_deref().unwrap();
        assert_eq!(bench.event(request).await.0.as_deref(), Some("Success"));
        if job.kind == "delete" {
            assert_eq!(server.vm_state, VmState::Deleted);
            assert!(server.deleted_at.is_some());
            bench.world.assert_empty(db).await;
            return;
        }
        use jobs::power::Verb;
        let (vm_state, power) = match self.verb {
            Some(Verb::Stop) => (VmState::Stopped, PowerState::Shutdown),
            Some(Verb::Pause) => (VmState::Paused, PowerState::Paused),
            Some(Verb::Suspend) => (VmState::Suspended, PowerState::Shutdown),
            Some(Verb::Rescue) => (VmState::Rescued, PowerState::Running),
            Some(Verb::SoftDelete) => (VmState::SoftDeleted, PowerState::Shutdown),
            _ => (VmState::Active, PowerState::Running),
        };
        assert_eq!((server.vm_state, server.power_state), (vm_state, power));
        assert_eq!(server.ports.len(), 1);
        assert_eq!(server.fault, None);
        let host = server.host.unwrap();
        let state = bench.world.state.lock().guests[&host][&server.id];
        assert_eq!(state, power);
        assert_eq!(bench.world.guest_count(), 1);
        assert_eq!(bench.world.state.lock().ports.len(), 1);
        assert_eq!(count(db, "SELECT COUNT(*) FROM claims").await, 1);
        assert_eq!(count(db, "SELECT num_instances FROM hosts WHERE num_instances > 0").await, 1);
        let inputs = servers::inputs(db, &server.id).await.unwrap();
        assert!(inputs.admin_pass.is_none() && inputs.personality.is_empty());
        assert_eq!(inputs.user_data.as_deref(), Some("aGk="));
    }

    async fn assert_undone(&self, job: &Job) {
        let (bench, db) = (&self.bench, &self.bench.app.db);
        let server = bench.row().await;
        assert_eq!(server.task_state, None, "{}", job.kind);
        let (result, details) = bench.event(job.request_id.as_deref().unwrap()).await;
        assert_eq!(result.as_deref(), Some("Error"));
        assert!(details.is_some());
        assert!(server.fault.is_some());
        match job.kind.as_str() {
            "build" => {
                assert_eq!(server.vm_state, VmState::Error);
                assert_eq!((server.host, server.ports), (None, Vec::new()));
                bench.world.assert_empty(db).await;
            }
            "delete" => {
                assert_eq!(server.vm_state, VmState::Error);
                assert!(server.deleted_at.is_none());
                // It can be deleted again.
                bench.delete().await;
                if let Some(again) = bench.active().await {
                    assert_eq!(bench.finish(&again.id).await.state, State::Done);
                }
                bench.world.assert_empty(db).await;
            }
            _ => {
                assert!(servers::inputs(db, &server.id).await.unwrap().admin_pass.is_none());
                assert_eq!(count(db, "SELECT COUNT(*) FROM claims").await, 1);
                if matches!(job.kind.as_str(), "restore" | "rescue" | "unrescue") {
                    assert_eq!(server.vm_state, VmState::Error, "as in Nova");
                    return;
                }
                assert!(server.vm_state != VmState::Error, "a failure leaves it as it was");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn build_survives_every_fault() {
    every_step(|| async {
        Case { bench: Bench::new(2).await, kind: || Box::new(jobs::build::Build::new()), verb: None }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_survives_every_fault() {
    every_step(|| async {
        let bench = Bench::new(2).await;
        bench.build().await;
        Case { bench, kind: || Box::new(jobs::delete::Delete::new()), verb: None }
    })
    .await;
}

async fn power(
    verb: jobs::power::Verb,
    kind: fn() -> Box<dyn JobKind<App>>,
    first: Option<jobs::power::Verb>,
) {
    every_step(|| async {
        let bench = Bench::new(1).await;
        bench.build().await;
        if let Some(first) = first {
            let image = bench.row().await.image;
            let rescue = jobs::power::RescueImages { image, kernel: None, ramdisk: None };
            let data = jobs::power::Data { rescue: Some(rescue), ..jobs::power::Data::of(first) };
            let asker = Asker { request_id: "req-0", ..ASKER };
            let nothing = ferrostack_compute_api::action::Also::Nothing;
            jobs::power::begin_with(&bench.app, bench.row().await, data, asker, &nothing)
                .await
                .map_err(|e| e.for_log())
                .unwrap();
            bench.finish(&bench.active().await.unwrap().id).await;
        }
        Case { bench, kind, verb: Some(verb) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn power_jobs_survive_every_fault() {
    use jobs::power::{Power, Verb};
    power(Verb::Start, || Box::new(Power::start()), Some(Verb::Stop)).await;
    power(Verb::Stop, || Box::new(Power::stop()), None).await;
    power(Verb::RebootSoft, || Box::new(Power::reboot()), None).await;
    power(Verb::RebootHard, || Box::new(Power::reboot()), Some(Verb::Stop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_rescues_survive_every_fault() {
    use jobs::power::{Power, Verb};
    power(Verb::Rescue, || Box::new(Power::of(Verb::Rescue)), None).await;
    power(Verb::Unrescue, || Box::new(Power::of(Verb::Unrescue)), Some(Verb::Rescue)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_passwords_survive_every_fault() {
    use jobs::power::{Power, Verb};
    power(Verb::Password, || Box::new(Power::of(Verb::Password)), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_that_are_put_off_survive_every_fault() {
    use jobs::power::{Power, Verb};
    power(Verb::SoftDelete, || Box::new(Power::of(Verb::SoftDelete)), None).await;
    power(Verb::Restore, || Box::new(Power::of(Verb::Restore)), Some(Verb::SoftDelete)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_pause_and_suspend_survive_every_fault() {
    use jobs::power::{Power, Verb};
    power(Verb::Pause, || Box::new(Power::of(Verb::Pause)), None).await;
    power(Verb::Unpause, || Box::new(Power::of(Verb::Unpause)), Some(Verb::Pause)).await;
    power(Verb::Suspend, || Box::new(Power::of(Verb::Suspend)), None).await;
    power(Verb::Resume, || Box::new(Power::of(Verb::Resume)), Some(Verb::Suspend)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_during_any_step_of_a_build_leaves_nothing() {
    for step in ["schedule", "claim", "ports", "spawn", "finish"] {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::CrashAfterCommit] {
            let bench = Bench::new(2).await;
            let id = bench.enqueue_build(&bench.server).await;
            let runner = bench.runner();
            runner.faults().arm(step, false, fault);
            // Up to the fault: then the process is dead and its claim of the job still stands.
            while runner.faults().left() > 0 {
                runner.run_one(&id).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            bench.delete().await;
            // What the build would still do is fenced off.
            testing::expire_leases(&bench.app.db).await;
            runner.run_one(&id).await.unwrap();
            if let Some(job) = bench.active().await {
                assert_eq!(bench.finish(&job.id).await.state, State::Done, "{fault:?} in {step}");
            }
            assert!(bench.row().await.deleted_at.is_some(), "{fault:?} in {step}");
            // A port that was made and not noted.
            reconcile::ports::sweep(&bench.app, -1).await.unwrap();
            bench.world.assert_empty(&bench.app.db).await;
            assert_eq!(bench.event("req-2").await.0.as_deref(), Some("Success"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_nowhere_is_deleted_at_once() {
    let bench = Bench::new(1).await;
    bench.enqueue_build(&bench.server).await;
    bench.delete().await;
    assert!(bench.active().await.is_none());
    assert!(bench.row().await.deleted_at.is_some());
    assert_eq!(bench.event("req-2").await.0.as_deref(), Some("Success"));
    bench.world.assert_empty(&bench.app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_under_way_is_left_alone() {
    let bench = Bench::new(1).await;
    bench.build().await;
    bench.delete().await;
    let first = bench.active().await.unwrap();
    bench.delete().await;
    let second = bench.active().await.unwrap();
    assert_eq!((first.id, first.generation), (second.id.clone(), second.generation));
    assert_eq!(bench.finish(&second.id).await.state, State::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_made_by_a_fenced_build_is_swept() {
    let bench = Bench::new(1).await;
    bench.world.state.lock().slow_ports = true;
    let id = bench.enqueue_build(&bench.server).await;
    let running = tokio::spawn({
        let (runner, db, id) = (bench.runner(), bench.app.db.clone(), id.clone());
        async move {
            while !find(&db, &id).await.unwrap().unwrap().state.is_final() {
                runner.run_one(&id).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    until("the call is under way", async || {
        (find(&bench.app.db, &id).await.unwrap().unwrap().step == "ports").then_some(())
    })
    .await;
    bench.delete().await;
    if let Some(job) = bench.active().await {
        assert_eq!(bench.finish(&job.id).await.state, State::Done);
    }
    bench.world.state.lock().slow_ports = false;
    running.await.unwrap();
    until("the late port", async || (bench.world.state.lock().ports.len() == 1).then_some(())).await;
    reconcile::ports::sweep(&bench.app, 3600).await.unwrap();
    assert_eq!(bench.world.state.lock().ports.len(), 1, "young ports are left alone");
    reconcile::ports::sweep(&bench.app, -1).await.unwrap();
    bench.world.assert_empty(&bench.app.db).await;
}

/// A server as the API inserts it.
pub fn server(name: &str, vcpus: u32) -> Server {
    let now = Timestamp::now();
    Server {
        id: id::uuid(),
        generation: 1,
        project_id: PROJECT.into(),
        user_id: "u".into(),
        display_name: name.into(),
        hostname: name.into(),
        description: None,
        instance_name: "instance-00000001".into(),
        reservation_id: "r-1".into(),
        launch_index: 0,
        vm_state: VmState::Building,
        task_state: Some(TaskState::Scheduling),
        power_state: PowerState::NoState,
        power_at: Timestamp(0),
        progress: 0,
        host: None,
        node: None,
        availability_zone: None,
        pinned_az: None,
        image: ImageSource {
            id: IMAGE.into(),
            disk_format: "qcow2".into(),
            size: 1,
            virtual_size: 1,
            sha512: "ab".into(),
            properties: [].into(),
        },
        kernel: None,
        ramdisk: None,
        flavor: GuestFlavor {
            name: "m1".into(),
            vcpus,
            ram_mb: 512,
            root_gb: 1,
            ephemeral_gb: 0,
            swap_mb: 0,
            extra_specs: [].into(),
        },
        flavor_id: "1".into(),
        key_name: None,
        public_key: None,
        config_drive: false,
        access_ip_v4: String::new(),
        access_ip_v6: String::new(),
        metadata: [].into(),
        hints: [].into(),
        nics: vec![NicRequest { network_id: Some(NETWORK.into()), ..NicRequest::default() }],
        ports: Vec::new(),
        fault: None,
        locked: false,
        locked_reason: None,
        created_at: now,
        updated_at: now,
        launched_at: None,
        terminated_at: None,
        deleted_at: None,
        tags: Vec::new(),
        trusted_certs: None,
        disk_config: "MANUAL".into(),
    }
}

pub fn inputs() -> Inputs {
    Inputs {
        user_data: Some("aGk=".into()),
        personality: vec![Personality { path: "/etc/x".into(), contents: "aGk=".into() }],
        admin_pass: Some(Secret("hunter2".into())),
    }
}
