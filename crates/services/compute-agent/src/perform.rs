//! Carrying out one order.

use crate::{host::Host, store::orders::OrderRow};
use ferrostack_hypervisor::Guest;
use ferrostack_model::{
    Error, ErrorKind, Result,
    guest::GuestSpec,
    live_migration::Part,
    message::{Order, Outcome},
    server::PowerState,
};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long an order is tried again while a part that it needs does not answer.
const PATIENCE: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How the work on an order ended.
pub enum Performed {
    /// With this.
    Outcome(Outcome),
    /// Not at all: something newer came, or the agent ends.
    Interrupted,
}

/// What an attempt may end with beside success.
pub(crate) enum Trouble {
    Failed(Error),
    Interrupted,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Host {
    /// Carries out `row`; whatever it does may be repeated after a crash at any point.
    pub async fn perform(&self, row: &OrderRow, newer: &CancellationToken) -> Performed {
        let Some(order) = &row.order else {
            return Performed::Outcome(Outcome::Failed {
                message: "The order could not be read.".into(),
                details: "the record in the agent's ledger is damaged".into(),
                retry_elsewhere: true,
            });
        };
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.outcome(row, order, newer).await {
                Ok(outcome) => return Performed::Outcome(outcome),
                Err(Trouble::Interrupted) => return Performed::Interrupted,
                Err(Trouble::Failed(error)) => error,
            };
            if !error.kind.retryable() || begin.elapsed() > PATIENCE {
                return Performed::Outcome(self.failed(row, order, error).await);
            }
            tracing::warn!(
                host = self.name,
                server = row.server_id,
                request_id = row.request_id,
                error = error.for_log(),
                "order is tried again"
            );
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = newer.cancelled() => return Performed::Interrupted,
                () = self.shared.stop.cancelled() => return Performed::Interrupted,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn outcome(
        &self,
        row: &OrderRow,
        order: &Order,
        newer: &CancellationToken,
    ) -> Result<Outcome, Trouble> {
        let Order::Migrate { part } = order else {
            return self.attempt(row, order, newer).await.map(|power| Outcome::Done { power });
        };
        tokio::select! {
            outcome = self.migrate(row, part) => Ok(outcome?),
            // A guest that is on its way stays on it: the newer order says what becomes of it.
            () = newer.cancelled() => Err(Trouble::Interrupted),
            () = self.shared.stop.cancelled() => Err(Trouble::Interrupted),
        }
    }

    async fn attempt(
        &self,
        row: &OrderRow,
        order: &Order,
        newer: &CancellationToken,
    ) -> Result<PowerState, Trouble> {
        let id = row.server_id.as_str();
        let hypervisor = &self.hypervisor;
        Ok(match order {
            Order::Ensure { spec } => {
                let guest = self.prepare(row, spec, newer).await?;
                hypervisor.ensure(&guest).await?
            }
            Order::Rebuild { spec, preserve_ephemeral } => {
                let guest = self.prepare(row, spec, newer).await?;
                hypervisor.rebuild(&guest, *preserve_ephemeral).await?
            }
            Order::Nics { spec } => {
                let guest = self.prepare(row, spec, newer).await?;
                hypervisor.set_nics(&guest).await?
            }
            Order::Start => hypervisor.start(id).await?,
            Order::Stop { timeout_seconds } => hypervisor.stop(id, *timeout_seconds).await?,
            Order::RebootSoft { timeout_seconds } => hypervisor.reboot_soft(id, *timeout_seconds).await?,
            Order::RebootHard => {
                let known = self.shared.ledger.spec(&self.name, id).await?;
                let (_, spec) = known
                    .ok_or_else(|| Error::not_found(format!("Instance {id} does not exist on this host.")))?;
                let guest = self.prepare(row, &spec, newer).await?;
                hypervisor.reboot_hard(&guest).await?
            }
            Order::Destroy => {
                hypervisor.destroy(id).await?;
                self.shared.files.remove_config_drive(id).await?;
                PowerState::NoState
            }
            Order::Change { change } => self.change(row, change, newer).await?,
            // Not here: [`Self::outcome`].
            Order::Migrate { .. } => PowerState::NoState,
            Order::Move { step } => self.moved(row, step, newer).await?,
            Order::Snapshot { snapshot } => {
                tokio::select! {
                    power = self.snapshot(row, snapshot) => power?,
                    () = newer.cancelled() => return Err(Trouble::Interrupted),
                    () = self.shared.stop.cancelled() => return Err(Trouble::Interrupted),
                }
            }
        })
    }

    /// The guest with its files on disk. Waiting for them ends when something newer comes.
    pub(crate) async fn prepare(
        &self,
        row: &OrderRow,
        spec: &GuestSpec,
        newer: &CancellationToken,
    ) -> Result<Guest, Trouble> {
        if !self.hypervisor.needs_files() {
            let spec = spec.clone();
            return Ok(Guest { spec, base: None, kernel: None, ramdisk: None, config_drive: None });
        }
        tokio::select! {
            guest = self.shared.files.guest(spec, row.request_id.as_deref()) => Ok(guest?),
            () = newer.cancelled() => Err(Trouble::Interrupted),
            () = self.shared.stop.cancelled() => Err(Trouble::Interrupted),
        }
    }

    /// The outcome for an error. Of a guest that never stood nothing is left behind.
    async fn failed(&self, row: &OrderRow, order: &Order, error: Error) -> Outcome {
        tracing::error!(
            host = self.name,
            server = row.server_id,
            request_id = row.request_id,
            error = error.for_log(),
            "order failed"
        );
        let receiving = matches!(order, Order::Migrate { part: Part::Receive { .. } });
        let building = receiving || crate::store::orders::builds(order);
        if building
            && !receiving
            && matches!(self.shared.ledger.spec(&self.name, &row.server_id).await, Ok(Some((false, _))))
        {
            let undone = match self.hypervisor.destroy(&row.server_id).await {
                Ok(()) => self.shared.files.remove_config_drive(&row.server_id).await,
                Err(error) => Err(error),
            };
            if let Err(error) = undone {
                tracing::warn!(
                    server = row.server_id,
                    error = error.for_log(),
                    "failed build not cleaned up"
                );
            }
        }
        // What is wrong with the image or the wish is wrong on every host.
        let everywhere =
            matches!(error.kind, ErrorKind::BadRequest | ErrorKind::NotFound | ErrorKind::TooLarge);
        Outcome::Failed {
            retry_elsewhere: building && !everywhere,
            details: error.for_log(),
            message: error.public,
        }
    }
}
