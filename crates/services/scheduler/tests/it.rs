//! The scheduler as compute-api meets it: over the bus.
#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use ferrostack_bus::{Address, Bus, Handler, LocalBus, Source, Verdict};
use ferrostack_model::{
    Timestamp,
    host::HostState,
    message::{Envelope, HostsUpdate, HostsWanted, Message, ScheduleAnswer, ScheduleRequest, ServiceReport},
    placement::PlacementRequest,
};
use ferrostack_scheduler::RunningScheduler;
use ferrostack_settings::Settings;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// compute-api: tells the hosts it is asked for and keeps the answers.
struct Compute {
    bus: Arc<LocalBus>,
    hosts: Mutex<Option<Vec<HostState>>>,
    answers: Mutex<Vec<ScheduleAnswer>>,
    asked: Mutex<usize>,
    reports: Mutex<Vec<String>>,
}

#[async_trait]
impl Handler for Compute {
    async fn handle(&self, message: Envelope) -> Verdict {
        if message.kind == HostsWanted::KIND {
            *self.asked.lock() += 1;
            let hosts = self.hosts.lock().clone();
            if let Some(hosts) = hosts {
                tell(&self.bus, hosts, true).await;
            }
        } else if message.kind == ServiceReport::KIND {
            let report: ServiceReport = message.open().unwrap();
            self.reports.lock().push(report.binary);
        } else {
            self.answers.lock().push(message.open().unwrap());
        }
        Verdict::Ack
    }
}

async fn tell(bus: &LocalBus, hosts: Vec<HostState>, full: bool) {
    let update = Envelope::new(&HostsUpdate { hosts, full }, None).unwrap();
    bus.publish(&Address::Hosts, &update).await.unwrap();
}

fn host(name: &str) -> HostState {
    HostState {
        host: name.into(),
        node: name.into(),
        availability_zone: "nova".into(),
        enabled: true,
        last_seen: Timestamp::now(),
        vcpus: 4,
        vcpus_used: 0,
        memory_mb: 4096,
        memory_mb_used: 0,
        local_gb: 100,
        local_gb_used: 0,
        cpu_allocation_ratio: 1.0,
        ram_allocation_ratio: 1.0,
        disk_allocation_ratio: 1.0,
        num_instances: 0,
        num_io_ops: 0,
        hypervisor_type: "fake".into(),
        hypervisor_version: 1,
        arch: "x86_64".into(),
        cpu_info: serde_json::json!({}),
        generation: 1,
        host_ip: "192.0.2.7".into(),
        aggregates: Vec::new(),
    }
}

struct Cloud {
    bus: Arc<LocalBus>,
    compute: Arc<Compute>,
    running: Option<RunningScheduler>,
    stop: CancellationToken,
}

impl Cloud {
    async fn new(hosts: Option<Vec<HostState>>) -> Self {
        let bus = Arc::new(LocalBus::new());
        let compute = Arc::new(Compute {
            bus: bus.clone(),
            hosts: Mutex::new(hosts),
            answers: Mutex::default(),
            asked: Mutex::default(),
            reports: Mutex::default(),
        });
        let mut cloud = Self { bus, compute, running: None, stop: CancellationToken::new() };
        cloud.start().await;
        cloud
    }

    /// compute-api comes up.
    async fn listen(&self) {
        let compute = self.compute.clone();
        self.bus.consume(Source::Compute, 4, compute, CancellationToken::new()).await.unwrap();
    }

    async fn start(&mut self) {
        let mut settings = Settings::default();
        settings.scheduler.listen = "127.0.0.1:0".parse().unwrap();
        self.stop = CancellationToken::new();
        let running = ferrostack_scheduler::start(&settings, self.bus.clone(), self.stop.clone()).await;
        self.running = Some(running.unwrap_or_else(|e| panic!("{}", e.for_log())));
    }

    async fn request(&self, job: &str, attempt: i64) {
        let request = ScheduleRequest {
            job_id: job.into(),
            server_id: "s".into(),
            generation: 3,
            attempt,
            request: PlacementRequest {
                vcpus: 4,
                memory_mb: 4096,
                disk_gb: 1,
                ..PlacementRequest::default()
            },
        };
        let message = Envelope::new(&request, Some("req-1")).unwrap();
        self.bus.publish(&Address::Scheduler, &message).await.unwrap();
    }

    async fn answers(&self, job: &str, count: usize) -> Vec<ScheduleAnswer> {
        for _ in 0..3000 {
            let found: Vec<_> =
                self.compute.answers.lock().iter().filter(|a| a.job_id == job).cloned().collect();
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} answers to {job} did not come");
    }

    async fn answer(&self, job: &str) -> ScheduleAnswer {
        self.answers(job, 1).await.remove(0)
    }
}

#[tokio::test]
async fn requests_are_spread_and_refused_only_by_what_was_told() {
    let cloud = Cloud::new(Some(vec![host("a"), host("b")])).await;
    cloud.listen().await;
    let mut chosen = Vec::new();
    for job in ["one", "two"] {
        cloud.request(job, 1).await;
        let answer = cloud.answer(job).await;
        assert_eq!((answer.generation, answer.attempt, answer.decision.considered), (3, 1, 2));
        chosen.push(answer.decision.hosts[0].clone());
    }
    chosen.sort();
    assert_eq!(chosen, ["a", "b"]);
    // Neither choice has become a claim yet; the third may try its luck.
    cloud.request("three", 1).await;
    assert!(!cloud.answer("three").await.decision.hosts.is_empty());
    let full = |name: &str| HostState { generation: 2, memory_mb_used: 4096, ..host(name) };
    tell(&cloud.bus, vec![full("a"), full("b")], false).await;
    for attempt in 2.. {
        cloud.request("three", attempt).await;
        let answers = cloud.answers("three", attempt as usize).await;
        if let Some(refused) = answers.iter().find(|a| a.decision.hosts.is_empty()) {
            assert_eq!(refused.decision.rejections[0].filter, "RamFilter");
            assert_eq!(refused.decision.rejections[0].hosts, ["a", "b"]);
            break;
        }
    }
}

#[tokio::test]
async fn a_repeated_request_is_answered_alike_and_takes_nothing_twice() {
    let cloud = Cloud::new(Some(vec![host("a"), host("b")])).await;
    cloud.listen().await;
    for _ in 0..3 {
        cloud.request("one", 1).await;
    }
    let answers = cloud.answers("one", 3).await;
    assert!(answers.windows(2).all(|w| w[0].decision == w[1].decision));
    cloud.request("two", 1).await;
    assert_eq!(cloud.answer("two").await.decision.hosts.len(), 1);
}

#[tokio::test]
async fn a_request_waits_for_the_hosts_to_be_told() {
    let cloud = Cloud::new(None).await;
    cloud.request("early", 1).await;
    cloud.listen().await;
    // compute-api is up but answers nothing yet.
    while *cloud.compute.asked.lock() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(cloud.compute.answers.lock().is_empty());
    *cloud.compute.hosts.lock() = Some(vec![host("a")]);
    assert_eq!(cloud.answer("early").await.decision.hosts, ["a"]);
}

#[tokio::test]
async fn hosts_that_all_fell_silent_at_once_get_time_to_be_heard_again() {
    let silent = HostState { last_seen: Timestamp::now().plus_seconds(-300), ..host("a") };
    let cloud = Cloud::new(Some(vec![silent])).await;
    cloud.listen().await;
    cloud.request("one", 1).await;
    while *cloud.compute.asked.lock() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(cloud.compute.answers.lock().is_empty());
    *cloud.compute.hosts.lock() = Some(vec![host("a")]);
    tell(&cloud.bus, vec![host("a")], false).await;
    assert_eq!(cloud.answer("one").await.decision.hosts, ["a"]);
}

#[tokio::test]
async fn a_cloud_without_hosts_is_told_so() {
    let cloud = Cloud::new(Some(Vec::new())).await;
    cloud.listen().await;
    cloud.request("one", 1).await;
    let decision = cloud.answer("one").await.decision;
    assert_eq!((decision.hosts.len(), decision.considered), (0, 0));
}

#[tokio::test]
async fn a_restarted_scheduler_asks_for_the_hosts() {
    let mut cloud = Cloud::new(Some(vec![host("a")])).await;
    cloud.listen().await;
    cloud.request("one", 1).await;
    cloud.answer("one").await;
    cloud.stop.cancel();
    cloud.running.take().unwrap().wait().await;
    cloud.request("two", 1).await;
    cloud.start().await;
    assert_eq!(cloud.answer("two").await.decision.hosts, ["a"]);
    assert_eq!(cloud.running.as_ref().unwrap().hosts_known(), 1);
}

#[tokio::test]
async fn what_is_no_request_goes_to_the_dead_letters() {
    let cloud = Cloud::new(Some(vec![host("a")])).await;
    cloud.listen().await;
    let message = Envelope::new(&HostsWanted { scheduler: "x".into() }, None).unwrap();
    cloud.bus.publish(&Address::Scheduler, &message).await.unwrap();
    while cloud.bus.dead_letters(10).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cloud.request("one", 1).await;
    cloud.answer("one").await;
}

#[tokio::test]
async fn an_unknown_filter_stops_the_start() {
    let mut settings = Settings::default();
    settings.scheduler.enabled_filters.push("NoSuchFilter".into());
    let started =
        ferrostack_scheduler::start(&settings, Arc::new(LocalBus::new()), CancellationToken::new()).await;
    assert!(started.err().unwrap().public.contains("NoSuchFilter"));
}

#[tokio::test]
async fn health_and_metrics_answer() {
    let cloud = Cloud::new(Some(vec![host("a")])).await;
    let address = cloud.running.as_ref().unwrap().address;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for path in ["/healthcheck", "/metrics"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }
}

#[tokio::test]
async fn it_says_that_it_lives() {
    let mut cloud = Cloud::new(None).await;
    cloud.stop.cancel();
    cloud.listen().await;
    cloud.start().await;
    for _ in 0..3000 {
        if cloud.compute.reports.lock().first().is_some_and(|binary| binary == "nova-scheduler") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no report came");
}
