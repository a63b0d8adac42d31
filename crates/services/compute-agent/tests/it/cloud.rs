//! What stands around the agent under test.

use async_trait::async_trait;
use ferrostack_bus::{Address, Bus, Handler, LocalBus, Source, Verdict};
use ferrostack_compute_agent::RunningAgent;
use ferrostack_http::TokenVerifier;
use ferrostack_hypervisor::{
    Hypervisor,
    fake::{FakeHypervisor, sample_guest},
};
use ferrostack_model::{
    Caller, DomainRef, Error, Result, Timestamp, TokenClaims,
    auth::Secret,
    guest::GuestSpec,
    host::HostReport,
    message::{AgentAnswer, AgentInquiry, AgentOrder, Envelope, GuestsReport, Message, Order, Outcome},
    returning::{AgentReturn, ReturnAnswer},
};
use ferrostack_settings::{HypervisorKind, Settings};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

pub const HOST: &str = "fake-0001";

/// Everything that came to compute-api's queue.
#[derive(Default)]
pub struct Inbox {
    /// The messages.
    pub messages: Mutex<Vec<Envelope>>,
    /// Servers that a returning host has lost.
    pub gone: Mutex<Vec<String>>,
    /// Hosts that return get no answer.
    pub silent: std::sync::atomic::AtomicBool,
    bus: Mutex<Option<Arc<LocalBus>>>,
}

#[async_trait]
impl Handler for Inbox {
    async fn handle(&self, message: Envelope) -> Verdict {
        if let Ok(asked) = message.open::<AgentReturn>()
            && !self.silent.load(std::sync::atomic::Ordering::SeqCst)
        {
            let answer = ReturnAnswer { agent_start: asked.agent_start, gone: self.gone.lock().clone() };
            let bus = self.bus.lock().clone().unwrap();
            let answer = Envelope::new(&answer, None).unwrap();
            bus.publish(&Address::Agent(asked.host), &answer).await.unwrap();
        }
        self.messages.lock().push(message);
        Verdict::Ack
    }
}

pub struct Tokens;

#[async_trait]
impl TokenVerifier for Tokens {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        let role = token.strip_prefix("token-of-").ok_or_else(Error::unauthorized)?;
        let claims = TokenClaims {
            sub: "u".into(),
            name: "u".into(),
            dom: DomainRef { id: "default".into(), name: "Default".into() },
            iat_us: Timestamp::now(),
            exp_us: Timestamp::now().plus_seconds(60),
            aud_ids: vec!["a".into()],
            methods: vec!["password".into()],
            project: None,
            domain: None,
            system: false,
            roles: vec![role.into()],
            ..Default::default()
        };
        Ok(Arc::new(Caller { claims, token: Secret(token.into()) }))
    }
    fn auth_uri(&self) -> String {
        "http://127.0.0.1:5000/v3".into()
    }
}

pub struct Cloud {
    pub bus: Arc<LocalBus>,
    pub inbox: Arc<Inbox>,
    pub settings: Settings,
    /// The host that orders go to.
    pub host: String,
    _state: tempfile::TempDir,
    stop: Mutex<CancellationToken>,
    agent: Option<RunningAgent>,
}

impl Cloud {
    /// A bus with compute-api's queue and an agent with `hosts` fake hosts.
    pub async fn new(hosts: u32) -> Self {
        let mut cloud = Self::without_agent(hosts);
        cloud.listen().await;
        cloud.start().await;
        cloud
    }

    pub fn without_agent(hosts: u32) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.agent.hypervisor = HypervisorKind::Fake;
        settings.agent.fake.hosts = hosts;
        settings.agent.listen = "127.0.0.1:0".parse().unwrap();
        settings.agent.metadata_listen = Vec::new();
        settings.agent.state_directory = state.path().join("agent");
        settings.agent.report_seconds = 1;
        Self {
            bus: Arc::new(LocalBus::new()),
            inbox: Arc::default(),
            settings,
            host: HOST.into(),
            _state: state,
            stop: Mutex::default(),
            agent: None,
        }
    }

    /// compute-api's queue comes into being.
    pub async fn listen(&self) {
        let inbox = self.inbox.clone();
        *inbox.bus.lock() = Some(self.bus.clone());
        self.bus.consume(Source::Compute, 1, inbox, CancellationToken::new()).await.unwrap();
    }

    pub async fn try_start(&self) -> Result<RunningAgent> {
        let (bus, stop) = (self.bus.clone(), self.stop.lock().clone());
        ferrostack_compute_agent::start(&self.settings, bus, Arc::new(Tokens), stop).await
    }

    pub async fn start(&mut self) {
        *self.stop.lock() = CancellationToken::new();
        self.agent = Some(self.try_start().await.unwrap_or_else(|e| panic!("{}", e.for_log())));
    }

    /// Ctrl-C.
    pub async fn stop(&mut self) {
        self.stop.lock().cancel();
        self.agent.take().unwrap().wait().await;
    }

    /// Changes the ledger of an agent that does not run.
    pub async fn sql(&self, statement: &'static str, server: &str) {
        sqlx::any::install_default_drivers();
        let file = self.settings.agent.state_directory.join("ledger/agent.sqlite");
        let pool = sqlx::AnyPool::connect(&format!("sqlite://{}", file.display())).await.unwrap();
        let done = sqlx::query(statement).bind(server).execute(&pool).await.unwrap();
        assert!(done.rows_affected() > 0);
        pool.close().await;
    }

    pub fn agent(&self) -> &RunningAgent {
        self.agent.as_ref().unwrap()
    }

    /// An agent with hypervisors of the test's own.
    pub async fn start_with(&mut self, hosts: Vec<(String, Arc<dyn Hypervisor>)>) {
        let (bus, stop) = (self.bus.clone(), CancellationToken::new());
        let running =
            ferrostack_compute_agent::start_with(&self.settings, hosts, bus, Arc::new(Tokens), stop).await;
        self.agent = Some(running.unwrap_or_else(|e| panic!("{}", e.for_log())));
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        self.agent.take().unwrap().kill().await;
    }

    pub fn fake(&self) -> Arc<FakeHypervisor> {
        self.agent().fake(HOST).unwrap().clone()
    }

    pub async fn order(&self, job: &str, server: &str, generation: i64, order: Order) {
        let order = AgentOrder { job_id: job.into(), server_id: server.into(), generation, order };
        self.send(&order).await;
    }

    pub async fn inquire(&self, job: &str, server: &str, generation: i64) {
        self.send(&AgentInquiry { job_id: job.into(), server_id: server.into(), generation }).await;
    }

    pub async fn send<M: Message>(&self, message: &M) {
        let envelope = Envelope::new(message, Some("req-test")).unwrap();
        self.bus.publish(&Address::Agent(self.host.clone()), &envelope).await.unwrap();
    }

    fn all<M: Message>(&self) -> Vec<M> {
        self.inbox.messages.lock().iter().filter(|e| e.kind == M::KIND).map(|e| e.open().unwrap()).collect()
    }

    pub fn answers(&self, job: &str) -> Vec<Outcome> {
        self.all::<AgentAnswer>().into_iter().filter(|a| a.job_id == job).map(|a| a.outcome).collect()
    }

    pub fn host_reports(&self) -> Vec<HostReport> {
        self.all()
    }

    pub fn guests_reports(&self) -> Vec<GuestsReport> {
        self.all()
    }

    /// Waits until the ledger has closed every order of `server`.
    pub async fn closed(&self, server: &str) {
        sqlx::any::install_default_drivers();
        let file = self.settings.agent.state_directory.join("ledger/agent.sqlite");
        let pool = sqlx::AnyPool::connect(&format!("sqlite://{}?mode=ro", file.display())).await.unwrap();
        for _ in 0..1000 {
            let (open,): (i64,) =
                sqlx::query_as("SELECT COUNT(*) FROM orders WHERE server_id = $1 AND state = 'open'")
                    .bind(server)
                    .fetch_one(&pool)
                    .await
                    .unwrap();
            if open == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("orders of {server} stay open");
    }

    /// Waits until the ledger has an order of `generation`.
    pub async fn known(&self, server: &str, generation: i64) {
        for n in 0..1000 {
            let probe = format!("probe-{server}-{generation}-{n}");
            self.inquire(&probe, server, generation).await;
            if self.answer(&probe).await != Outcome::Unknown {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the order of generation {generation} did not come");
    }

    /// The first answer to `job`.
    pub async fn answer(&self, job: &str) -> Outcome {
        eventually(&format!("an answer to {job}"), || self.answers(job).into_iter().next()).await
    }

    /// The first answer to `job` that says how it ended: a repeated delivery is told that it is worked on.
    pub async fn end(&self, job: &str) -> Outcome {
        let ended = || self.answers(job).into_iter().find(|o| !matches!(o, Outcome::Working { .. }));
        eventually(&format!("the end of {job}"), ended).await
    }

    /// The `n`th answer to `job`.
    pub async fn nth_answer(&self, job: &str, n: usize) -> Outcome {
        eventually(&format!("answer {n} to {job}"), || self.answers(job).into_iter().nth(n)).await
    }
}

/// Waits for a level, not an edge.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come");
}

pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

pub fn spec(server: &str, generation: i64) -> GuestSpec {
    sample_guest(server, generation).spec
}

pub fn ensure(server: &str, generation: i64) -> Order {
    Order::Ensure { spec: Box::new(spec(server, generation)) }
}
