//! Which roles a user has where, with the implied ones.

use crate::store::{self, assignment::Assignment, project::Project, role::Role};
use ferrostack_db::Db;
use ferrostack_model::Result;
use std::collections::{HashMap, HashSet};

/// Most projects above one another.
const MAX_DEPTH: usize = 16;

/// Where roles count.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A project, with what it inherits from above.
    Project(&'a Project),
    /// A domain itself.
    Domain(&'a str),
    /// The whole system.
    System,
}

/// The ids of the projects above `project`, then of its domain.
pub async fn ancestors(db: &Db, project: &Project) -> Result<Vec<String>> {
    let mut above = Vec::new();
    let mut next = project.parent_id.clone();
    while !next.is_empty() && above.len() < MAX_DEPTH && !above.contains(&next) {
        above.push(next.clone());
        next = store::project::get(db.reader(), &next).await?.map(|p| p.parent_id).unwrap_or_default();
    }
    if !project.domain_id.is_empty() && !above.contains(&project.domain_id) {
        above.push(project.domain_id.clone());
    }
    Ok(above)
}

/// The ids of the roles of a user on `target`, implied ones and domains' own included.
pub async fn held(db: &Db, user_id: &str, target: Target<'_>) -> Result<HashSet<String>> {
    let assignments = store::assignment::list_of_user(db.reader(), user_id).await?;
    let above = match target {
        Target::Project(project) if assignments.iter().any(|a| a.inherited == 1) => {
            ancestors(db, project).await?
        }
        _ => Vec::new(),
    };
    let direct: HashSet<String> =
        assignments.iter().filter(|a| applies(a, target, &above)).map(|a| a.role_id.clone()).collect();
    with_implied(db, direct).await
}

/// `roles` with all they imply.
pub async fn with_implied(db: &Db, roles: HashSet<String>) -> Result<HashSet<String>> {
    if roles.is_empty() {
        return Ok(roles);
    }
    Ok(closure(roles, &store::role::implications(db.reader()).await?))
}

/// Those of `ids` that count in a token, in the order of their making: not domains' own roles, of which only what
/// they imply counts.
pub async fn countable(db: &Db, ids: &HashSet<String>) -> Result<Vec<Role>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let roles = store::role::list_all(db.reader()).await?;
    Ok(roles.into_iter().filter(|r| r.domain_id.is_empty() && ids.contains(&r.id)).collect())
}

/// The roles of a user on `target` as they count in a token.
pub async fn effective(db: &Db, user_id: &str, target: Target<'_>) -> Result<Vec<Role>> {
    countable(db, &held(db, user_id, target).await?).await
}

fn applies(assignment: &Assignment, target: Target<'_>, above: &[String]) -> bool {
    let on = |kind: &str, id: &str| assignment.target_kind == kind && assignment.target_id == id;
    match target {
        Target::Project(p) if assignment.inherited == 0 => on("project", &p.id),
        Target::Project(_) => above.contains(&assignment.target_id),
        Target::Domain(id) => assignment.inherited == 0 && on("domain", id),
        Target::System => assignment.inherited == 0 && assignment.target_kind == "system",
    }
}

/// `roles` with everything they imply.
pub fn closure(roles: HashSet<String>, implications: &[(String, String)]) -> HashSet<String> {
    let mut below: HashMap<&str, Vec<&str>> = HashMap::new();
    for (prior, implied) in implications {
        below.entry(prior).or_default().push(implied);
    }
    let mut open: Vec<String> = roles.iter().cloned().collect();
    let mut all = roles;
    while let Some(role) = open.pop() {
        for implied in below.get(role.as_str()).into_iter().flatten() {
            if all.insert((*implied).to_owned()) {
                open.push((*implied).to_owned());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_closure_is_closed_and_ends_even_in_circles(
            pairs in prop::collection::vec(("[a-f]", "[a-f]"), 0..20), start in prop::collection::hash_set("[a-f]", 0..3)
        ) {
            let all = closure(start.clone(), &pairs);
            prop_assert!(start.is_subset(&all));
            for (prior, implied) in &pairs {
                prop_assert!(!all.contains(prior) || all.contains(implied));
            }
        }
    }
}
