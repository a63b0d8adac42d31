//! The jobs of a move through every fault: crash, repetition and failure of each step, forward and back.

use crate::{
    jobs::{ASKER, Bench},
    world::count,
};
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_compute_api::{
    app::App,
    jobs::moves::{
        begin::{self, Going},
        confirm::Confirm,
        resize::Resize,
        revert::Revert,
    },
    store::{
        instance_actions::Asker,
        migrations::{self, Size},
    },
};
use ferrostack_db::{Db, sqlx};
use ferrostack_jobs::{
    Job, JobKind, State,
    testing::{Scenario, every_step},
};
use ferrostack_model::{
    migration::Status,
    server::{PowerState, VmState},
};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Go,
    Confirm,
    Revert,
}

struct Case {
    bench: Bench,
    way: Way,
    in_place: bool,
    content: String,
}

async fn go(bench: &Bench, request_id: &str) -> String {
    let server = bench.row().await;
    let mut size = Size::of_server(&bench.app.db, &server).await.unwrap();
    (size.flavor_id, size.flavor.vcpus) = ("big".into(), 2);
    let going = Going { size: Some(size), host: None, disk_config: None };
    let asker = Asker { request_id, ..ASKER };
    begin::go(&bench.app, server, asker, &going).await.map_err(|e| e.for_log()).unwrap()
}

impl Case {
    async fn new(way: Way, in_place: bool) -> Self {
        let bench = Bench::new(2).await;
        bench.build().await;
        let host = bench.row().await.host.unwrap();
        if !in_place {
            bench.world.state.lock().avoid = Some(host.clone());
        }
        let content = bench.world.state.lock().disks[&(host, bench.server.clone())].clone();
        if way != Way::Go {
            let id = go(&bench, "req-0").await;
            let job = bench.finish(&id).await;
            assert_eq!(job.state, State::Done, "{:?}", job.error);
        }
        Self { bench, way, in_place, content }
    }

    fn hosts(&self) -> (&str, &str) {
        ("host1", if self.in_place { "host1" } else { "host2" })
    }

    /// Claimed vCPUs by host, and servers.
    async fn held(&self) -> Vec<(String, i64, i64)> {
        let sql = "SELECT host, vcpus_used, num_instances FROM hosts WHERE vcpus_used > 0 ORDER BY host";
        sqlx::query_as(sql).fetch_all(self.bench.app.db.reader()).await.unwrap()
    }

    async fn status(&self) -> Status {
        migrations::get(&self.bench.app.db, 1).await.unwrap().unwrap().status
    }

    /// Only on `host` is there a guest, with the disk it always had.
    async fn only_at(&self, host: &str, vcpus: i64) {
        let (bench, id) = (&self.bench, &self.bench.server);
        let server = bench.row().await;
        assert_eq!((server.host.as_deref(), i64::from(server.flavor.vcpus)), (Some(host), vcpus));
        assert_eq!(self.held().await, [(host.to_owned(), vcpus, 1)]);
        assert_eq!(bench.world.guest_count(), 1);
        {
            let state = bench.world.state.lock();
            assert_eq!(state.guests[host][id], PowerState::Running);
            assert_eq!(state.disks[&(host.to_owned(), id.clone())], self.content);
            assert!(state.kept.is_empty());
            let port = state.ports.values().next().unwrap();
            assert_eq!(port["binding:host_id"], host);
        }
        assert_eq!(count(&bench.app.db, "SELECT COUNT(*) FROM move_claims").await, 0);
        assert_eq!(count(&bench.app.db, "SELECT COUNT(*) FROM guests").await, 1);
    }
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
        match self.way {
            Way::Go => Box::new(Resize::new()),
            Way::Confirm => Box::new(Confirm::new()),
            Way::Revert => Box::new(Revert::new()),
        }
    }
    async fn enqueue(&self) -> String {
        let (app, server) = (&self.bench.app, self.bench.row().await);
        let begun = match self.way {
            Way::Go => return go(&self.bench, ASKER.request_id).await,
            Way::Confirm => begin::confirm(app, server, ASKER).await,
            Way::Revert => begin::revert(app, server, ASKER).await,
        };
        begun.map_err(|e| e.for_log()).unwrap()
    }

    async fn assert_done(&self, job: &Job) {
        let server = self.bench.row().await;
        assert_eq!((server.task_state, server.fault), (None, None));
        assert_eq!(self.bench.event(job.request_id.as_deref().unwrap()).await.0.as_deref(), Some("Success"));
        let (source, dest) = self.hosts();
        match self.way {
            Way::Go => {
                assert_eq!((server.vm_state, server.host.as_deref()), (VmState::Resized, Some(dest)));
                assert_eq!(self.status().await, Status::Finished);
                let expected = if self.in_place {
                    vec![(dest.to_owned(), 2, 1)]
                } else {
                    vec![(source.to_owned(), 1, 1), (dest.to_owned(), 2, 1)]
                };
                assert_eq!(self.held().await, expected);
                let state = self.bench.world.state.lock();
                for host in [source, dest] {
                    assert_eq!(state.disks[&(host.to_owned(), server.id.clone())], self.content);
                }
                assert_eq!(state.guests[dest][&server.id], PowerState::Running);
            }
            Way::Confirm => {
                assert_eq!((server.vm_state, self.status().await), (VmState::Active, Status::Confirmed));
                self.only_at(dest, 2).await;
            }
            Way::Revert => {
                assert_eq!((server.vm_state, self.status().await), (VmState::Active, Status::Reverted));
                self.only_at(source, 1).await;
            }
        }
    }

    /// R24, R26: a move that failed is as if it had never been; what cannot be decided shows an error and can be
    /// deleted, with all that it held.
    async fn assert_undone(&self, job: &Job) {
        let server = self.bench.row().await;
        assert!(server.task_state.is_none() && server.fault.is_some(), "{}", job.kind);
        assert_eq!(self.status().await, Status::Error);
        let (result, details) = self.bench.event(job.request_id.as_deref().unwrap()).await;
        assert!(result.as_deref() == Some("Error") && details.is_some());
        if self.way == Way::Go {
            assert_eq!(server.vm_state, VmState::Active);
            self.only_at(self.hosts().0, 1).await;
            return;
        }
        assert_eq!(server.vm_state, VmState::Error);
        self.bench.delete().await;
        if let Some(job) = self.bench.active().await {
            assert_eq!(self.bench.finish(&job.id).await.state, State::Done);
        }
        self.bench.world.assert_empty(&self.bench.app.db).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resize_survives_every_fault() {
    for in_place in [false, true] {
        every_step(|| Case::new(Way::Go, in_place)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_survives_every_fault() {
    for in_place in [false, true] {
        every_step(|| Case::new(Way::Confirm, in_place)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_survives_every_fault() {
    for in_place in [false, true] {
        every_step(|| Case::new(Way::Revert, in_place)).await;
    }
}
