//! Keystone's error texts.

use ferrostack_model::Error;

/// 404 `Could not find user: ID.`
pub fn not_found(what: &str, id: &str) -> Error {
    Error::not_found(format!("Could not find {what}: {}.", short(id)))
}

/// 409 for a name that is taken in a domain.
pub fn duplicate(what: &str, name: &str, domain_id: &str) -> Error {
    Error::conflict(format!(
        "Conflict occurred attempting to store {what} - Duplicate entry found with name {} at domain ID {domain_id}.",
        short(name)
    ))
}

/// 409 for a name or id that is taken.
pub fn taken(what: &str, detail: &str) -> Error {
    Error::conflict(format!("Conflict occurred attempting to store {what} - {detail}."))
}

/// 409 for a row that another request changed in between.
pub fn raced(what: &str) -> Error {
    Error::conflict(format!(
        "Conflict occurred attempting to store {what} - It was changed by another request."
    ))
}

/// 409 for a deletion of what `users` refer to.
pub fn in_use(what: &str, id: &str, users: &str) -> Error {
    Error::conflict(format!("Unable to delete {what} {} because {users} refer to it.", short(id)))
}

/// 400 `Expecting to find X in Y. …`
pub fn expected(what: &str, place: &str) -> Error {
    Error::bad_request(format!(
        "Expecting to find {what} in {place}. The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error."
    ))
}

/// 403 for an action that the resource's state forbids.
pub fn forbidden_action(action: &str) -> Error {
    Error::forbidden(format!("You are not authorized to perform the requested action: {action}"))
}

/// 403 for a change of an immutable resource.
pub fn immutable(verb: &str, what: &str, id: &str) -> Error {
    Error::forbidden(format!(
        "Unable to {verb} immutable {what} resource: `{id}. Set resource option \"immutable\" to false first."
    ))
}

/// 404 of a subject token that is none, or is not valid any more.
pub fn no_such_token() -> Error {
    Error::not_found("Could not recognize Fernet token")
}

/// At most 255 characters of a text of the caller.
pub fn short(text: &str) -> String {
    if text.chars().count() <= 255 {
        text.to_owned()
    } else {
        text.chars().take(255).collect::<String>() + "…"
    }
}
