//! Receipts: a signed word that a user has shown a part of the methods that its rules ask for.

use super::methods::{Parent, Proven};
use crate::{app::App, store::project::Project, store::user::User};
use ferrostack_model::{DomainRef, Error, Result, Timestamp, TokenClaims};
use serde::{Deserialize, Serialize};

/// The type in the header of a receipt. A token's is another, and no member of one has the name of the other's.
const TYPE: &str = "ferrostack-receipt";

/// What a receipt says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    receipt_for: String,
    shown: Vec<String>,
    from_us: Timestamp,
    until_us: Timestamp,
    /// The token that was one of the methods: what is got with it does not outlive it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
}

/// Not all methods were shown: how far the user came, and what is still asked for.
#[derive(Clone)]
pub struct Partial {
    /// The compact JWS.
    pub id: String,
    /// The user.
    pub user: User,
    /// Its domain.
    pub user_domain: Project,
    /// The methods shown.
    pub methods: Vec<String>,
    /// When.
    pub issued: Timestamp,
    /// The receipt's end.
    pub expires: Timestamp,
    /// The rules of which a part is shown.
    pub required: Vec<Vec<String>>,
}

/// Adds the methods of a receipt to what was shown now: 401 unless it is a valid one of the same user. It ends with
/// any rule that refuses the user's tokens: a changed password, a disabled user. The end of the receipt is returned.
pub fn add(app: &App, receipt: &str, proven: &mut Proven, now: Timestamp) -> Result<Option<Timestamp>> {
    let said: Said = app.keys.read_as(TYPE, receipt).ok_or_else(Error::unauthorized)?;
    let as_token = TokenClaims {
        sub: proven.user.id.clone(),
        dom: DomainRef { id: proven.user_domain.id.clone(), name: proven.user_domain.name.clone() },
        iat_us: said.from_us,
        ..Default::default()
    };
    if proven.is_delegated()
        || said.receipt_for != proven.user.id
        || said.until_us <= now
        || app.revocations.refuses(&as_token)
    {
        return Err(Error::unauthorized());
    }
    let mut helped = false;
    for name in said.shown {
        if !proven.methods.contains(&name) {
            proven.methods.push(name);
            helped = true;
        }
    }
    proven.parent = proven.parent.take().or(said.parent);
    Ok(helped.then_some(said.until_us))
}

/// A receipt for what was shown. It lasts no longer than the one that a part of it came from.
pub fn issue(
    app: &App,
    proven: &Proven,
    required: Vec<Vec<String>>,
    now: Timestamp,
    until: Option<Timestamp>,
) -> Result<Partial> {
    let expires = now.plus_seconds(app.receipt_ttl);
    let expires = until.map_or(expires, |until| until.min(expires));
    let said = Said {
        receipt_for: proven.user.id.clone(),
        shown: proven.methods.clone(),
        from_us: now,
        until_us: expires,
        parent: proven.parent.clone(),
    };
    Ok(Partial {
        id: app.keys.sign_as(TYPE, &said)?,
        user: proven.user.clone(),
        user_domain: proven.user_domain.clone(),
        methods: said.shown,
        issued: now,
        expires,
        required,
    })
}
