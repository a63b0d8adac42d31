//! The bus of the all-in-one: queues in this process. What is lost with the process the jobs send again.

use crate::{
    Address, Bus, DeadLetter, Handler, Settle, Source, Topic, Tuning, Verdict, deliver,
    metrics::{DEAD, PUBLISHED},
    topology::DELIVERY_LIMIT,
};
use async_trait::async_trait;
use ferrostack_model::{Error, Result, message::Envelope};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Dead letters kept; older ones are forgotten.
const DEAD_KEPT: usize = 1000;

type Item = (Envelope, u32);
type Sender = mpsc::UnboundedSender<Item>;
/// Shared by a queue's consumers.
type Receiver = Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Item>>>;

#[derive(Default)]
struct State {
    /// Queues by name.
    queues: HashMap<String, (Sender, Receiver)>,
    fanouts: HashMap<&'static str, Vec<Sender>>,
    dead: Vec<(Address, Envelope)>,
    notified: Vec<mpsc::UnboundedSender<(Topic, Vec<u8>)>>,
}

/// An in-process [`Bus`].
#[derive(Clone, Default)]
pub struct LocalBus {
    state: Arc<Mutex<State>>,
    tuning: Tuning,
}

impl LocalBus {
    /// An empty bus.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty bus with other times.
    pub fn with(tuning: Tuning) -> Self {
        Self { tuning, ..Self::default() }
    }

    /// Notifications from now on.
    pub fn notifications(&self) -> mpsc::UnboundedReceiver<(Topic, Vec<u8>)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state.lock().notified.push(sender);
        receiver
    }

    fn queue(&self, name: String) -> (Sender, Receiver) {
        let mut state = self.state.lock();
        let (sender, receiver) = state.queues.entry(name).or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            (sender, Arc::new(tokio::sync::Mutex::new(receiver)))
        });
        (sender.clone(), receiver.clone())
    }

    fn bury(&self, address: Address, message: Envelope) {
        DEAD.with_label_values(&[address.class()]).inc();
        let mut state = self.state.lock();
        if state.dead.len() >= DEAD_KEPT {
            state.dead.remove(0);
        }
        state.dead.push((address, message));
    }

    fn send(&self, to: &Address, message: &Envelope) -> Result<()> {
        if let Some(name) = to.queue() {
            let known = self.state.lock().queues.get(&name).map(|(sender, _)| sender.clone());
            let sender = known.ok_or_else(|| Error::unavailable(format!("queue {name} does not exist")))?;
            return sender
                .send((message.clone(), 0))
                .map_err(|_| Error::unavailable(format!("queue {name} is closed")));
        }
        if let Some(fanout) = to.fanout()
            && let Some(senders) = self.state.lock().fanouts.get_mut(fanout)
        {
            senders.retain(|s| s.send((message.clone(), 0)).is_ok());
        }
        Ok(())
    }

    async fn deliver(&self, address: Address, handler: Arc<dyn Handler>, requeue: Sender, item: Item) {
        let (message, attempt) = item;
        match deliver::run(&*handler, address.class(), message.clone()).await {
            Verdict::Ack => {}
            Verdict::Reject => self.bury(address, message),
            Verdict::Retry if attempt + 1 >= DELIVERY_LIMIT => self.bury(address, message),
            Verdict::Retry => {
                let delay = self.tuning.retry_after(attempt);
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    // The consumer may be gone; then so is the process.
                    let _ = requeue.send((message, attempt + 1));
                });
            }
        }
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, to: &Address, message: &Envelope) -> Result<()> {
        let result = self.send(to, message);
        let outcome = if result.is_ok() { "stored" } else { "unroutable" };
        PUBLISHED.with_label_values(&[to.class(), outcome]).inc();
        result
    }

    async fn notify(&self, topic: &Topic, bodies: &[Vec<u8>]) -> Result<()> {
        let listens = |to: &mpsc::UnboundedSender<_>| {
            bodies.iter().all(|body| to.send((topic.clone(), body.clone())).is_ok())
        };
        self.state.lock().notified.retain(listens);
        Ok(())
    }

    async fn consume(
        &self,
        from: Source,
        prefetch: u16,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> Result<()> {
        let address = from.address();
        address.check()?;
        let (sender, receiver) = if let Some(name) = address.queue() {
            self.queue(name)
        } else {
            let (sender, receiver) = mpsc::unbounded_channel();
            if let Some(fanout) = address.fanout() {
                self.state.lock().fanouts.entry(fanout).or_default().push(sender.clone());
            }
            (sender, Arc::new(tokio::sync::Mutex::new(receiver)))
        };
        let limit = Arc::new(Semaphore::new(usize::from(prefetch.max(1))));
        let bus = self.clone();
        tokio::spawn(async move {
            loop {
                let Ok(permit) = limit.clone().acquire_owned().await else { return };
                let item = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    item = async { receiver.lock().await.recv().await } => item,
                };
                let Some(item) = item else { return };
                let (bus, address, handler, sender) =
                    (bus.clone(), address.clone(), handler.clone(), sender.clone());
                tokio::spawn(async move {
                    bus.deliver(address, handler, sender, item).await;
                    drop(permit);
                });
            }
        });
        Ok(())
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        Ok(self
            .state
            .lock()
            .dead
            .iter()
            .take(limit)
            .map(|(address, message)| DeadLetter {
                source: address.name(),
                message: Some(message.clone()),
                raw: None,
            })
            .collect())
    }

    async fn settle(&self, id: Option<&str>, how: Settle) -> Result<usize> {
        let chosen: Vec<_> = {
            let mut state = self.state.lock();
            let (chosen, kept) = state.dead.drain(..).partition(|(_, m)| id.is_none_or(|id| m.id == id));
            state.dead = kept;
            chosen
        };
        let (mut settled, mut stay, mut failure) = (0, Vec::new(), None);
        for (address, message) in chosen {
            match how {
                Settle::Retry => match self.send(&address, &message) {
                    Ok(()) => settled += 1,
                    Err(e) => {
                        stay.push((address, message));
                        failure = Some(e);
                    }
                },
                Settle::Drop => settled += 1,
            }
        }
        let mut state = self.state.lock();
        stay.append(&mut state.dead);
        state.dead = stay;
        match failure {
            Some(e) if settled == 0 => Err(e),
            _ => Ok(settled),
        }
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}
