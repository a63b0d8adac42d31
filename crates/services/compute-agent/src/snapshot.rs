//! Carrying out the order for a snapshot: the hypervisor makes a file, the image service gets it, the file goes.

use crate::{host::Host, store::orders::OrderRow};
use ferrostack_hypervisor::{Compression, SnapshotWish};
use ferrostack_model::{
    Error, Result,
    message::{AgentAnswer, Outcome},
    server::PowerState,
    snapshot::{SnapshotOrder, stage},
};
use ferrostack_settings::SnapshotCompression;

impl Host {
    /// Makes the snapshot and sends it. Runs twice after a crash: an image that is active by then has all of it.
    pub(crate) async fn snapshot(&self, row: &OrderRow, order: &SnapshotOrder) -> Result<PowerState> {
        let snapshots = &self.shared.files.snapshots;
        let request_id = row.request_id.as_deref();
        match snapshots.image(&order.image_id, request_id).await?.status.as_str() {
            "active" => return self.power(&row.server_id).await,
            // What an upload of an earlier process left is given up there when its lease runs out.
            "queued" | "saving" => {}
            status => {
                return Err(Error::bad_request(format!("Image {} is {status}.", order.image_id)));
            }
        }
        let settings = &self.shared.settings;
        let file = snapshots.file();
        let wish = SnapshotWish {
            to: file.path().to_owned(),
            format: order.format,
            compression: match settings.snapshot_compression {
                SnapshotCompression::None => Compression::None,
                SnapshotCompression::Zlib => Compression::Zlib,
                SnapshotCompression::Zstd => Compression::Zstd,
            },
            quiesce: order.quiesce,
            max_bytes: settings.snapshot_max_bytes,
        };
        let power = self.hypervisor.snapshot(&row.server_id, &wish).await?;
        self.tell_stage(row, stage::PENDING_UPLOAD);
        let bytes = tokio::fs::metadata(file.path()).await.map_or(0, |m| m.len());
        tracing::info!(
            host = self.name,
            server = row.server_id,
            image = order.image_id,
            request_id,
            bytes,
            "snapshot made"
        );
        self.tell_stage(row, stage::UPLOADING);
        snapshots.upload(&order.image_id, &file, request_id).await?;
        Ok(power)
    }

    async fn power(&self, server_id: &str) -> Result<PowerState> {
        let guests = self.hypervisor.list().await?;
        let found = guests.into_iter().find(|g| g.server_id == server_id);
        Ok(found.map_or(PowerState::NoState, |g| g.power))
    }

    /// Says what is being done; if it is lost nobody waits for it.
    fn tell_stage(&self, row: &OrderRow, stage: &str) {
        let answer = AgentAnswer {
            job_id: row.job_id.clone(),
            server_id: row.server_id.clone(),
            generation: row.generation,
            host: self.name.clone(),
            outcome: Outcome::Working { detail: stage.to_owned() },
        };
        self.shared.outbox.answer(&answer, row.request_id.as_deref());
    }
}
