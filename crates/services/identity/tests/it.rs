//! The identity API against a really started service, on SQLite and (where `FERROSTACK_TEST_POSTGRES` names
//! one) on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod it {
    mod absent;
    mod api_ref;
    mod application_credentials;
    mod bootstrap;
    mod catalog;
    mod consumers;
    mod credentials;
    mod delegation;
    mod domain_config;
    mod ec2;
    mod endpoint_filter;
    mod expired;
    mod grants;
    mod hostile;
    mod inputs;
    mod limits;
    mod lists;
    mod matrix;
    mod ossa;
    mod passwords;
    mod people;
    mod policies;
    mod policy_file;
    mod projects;
    mod receipts;
    mod revocations;
    mod revoke_events;
    mod rotation;
    mod security;
    mod separation;
    pub mod support;
    mod tokens;
    mod totp;
    mod trusts;
    mod v2;
    mod validation;
}
