//! Carrying out orders that move a guest's disks.

use crate::{files::transfer::RemoteDisks, host::Host, perform::Trouble, store::orders::OrderRow};
use ferrostack_model::{Result, guest_move::GuestMove, server::PowerState};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl Host {
    /// Does a step of a move; runs twice after a crash. A copy ends when something newer comes.
    pub(crate) async fn moved(
        &self,
        row: &OrderRow,
        step: &GuestMove,
        newer: &CancellationToken,
    ) -> Result<PowerState, Trouble> {
        let hypervisor = &self.hypervisor;
        Ok(match step {
            GuestMove::Receive { spec, from } => {
                let guest = self.prepare(row, spec, newer).await?;
                let request_id = row.request_id.as_deref();
                let client = self.shared.files.client.clone();
                let source = Arc::new(RemoteDisks::new(client, from, &row.server_id, request_id));
                tokio::select! {
                    power = hypervisor.receive(&guest, source) => power?,
                    () = newer.cancelled() => return Err(Trouble::Interrupted),
                    () = self.shared.stop.cancelled() => return Err(Trouble::Interrupted),
                }
            }
            GuestMove::Resize { spec } => {
                let guest = self.prepare(row, spec, newer).await?;
                hypervisor.resize(&guest).await?
            }
            GuestMove::Revert { spec } => {
                let guest = self.prepare(row, spec, newer).await?;
                hypervisor.revert(&guest).await?
            }
            GuestMove::Forget => {
                hypervisor.forget(&row.server_id).await?;
                PowerState::NoState
            }
        })
    }
}
