//! The image service over HTTP, on SQLite and (where `FERROSTACK_TEST_POSTGRES` is set) PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "it/support.rs"]
mod support;
#[path = "it/web.rs"]
mod web;

#[path = "it/convert.rs"]
mod convert;
#[path = "it/corpus.rs"]
mod corpus;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/cuts.rs"]
mod cuts;
#[path = "it/damage.rs"]
mod damage;
#[path = "it/data.rs"]
mod data;
#[path = "it/database.rs"]
mod database;
#[path = "it/families.rs"]
mod families;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/fetch.rs"]
mod fetch;
#[path = "it/fetch_tls.rs"]
mod fetch_tls;
#[path = "it/framing.rs"]
mod framing;
#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/import_job.rs"]
mod import_job;
#[path = "it/imports.rs"]
mod imports;
#[path = "it/inspect.rs"]
mod inspect;
#[path = "it/lifecycle.rs"]
mod lifecycle;
#[path = "it/limits.rs"]
mod limits;
#[path = "it/listing.rs"]
mod listing;
#[path = "it/location_job.rs"]
mod location_job;
#[path = "it/locations.rs"]
mod locations;
#[path = "it/matrix.rs"]
mod matrix;
#[path = "it/metadefs.rs"]
mod metadefs;
#[path = "it/metadefs_standard.rs"]
mod metadefs_standard;
#[path = "it/mutations.rs"]
mod mutations;
#[path = "it/ossa/mod.rs"]
mod ossa;
#[path = "it/outages.rs"]
mod outages;
#[path = "it/patches.rs"]
mod patches;
#[path = "it/policy.rs"]
mod policy;
#[path = "it/postgres.rs"]
mod postgres;
#[path = "it/protections.rs"]
mod protections;
#[path = "it/quotas.rs"]
mod quotas;
#[path = "it/races.rs"]
mod races;
#[path = "it/refused.rs"]
mod refused;
#[path = "it/s3.rs"]
mod s3;
#[path = "it/stores.rs"]
mod stores;
#[path = "it/transfer.rs"]
mod transfer;
#[path = "it/v1.rs"]
mod v1;
#[path = "it/ways.rs"]
mod ways;
#[path = "it/wire.rs"]
mod wire;
