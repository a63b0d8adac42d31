//! What a host tells unasked: its heartbeat, its guests, changes of their power.

use crate::{host::Host, outbox::until_done};
use ferrostack_bus::Address;
use ferrostack_hypervisor::PowerEvent;
use ferrostack_model::{
    Result, Timestamp,
    host::{GuestState, HostReport},
    message::{Envelope, GuestsReport, Message},
    server::PowerState,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::broadcast::{Receiver, error::RecvError};

const FIRST_PAUSE: Duration = Duration::from_millis(100);

impl Host {
    /// Starts the tasks that report.
    pub fn start_reports(self: &Arc<Self>) {
        let events = self.hypervisor.events();
        let (heartbeats, guests, changes) = (self.clone(), self.clone(), self.clone());
        self.shared.spawn(async move { heartbeats.heartbeats().await });
        self.shared.spawn(async move { guests.full_reports().await });
        self.shared.spawn(async move { changes.changes(events).await });
    }

    async fn heartbeats(&self) {
        let every = Duration::from_secs(self.shared.settings.report_seconds.max(1));
        self.regularly(every, "heartbeat not sent", || self.heartbeat()).await;
    }

    async fn full_reports(self: &Arc<Self>) {
        let every = Duration::from_secs(self.shared.settings.guests_report_seconds.max(1));
        self.regularly(every, "guests not reported", || self.report_guests()).await;
    }

    /// Calls `report` at once and then `every` so often; what fails is done again sooner.
    async fn regularly<F: Future<Output = Result<()>>>(
        &self,
        every: Duration,
        what: &str,
        report: impl FnMut() -> F,
    ) {
        let mut report = report;
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.shared.stop.cancelled() => return,
            }
            tokio::select! {
                () = until_done(FIRST_PAUSE, every.min(Duration::from_secs(5)), what, &mut report) => {}
                () = self.shared.stop.cancelled() => return,
            }
        }
    }

    async fn heartbeat(&self) -> Result<()> {
        let info = self.hypervisor.host_info().await?;
        let settings = &self.shared.settings;
        self.publish(&HostReport {
            host: self.name.clone(),
            hypervisor_hostname: info.hypervisor_hostname,
            hypervisor_type: info.hypervisor_type,
            hypervisor_version: info.hypervisor_version,
            arch: info.arch,
            vcpus: info.vcpus,
            memory_mb: (info.memory_mb - self.shared.reserved_memory_mb()).max(0),
            local_gb: (info.local_gb - self.shared.reserved_disk_gb()).max(0),
            cpu_info: info.cpu_info,
            host_ip: settings.host_ip.clone(),
            agent_url: self.shared.url.get().cloned().unwrap_or_default(),
            uptime_seconds: info.uptime_seconds,
            availability_zone: settings.availability_zone.clone(),
            agent_start: self.shared.started,
        })
        .await
    }

    /// Reports every guest, and removes those that were destroyed and are there again or still.
    async fn report_guests(self: &Arc<Self>) -> Result<()> {
        let observed_at = Timestamp::now();
        let guests = self.hypervisor.list().await?;
        let destroyed = self.shared.ledger.destroyed(&self.name).await?;
        for guest in guests.iter().filter(|g| destroyed.contains(&g.server_id)) {
            tracing::warn!(
                host = self.name,
                server = guest.server_id,
                "a destroyed guest is there; removing it"
            );
            self.shared.ledger.sweep(&self.name, &guest.server_id).await?;
            self.poke(&guest.server_id);
        }
        self.publish_guests(guests, observed_at, true).await
    }

    async fn publish_guests(
        &self,
        guests: Vec<GuestState>,
        observed_at: Timestamp,
        full: bool,
    ) -> Result<()> {
        // Guests that are off since then went down with their host.
        let host_booted_at = match full {
            true => observed_at.plus_seconds(-self.hypervisor.host_info().await?.uptime_seconds),
            false => Timestamp::default(),
        };
        self.publish(&GuestsReport {
            host: self.name.clone(),
            agent_start: self.shared.started,
            observed_at,
            guests,
            full,
            host_booted_at,
        })
        .await
    }

    async fn changes(self: &Arc<Self>, mut events: Receiver<PowerEvent>) {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = self.shared.stop.cancelled() => return,
            };
            match event {
                // While an order is carried out its answer tells the power; if not, the task reports at its end.
                Ok(event) if self.defer_event(&event.server_id) => {}
                Ok(event) => self.report_change(event).await,
                Err(RecvError::Lagged(_)) => {
                    self.try_report(self.report_guests().await);
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn report_change(&self, event: PowerEvent) {
        let observed_at = Timestamp::now();
        let known = match self.shared.ledger.guest(&self.name, &event.server_id).await {
            Ok(known) => known,
            Err(error) => return self.try_report(Err(error)),
        };
        // Guests that are not ours, or were never built, are nobody's business.
        let Some(spec) = known.and_then(|g| g.spec) else { return };
        let state =
            GuestState { server_id: event.server_id, generation: spec.generation, power: event.power };
        self.try_report(self.publish_guests(vec![state], observed_at, false).await);
    }

    /// Reports one guest as the hypervisor sees it now.
    pub async fn report_guest(&self, server_id: &str) {
        let observed_at = Timestamp::now();
        let report = async {
            let guests = self.hypervisor.list().await?;
            let found: Vec<_> = guests.into_iter().filter(|g| g.server_id == server_id).collect();
            if found.is_empty() || found[0].power == PowerState::NoState {
                return Ok(());
            }
            self.publish_guests(found, observed_at, false).await
        };
        self.try_report(report.await);
    }

    /// A lost change is made good by the next full report.
    fn try_report(&self, result: Result<()>) {
        if let Err(error) = result {
            tracing::warn!(host = self.name, error = error.for_log(), "change of a guest not reported");
        }
    }

    async fn publish<M: Message>(&self, message: &M) -> Result<()> {
        let envelope = Envelope::new(message, None)?;
        self.shared.bus.publish(&Address::Compute, &envelope).await
    }
}
