//! A token for a request signed with an EC2 credential.

use super::{
    Context, Delegation,
    issue::{Issued, issue_to},
    methods::Proven,
    request::{Key, ScopeWish},
    signature,
};
use crate::{
    app::App,
    store::{
        self,
        credential::{Credential, EC2, ec2_id},
    },
};
use ferrostack_model::{Error, Result, Timestamp};
use serde_json::{Map, Value};

/// The name in the token's `methods`, by which it is known as a delegated one.
const METHOD: &str = "ec2credential";

/// What was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// A request to an EC2 API.
    Ec2,
    /// A request to an S3 API, which judges its time itself.
    S3,
}

/// A token for the credential's user on the credential's project, with the roles that the user has there now.
/// 401 whatever is wrong with the signature, its time, the credential, its user or its project.
pub async fn redeem(app: &App, body: &Value, signed: Signed) -> Result<Issued> {
    if body.as_object().is_none_or(Map::is_empty) {
        return Err(Error::bad_request("request must include a request body"));
    }
    let given = ["credentials", "credential", "ec2Credentials"]
        .into_iter()
        .find_map(|name| body.get(name).and_then(Value::as_object).filter(|o| !o.is_empty()))
        .ok_or_else(Error::unauthorized)?;
    let access = given.get("access").and_then(Value::as_str).ok_or_else(Error::unauthorized)?;
    let found = store::credential::get(app.db.reader(), &ec2_id(access)).await?.filter(|row| row.kind == EC2);
    let row = found.ok_or_else(Error::unauthorized)?;
    let blob = store::members(&app.vault.open(&row.context(), &row.blob)?);
    let text = |name: &str| blob.get(name).and_then(Value::as_str).unwrap_or_default();
    // The access key of a blob may have been changed since; its id has not.
    if text("access") != access || !holds(app, text("secret"), given, signed) {
        return Err(Error::unauthorized());
    }
    // Made by a delegation that we cannot follow: better no token than one with more than was lent.
    let said = |name: &&str| blob.get(*name).is_some_and(|v| !v.is_null() && v != "");
    if ["trust_id", "app_cred_id", "access_token_id"].iter().any(said) {
        return Err(Error::unauthorized());
    }
    let project = row.project_id.clone().ok_or_else(Error::unauthorized)?;
    let scope = ScopeWish::Project(Key::Id(project.clone()));
    issue_to(app, &scope, async |_| prove(app, &row, &project).await).await
}

fn holds(app: &App, secret: &str, given: &Map<String, Value>, signed: Signed) -> bool {
    match signed {
        Signed::S3 => signature::s3(secret, given),
        Signed::Ec2 => signature::ec2(secret, given).is_some_and(|at| {
            let now = Timestamp::now();
            // Clocks differ either way.
            at >= now.plus_seconds(-app.ec2_ttl) && at <= now.plus_seconds(app.ec2_ttl)
        }),
    }
}

/// The credential's enabled user, if the credential is still what was looked at.
async fn prove(app: &App, row: &Credential, project: &str) -> Result<Proven> {
    let now = store::credential::get(app.db.reader(), &row.id).await?;
    if now.is_none_or(|now| now.generation != row.generation) {
        return Err(Error::unauthorized());
    }
    let user = store::user::get(app.db.reader(), &row.user_id).await?.ok_or_else(Error::unauthorized)?;
    let user_domain = Context::user_domain(&app.db, &user).await?.ok_or_else(Error::unauthorized)?;
    Ok(Proven {
        user,
        user_domain,
        methods: vec![METHOD.into()],
        parent: None,
        delegation: Some(Delegation::Project(project.into())),
        passcode: None,
    })
}
