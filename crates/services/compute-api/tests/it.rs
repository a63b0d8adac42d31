//! The compute API over HTTP, on SQLite and (where `FERROSTACK_TEST_POSTGRES` is set) PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "it/support.rs"]
mod support;

#[path = "it/aggregates.rs"]
mod aggregates;
#[path = "it/builds.rs"]
mod builds;
#[path = "it/flavors.rs"]
mod flavors;
#[path = "it/hosts.rs"]
mod hosts;
#[path = "it/interfaces.rs"]
mod interfaces;
#[path = "it/jobs.rs"]
mod jobs;
#[path = "it/keypairs.rs"]
mod keypairs;
#[path = "it/live_api.rs"]
mod live_api;
#[path = "it/live_jobs.rs"]
mod live_jobs;
#[path = "it/live_world.rs"]
mod live_world;
#[path = "it/matrix.rs"]
mod matrix;
#[path = "it/migrations.rs"]
mod migrations;
#[path = "it/move_jobs.rs"]
mod move_jobs;
#[path = "it/moves.rs"]
mod moves;
#[path = "it/notifications.rs"]
mod notifications;
#[path = "it/oracle.rs"]
mod oracle;
#[path = "it/oracle_data.rs"]
mod oracle_data;
#[path = "it/protocol.rs"]
mod protocol;
#[path = "it/proxies.rs"]
mod proxies;
#[path = "it/quotas.rs"]
mod quotas;
#[path = "it/rebuild.rs"]
mod rebuild;
#[path = "it/server_create.rs"]
mod server_create;
#[path = "it/server_deletions.rs"]
mod server_deletions;
#[path = "it/server_groups.rs"]
mod server_groups;
#[path = "it/server_images.rs"]
mod server_images;
#[path = "it/server_lists.rs"]
mod server_lists;
#[path = "it/server_reports.rs"]
mod server_reports;
#[path = "it/server_rescue.rs"]
mod server_rescue;
#[path = "it/server_state_matrix.rs"]
mod server_state_matrix;
#[path = "it/server_states.rs"]
mod server_states;
#[path = "it/server_tags.rs"]
mod server_tags;
#[path = "it/servers.rs"]
mod servers;
#[path = "it/shelve.rs"]
mod shelve;
#[path = "it/snapshots.rs"]
mod snapshots;
#[path = "it/usage.rs"]
mod usage;
#[path = "it/world.rs"]
mod world;
