//! What the edge found out about a request, for handlers.

use crate::{ApiError, Style};
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};
use ferrostack_model::{Caller, Error, Microversion, Result};
use ferrostack_policy::Enforcer;
use std::{
    future::{Ready, ready},
    sync::Arc,
};

/// The request's context, put into its extensions by the edge.
#[derive(Clone)]
pub struct Ctx {
    /// `req-<uuid>`; the key of everything this request causes.
    pub request_id: String,
    /// Nova: the version asked for, else 2.1.
    pub version: Microversion,
    /// Nova: came by `/v2`, where unknown members are dropped instead of refused.
    pub legacy: bool,
    /// Nova: the project id segment of the URL, which links in the answer repeat.
    pub project_in_url: Option<String>,
    /// Whose manners.
    pub style: Style,
    /// The policy rules.
    pub policy: Arc<Enforcer>,
    pub(crate) caller: Option<Arc<Caller>>,
}

impl Ctx {
    /// The caller; 401 on a public route without a token.
    pub fn caller(&self) -> Result<&Arc<Caller>> {
        self.caller.as_ref().ok_or_else(Error::unauthorized)
    }

    /// Whether the caller may do `rule` to `target` (pairs such as `("project_id", "…")`).
    pub fn may(&self, rule: &str, target: &[(&str, &str)]) -> bool {
        self.caller.as_ref().is_some_and(|c| self.policy.check(rule, &c.claims, target))
    }

    /// 403 with the imitated service's text unless the caller may do `rule` to `target`.
    pub fn enforce(&self, rule: &str, target: &[(&str, &str)]) -> Result<()> {
        self.caller()?;
        if self.may(rule, target) {
            return Ok(());
        }
        Err(Error::forbidden(match self.style {
            Style::Nova => format!("Policy doesn't allow {rule} to be performed."),
            Style::Keystone => format!("You are not authorized to perform the requested action: {rule}."),
            Style::Glance => format!("You are not authorized to complete {rule} action."),
            Style::Neutron => format!("(rule:{rule}) is disallowed by policy"),
        }))
    }

    pub(crate) fn style(req: &HttpRequest) -> Style {
        req.extensions().get::<Self>().map_or(Style::Keystone, |c| c.style)
    }
}

impl FromRequest for Ctx {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;
    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(
            req.extensions()
                .get::<Self>()
                .cloned()
                .ok_or_else(|| Error::internal("request did not pass the edge").into()),
        )
    }
}
