//! The route table.

mod access;
mod access_rules;
mod application_credentials;
mod assignments;
mod consumers;
mod credentials;
mod domain_config;
mod domains;
mod ec2;
mod ec2tokens;
mod endpoint_filters;
mod endpoint_groups;
mod endpoint_policy;
mod endpoints;
mod federation;
mod feed;
mod grants;
mod groups;
mod limits;
mod oauth;
mod policies;
mod projects;
mod regions;
mod registered_limits;
mod revoke_events;
mod roles;
mod services;
mod tags;
mod tokens;
mod trusts;
mod user_passwords;
mod users;
mod v2;
mod versions;

use ferrostack_http::Route;

/// Every route of v2.0, there with `identity.v2_api`.
pub fn v2_table() -> Vec<Route> {
    v2::rows()
}

/// Every route of v3.
pub fn table() -> Vec<Route> {
    [
        versions::rows(),
        tokens::rows(),
        access::rows(),
        feed::rows(),
        users::rows(),
        user_passwords::rows(),
        application_credentials::rows(),
        access_rules::rows(),
        trusts::rows(),
        groups::rows(),
        projects::rows(),
        tags::rows(),
        consumers::rows(),
        credentials::rows(),
        ec2::rows(),
        ec2tokens::rows(),
        domains::rows(),
        domain_config::rows(),
        roles::rows(),
        grants::rows(),
        assignments::rows(),
        services::rows(),
        endpoints::rows(),
        endpoint_groups::rows(),
        endpoint_filters::rows(),
        policies::rows(),
        endpoint_policy::rows(),
        revoke_events::rows(),
        federation::rows(),
        oauth::rows(),
        regions::rows(),
        registered_limits::rows(),
        limits::rows(),
    ]
    .concat()
}
