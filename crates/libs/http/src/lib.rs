//! What all HTTP services share: the route table, error bodies, request ids, microversions, tokens, paging,
//! limits, access log, health and metrics. No routes of its own but `/healthcheck` and `/metrics`.

mod access_rules;
mod answer;
mod body;
mod context;
mod edge;
mod links;
mod nova;
mod paging;
mod pprint;
mod route;
mod schema;
mod server;
mod style;
mod verify;

pub use answer::{ApiError, ApiResult, accepted, created, json, no_content};
pub use body::JsonBody;
pub use context::Ctx;
pub use edge::leave_unread;
pub use links::base_url;
pub use paging::{Page, query_pairs};
pub use route::{Access, Method, Route};
pub use schema::Schema;
pub use server::{HealthCheck, Running, ServiceSpec, serve, serve_on};
pub use style::Style;
pub use verify::TokenVerifier;

pub use actix_web;
