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
use ferrostack_model::{Error, ErrorKind, Result, Timestamp};
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

/// A token for the credential's user on the credential's project, with the roles that the user has there now, or what
/// is left now of the trust or application credential that the credential was made with.
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
    let lent = lent_by(&blob)?;
    let project = row.project_id.clone().ok_or_else(Error::unauthorized)?;
    let scope = match &lent {
        Lent::Trust(id) => ScopeWish::Trust(id.clone()),
        Lent::Nothing | Lent::AppCred(_) => ScopeWish::Project(Key::Id(project.clone())),
    };
    let issued = issue_to(app, &scope, async |now| prove(app, &row, &project, &lent, now).await).await;
    // Who redeems is a service, and not the one to whom a trust is or is not given.
    issued.map_err(|error| if error.kind == ErrorKind::Forbidden { Error::unauthorized() } else { error })
}

/// What the credential was made with, by what its blob says: never more is given than that has.
enum Lent {
    Nothing,
    AppCred(String),
    Trust(String),
}

/// 401 for what we cannot follow: better no token than one with more than was lent.
fn lent_by(blob: &Map<String, Value>) -> Result<Lent> {
    let said = |name: &str| match blob.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => Ok(Some(id.clone()).filter(|id| !id.is_empty())),
        Some(_) => Err(Error::unauthorized()),
    };
    match (said("trust_id")?, said("app_cred_id")?, said("access_token_id")?) {
        (None, None, None) => Ok(Lent::Nothing),
        (Some(trust), None, None) => Ok(Lent::Trust(trust)),
        (None, Some(cred), None) => Ok(Lent::AppCred(cred)),
        _ => Err(Error::unauthorized()),
    }
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

/// The credential's enabled user with its limit, if the credential is still what was looked at. Of a trust: the
/// trustee, whose the credential is, or the trustor's in whose name the trustee acts.
async fn prove(app: &App, row: &Credential, project: &str, lent: &Lent, now: Timestamp) -> Result<Proven> {
    let current = store::credential::get(app.db.reader(), &row.id).await?;
    if current.is_none_or(|current| current.generation != row.generation) {
        return Err(Error::unauthorized());
    }
    let (user_id, delegation) = match lent {
        Lent::Nothing => (row.user_id.clone(), Some(Delegation::Project(project.into()))),
        Lent::AppCred(id) => {
            let cred = store::application_credential::get(app.db.reader(), id).await?;
            let own = cred
                .filter(|c| c.row.user_id == row.user_id && c.row.project_id == project && !c.expired(now));
            let cred = own.ok_or_else(Error::unauthorized)?;
            (row.user_id.clone(), Some(Delegation::AppCred(Box::new(cred))))
        }
        Lent::Trust(id) => {
            let trust = store::trust::get(app.db.reader(), id).await?;
            let own = trust.filter(|t| {
                let users = [t.trustee_user_id.as_str(), t.user_id()];
                users.contains(&row.user_id.as_str()) && t.project_id == project
            });
            (own.ok_or_else(Error::unauthorized)?.trustee_user_id, None)
        }
    };
    let user = store::user::get(app.db.reader(), &user_id).await?.ok_or_else(Error::unauthorized)?;
    let user_domain = Context::user_domain(&app.db, &user).await?.ok_or_else(Error::unauthorized)?;
    Ok(Proven { user, user_domain, methods: vec![METHOD.into()], parent: None, delegation, passcode: None })
}
