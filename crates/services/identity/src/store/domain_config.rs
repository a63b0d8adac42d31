//! Options of domains.

use super::{Exec, run};
use ferrostack_db::{db_error, sqlx};
use ferrostack_model::Result;

/// An option's row.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ConfigOption {
    /// `identity` or `ldap`.
    pub config_group: String,
    /// Its name.
    pub config_option: String,
    /// 1: `value` is not kept, only that there is one.
    pub sensitive: i64,
    /// JSON.
    pub value: String,
}

/// A domain's options, in a fixed order; empty texts do not filter.
pub async fn list<'e>(
    db: impl Exec<'e>,
    domain_id: &str,
    group: &str,
    option: &str,
) -> Result<Vec<ConfigOption>> {
    sqlx::query_as(
        "SELECT config_group, config_option, sensitive, value FROM domain_config WHERE domain_id = $1 AND ($2 = '' OR config_group = $2) AND ($3 = '' OR config_option = $3) ORDER BY config_group, config_option",
    )
    .bind(domain_id)
    .bind(group)
    .bind(option)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Sets an option.
pub async fn set<'e>(db: impl Exec<'e>, domain_id: &str, row: &ConfigOption) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "INSERT INTO domain_config (domain_id, config_group, config_option, sensitive, value) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (domain_id, config_group, config_option) DO UPDATE SET sensitive = $4, value = $5",
        )
        .bind(domain_id)
        .bind(row.config_group.as_str())
        .bind(row.config_option.as_str())
        .bind(row.sensitive)
        .bind(row.value.as_str()),
    )
    .await
}

/// Removes options; how many there were. Empty texts do not filter.
pub async fn delete<'e>(db: impl Exec<'e>, domain_id: &str, group: &str, option: &str) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "DELETE FROM domain_config WHERE domain_id = $1 AND ($2 = '' OR config_group = $2) AND ($3 = '' OR config_option = $3)",
        )
        .bind(domain_id)
        .bind(group)
        .bind(option),
    )
    .await
}
