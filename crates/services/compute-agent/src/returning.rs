//! What an earlier start left undone: the control plane is asked first, for a server may have been evacuated meanwhile
//! (I03). Until it answers nothing of it is carried out; new orders are.

use crate::host::{Host, Shared};
use ferrostack_bus::Address;
use ferrostack_model::{
    Result,
    message::{Envelope, Outcome},
    returning::{AgentReturn, ReturnAnswer},
};
use std::{collections::HashMap, sync::Arc, time::Duration};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Asks about every server with unfinished orders, host by host, until it is answered.
pub async fn ask(shared: &Arc<Shared>, hosts: &HashMap<String, Arc<Host>>) -> Result<()> {
    let mut busy: HashMap<String, Vec<String>> = HashMap::new();
    for (host, server_id) in shared.ledger.busy().await? {
        busy.entry(host).or_default().push(server_id);
    }
    for (name, servers) in busy {
        let Some(host) = hosts.get(&name).cloned() else { continue };
        tracing::info!(host = name, servers = servers.len(), "orders of an earlier start: asking about them");
        *host.returning.lock() = servers;
        shared.spawn(async move { host.ask().await });
    }
    Ok(())
}

impl Host {
    async fn ask(self: &Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let servers = self.returning.lock().clone();
            if servers.is_empty() {
                return;
            }
            let question = AgentReturn { host: self.name.clone(), agent_start: self.shared.started, servers };
            let asked = async {
                let message = Envelope::new(&question, None)?;
                self.shared.bus.publish(&Address::Compute, &message).await
            };
            if let Err(error) = asked.await {
                tracing::debug!(host = self.name, error = error.for_log(), "not asked about earlier orders");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shared.stop.cancelled() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The control plane has answered: what is still ours goes on, the rest is void.
    pub(crate) async fn returned(self: &Arc<Self>, answer: &ReturnAnswer) -> Result<()> {
        if answer.agent_start != self.shared.started {
            return Ok(());
        }
        let servers = self.returning.lock().clone();
        for server_id in &servers {
            if answer.gone.contains(server_id) {
                tracing::warn!(
                    host = self.name,
                    server = server_id,
                    "no longer this host's: its orders are void"
                );
                for row in self.shared.ledger.void(&self.name, server_id).await? {
                    self.shared.outbox.order(&row, Outcome::Superseded);
                }
            }
        }
        self.returning.lock().clear();
        for server_id in &servers {
            self.poke(server_id);
        }
        Ok(())
    }
}
