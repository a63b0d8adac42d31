//! A broker of our own that we may stop and kill.

use ferrostack_bus::{Address, Bus, Source, Verdict, contract};
use ferrostack_model::id;
use std::{
    collections::BTreeSet,
    net::TcpListener,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Whether this program is here.
fn have(program: &str) -> bool {
    Command::new(program).arg("help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Publishes and consumes while `strike` strikes three times: nothing is lost, nothing is a dead letter.
async fn survives(bus: Arc<dyn Bus>, host: &str, strike: impl Fn()) {
    let handler = contract::Recorder::new(|_, _| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Verdict::Ack
    });
    let from = Source::Agent(host.into());
    bus.consume(from, 8, handler.clone(), CancellationToken::new()).await.unwrap();
    let done = CancellationToken::new();
    let publishers: Vec<_> = (0..8)
        .map(|_| {
            let (bus, to, done) = (bus.clone(), Address::Agent(host.into()), done.clone());
            tokio::spawn(async move {
                let mut confirmed = BTreeSet::new();
                while !done.is_cancelled() {
                    let message = contract::message(0);
                    // Unavailable is an honest answer while the broker is away; a confirmed message is a promise.
                    if bus.publish(&to, &message).await.is_ok() {
                        confirmed.insert(message.id);
                    }
                }
                confirmed
            })
        })
        .collect();
    for _ in 0..3 {
        let before = handler.ids().len();
        contract::eventually("messages flow", || async { (handler.ids().len() > before + 50).then_some(()) })
            .await;
        tokio::task::block_in_place(&strike);
    }
    let before = handler.ids().len();
    contract::eventually("messages flow again", || async {
        (handler.ids().len() > before + 50).then_some(())
    })
    .await;
    done.cancel();
    let mut confirmed = BTreeSet::new();
    for publisher in publishers {
        confirmed.extend(publisher.await.unwrap());
    }
    handler.sees_all(&confirmed).await;
    bus.ping().await.unwrap();
    let dead = bus.dead_letters(10_000).await.unwrap();
    assert!(!dead.iter().any(|d| d.source == format!("agent.{host}")), "dead letters");
}

/// A RabbitMQ node in a directory of its own.
struct Node {
    name: String,
    port: u16,
    dir: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        // The server drops to its own user.
        let _ = Command::new("chmod").arg("777").arg(dir.path()).status();
        Self { name: format!("fs{}@localhost", &id::uuid()[..8]), port: free(), dir }
    }
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", (self.port ^ 1).to_string())
            .env("RABBITMQ_MNESIA_BASE", self.dir.path())
            .env("RABBITMQ_LOG_BASE", self.dir.path())
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.dir.path().join("plugins"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1 +sbwt none")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
    fn ctl(&self, args: &[&str]) -> bool {
        self.command("rabbitmqctl").args(["-q", "-n", &self.name]).args(args).status().unwrap().success()
    }
    fn start(&self) -> bool {
        self.command("rabbitmq-server").arg("-detached").status().unwrap().success()
            && (0..60).any(|_| self.ctl(&["await_startup", "--timeout", "5"]))
    }
    /// Kills it hard, as a power failure would.
    fn kill(&self) {
        let pid = std::fs::read_to_string(self.dir.path().join(format!("{}.pid", self.name))).unwrap();
        assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.ctl(&["stop"]);
    }
}

/// The broker closes our connections, is restarted and is killed in the middle: what it has confirmed arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_restart() {
    if super::amqp::url().is_none() || !have("rabbitmq-server") {
        return eprintln!("skipped: no broker to start");
    }
    let node = Node::new();
    assert!(node.start(), "a broker of our own starts");
    let bus = super::amqp::connect(&format!("amqp://guest:guest@127.0.0.1:{}/%2f", node.port)).await;
    let strikes = AtomicUsize::new(0);
    survives(bus, "restart", || match strikes.fetch_add(1, Ordering::SeqCst) {
        0 => assert!(node.ctl(&["close_all_connections", "test"])),
        1 => assert!(node.ctl(&["stop_app"]) && node.ctl(&["start_app"])),
        _ => {
            node.kill();
            assert!(node.start());
        }
    })
    .await;
}
