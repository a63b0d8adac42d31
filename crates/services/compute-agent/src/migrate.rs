//! Carrying out the parts of a live migration.

use crate::{host::Host, store::orders::OrderRow};
use ferrostack_hypervisor::{Guest, LiveMigration};
use ferrostack_model::{
    Error, ErrorKind, Result,
    guest::GuestSpec,
    live_migration::{Part, Progress},
    message::{AgentAnswer, Outcome},
    server::PowerState,
};
use std::time::Duration;

/// How often it is told how far a guest on its way is.
const TELL: Duration = Duration::from_millis(500);

impl Host {
    /// Carries out one part; repeating it after a crash at any point is safe.
    pub(crate) async fn migrate(&self, row: &OrderRow, part: &Part) -> Result<Outcome> {
        let id = row.server_id.as_str();
        let hypervisor = self.hypervisor.live_migration().ok_or_else(|| {
            Error::new(ErrorKind::NotImplemented, "The host cannot move guests while they run.")
        })?;
        let done = |power| Outcome::Done { power };
        match part {
            Part::Check { marker } => hypervisor.check(id, marker).await.map(|()| done(PowerState::Running)),
            Part::Receive { spec, marker, block } => {
                let guest = self.files_of(row, spec).await?;
                Ok(Outcome::Prepared { offer: hypervisor.receive(&guest, marker, *block).await? })
            }
            Part::Send { offer, force } => {
                tokio::select! {
                    power = hypervisor.send(id, offer, *force) => power.map(done),
                    never = self.tell_progress(row, hypervisor) => match never {},
                }
            }
            Part::Abort { resume } => hypervisor.abort(id, *resume).await.map(done),
            Part::Settle { spec } => {
                // Nothing is fetched for a guest that has all it needs, or is not here.
                let guest = bare(spec);
                let power = hypervisor.settle(&guest).await?;
                if power == PowerState::NoState {
                    self.shared.files.remove_config_drive(id).await?;
                }
                Ok(done(power))
            }
        }
    }

    async fn files_of(&self, row: &OrderRow, spec: &GuestSpec) -> Result<Guest> {
        match self.hypervisor.needs_files() {
            true => self.shared.files.guest(spec, row.request_id.as_deref()).await,
            false => Ok(bare(spec)),
        }
    }

    /// Tells how far the guest is for as long as it is on its way.
    async fn tell_progress(
        &self,
        row: &OrderRow,
        hypervisor: &dyn LiveMigration,
    ) -> std::convert::Infallible {
        let mut told: Option<Progress> = None;
        loop {
            tokio::time::sleep(TELL).await;
            let progress = match hypervisor.progress(&row.server_id).await {
                Ok(progress) => progress.filter(|now| told.as_ref() != Some(now)),
                Err(error) => {
                    tracing::debug!(server = row.server_id, error = error.for_log(), "progress not known");
                    None
                }
            };
            let Some(progress) = progress else { continue };
            told = Some(progress);
            // If it is lost the next one tells more.
            let Ok(detail) = serde_json::to_string(&progress) else { continue };
            let answer = AgentAnswer {
                job_id: row.job_id.clone(),
                server_id: row.server_id.clone(),
                generation: row.generation,
                host: self.name.clone(),
                outcome: Outcome::Working { detail },
            };
            self.shared.outbox.answer(&answer, row.request_id.as_deref());
        }
    }
}

fn bare(spec: &GuestSpec) -> Guest {
    Guest { spec: spec.clone(), base: None, kernel: None, ramdisk: None, config_drive: None }
}
