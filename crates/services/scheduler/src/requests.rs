//! The messages: requests in, answers out, host states in.

use crate::{
    View,
    decide::{Config, Wish, decide},
    metrics,
};
use async_trait::async_trait;
use ferrostack_bus::{Address, Bus, Handler, Verdict};
use ferrostack_model::{
    Timestamp, id,
    message::{Envelope, HostsUpdate, HostsWanted, Message, ScheduleAnswer, ScheduleRequest},
    placement::Decision,
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long a request waits for the hosts to be told before the bus brings it again.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a request waits if there is known to be no host at all: one may just be coming up. (If there are hosts
/// but none was heard of late it waits longer: compute-api was away and has not taken in their heartbeats yet.)
const PATIENCE_EMPTY: Duration = Duration::from_secs(1);
/// Between questions for the hosts while somebody waits.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Answers remembered, so that a repeated request neither consumes twice nor is answered differently.
const REMEMBERED: usize = 4096;

/// The answers given of late, by job and attempt.
#[derive(Default)]
struct Memory {
    answers: HashMap<(String, i64), Decision>,
    order: VecDeque<(String, i64)>,
}

impl Memory {
    fn put(&mut self, key: (String, i64), decision: Decision) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.answers.insert(key, decision);
    }
}

/// The state behind both handlers.
pub struct Scheduler {
    name: String,
    config: Config,
    /// Seconds of silence after which a host is down.
    service_down_time: i64,
    /// Seconds after which an untold view is not trusted.
    max_age: i64,
    bus: Arc<dyn Bus>,
    view: Mutex<View>,
    memory: Mutex<Memory>,
    told: watch::Sender<u64>,
}

impl Scheduler {
    pub fn new(config: Config, service_down_time: i64, bus: Arc<dyn Bus>) -> Self {
        Self {
            name: format!("scheduler-{}", id::hex()),
            config,
            service_down_time,
            max_age: (service_down_time / 2).max(1),
            bus,
            view: Mutex::default(),
            memory: Mutex::default(),
            told: watch::Sender::new(0),
        }
    }

    pub fn hosts_known(&self) -> usize {
        self.view.lock().len()
    }

    fn is_fresh(&self) -> bool {
        self.view.lock().is_fresh(Timestamp::now(), self.max_age)
    }

    fn is_ready(&self) -> bool {
        let (view, now) = (self.view.lock(), Timestamp::now());
        view.is_fresh(now, self.max_age) && view.any_up(now, self.service_down_time)
    }

    /// Asks compute-api for every host. That nobody listens yet is normal at start.
    async fn ask(&self) {
        let wanted = HostsWanted { scheduler: self.name.clone() };
        let sent = match Envelope::new(&wanted, None) {
            Ok(message) => self.bus.publish(&Address::Compute, &message).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::debug!(error = error.for_log(), "hosts not asked for");
        }
    }

    /// Waits until the hosts are known. `false` if they are not told in time.
    async fn wait_for_hosts(&self) -> bool {
        let begin = Instant::now();
        let mut told = self.told.subscribe();
        while !self.is_ready() {
            let waited = begin.elapsed();
            if waited >= PATIENCE || (waited >= PATIENCE_EMPTY && self.is_fresh() && self.hosts_known() == 0)
            {
                return self.is_fresh();
            }
            self.ask().await;
            // Either way the state is looked at again.
            let _ = tokio::time::timeout(ASK_AGAIN, told.changed()).await;
        }
        true
    }

    fn decide(&self, request: &ScheduleRequest) -> Decision {
        let key = (request.job_id.clone(), request.attempt);
        if let Some(known) = self.memory.lock().answers.get(&key) {
            return known.clone();
        }
        let timer = metrics::SECONDS.start_timer();
        let wish = Wish { request: &request.request, now: Timestamp::now() };
        let mut view = self.view.lock();
        view.expire(wish.now);
        let mut decision = decide(&wish, view.hosts(), &self.config, &mut rand::rng());
        if decision.hosts.is_empty() && view.has_pending() {
            // Others' choices may never become claims. The claim decides, so better one lost than a wrong refusal.
            decision = decide(&wish, &view.hosts_as_told(), &self.config, &mut rand::rng());
        }
        if let Some(host) = decision.hosts.first()
            && !request.request.rebuild
        {
            view.consume(host, &request.request, wish.now);
        }
        drop(view);
        timer.observe_duration();
        let result = if decision.hosts.is_empty() { "no_valid_host" } else { "host" };
        metrics::DECISIONS.with_label_values(&[result]).inc();
        self.memory.lock().put(key, decision.clone());
        decision
    }
}

/// Keeps asking for the hosts while they are not known or were not told for long.
pub async fn keep_fresh(scheduler: Arc<Scheduler>, stop: CancellationToken) {
    let mut pause = ASK_AGAIN;
    loop {
        let mut told = scheduler.told.subscribe();
        if scheduler.is_fresh() {
            pause = ASK_AGAIN;
        } else {
            scheduler.ask().await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        let next = if scheduler.is_fresh() { Duration::from_secs(1) } else { pause };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(next) => {}
            _ = told.changed(), if !scheduler.is_fresh() => {}
        }
    }
}

/// Answers requests.
pub struct RequestHandler {
    pub scheduler: Arc<Scheduler>,
    pub stop: CancellationToken,
}

impl RequestHandler {
    async fn answer(&self, message: &Envelope, request: ScheduleRequest) -> Verdict {
        let scheduler = &self.scheduler;
        if !scheduler.wait_for_hosts().await {
            tracing::warn!(server = request.server_id, "no host known yet; the request comes again");
            return Verdict::Retry;
        }
        let decision = scheduler.decide(&request);
        tracing::info!(
            request_id = message.request_id,
            server = request.server_id,
            attempt = request.attempt,
            considered = decision.considered,
            host = decision.hosts.first(),
            "{}",
            if decision.hosts.is_empty() { "no valid host" } else { "host chosen" },
        );
        let answer = ScheduleAnswer {
            job_id: request.job_id,
            server_id: request.server_id,
            generation: request.generation,
            attempt: request.attempt,
            decision,
        };
        let envelope = match Envelope::new(&answer, message.request_id.as_deref()) {
            Ok(envelope) => envelope.at_generation(request.generation),
            Err(error) => {
                tracing::error!(error = error.for_log(), "answer not encoded");
                return Verdict::Reject;
            }
        };
        match scheduler.bus.publish(&Address::Compute, &envelope).await {
            Ok(()) => Verdict::Ack,
            Err(error) => {
                tracing::warn!(error = error.for_log(), "answer not sent; the request comes again");
                Verdict::Retry
            }
        }
    }
}

#[async_trait]
impl Handler for RequestHandler {
    async fn handle(&self, message: Envelope) -> Verdict {
        let request = match message.open::<ScheduleRequest>() {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(error = error.for_log(), "message refused");
                return Verdict::Reject;
            }
        };
        if message.deadline.is_some_and(|d| d < Timestamp::now()) {
            tracing::info!(server = request.server_id, "request too old to be answered");
            return Verdict::Ack;
        }
        tokio::select! {
            verdict = self.answer(&message, request) => verdict,
            () = self.stop.cancelled() => Verdict::Retry,
        }
    }
}

/// Takes in host states.
pub struct HostsHandler(pub Arc<Scheduler>);

#[async_trait]
impl Handler for HostsHandler {
    async fn handle(&self, message: Envelope) -> Verdict {
        let update = match message.open::<HostsUpdate>() {
            Ok(update) => update,
            Err(error) => {
                tracing::warn!(error = error.for_log(), kind = HostsUpdate::KIND, "message refused");
                return Verdict::Reject;
            }
        };
        let known = {
            let mut view = self.0.view.lock();
            view.update(update, Timestamp::now());
            view.len()
        };
        metrics::HOSTS.set(i64::try_from(known).unwrap_or(i64::MAX));
        self.0.told.send_modify(|n| *n += 1);
        Verdict::Ack
    }
}
