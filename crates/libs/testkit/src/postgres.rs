//! A database of its own on the PostgreSQL that `FERROSTACK_TEST_POSTGRES` names.

use sqlx::{AnyConnection, Connection, Executor};

/// A fresh PostgreSQL database, dropped by [`TestDatabase::drop_now`].
pub struct TestDatabase {
    admin_url: String,
    name: String,
    /// The new database's URL.
    pub url: String,
}

impl TestDatabase {
    /// Creates one; `None` where no PostgreSQL is given.
    pub async fn create() -> Option<Self> {
        let admin_url = std::env::var("FERROSTACK_TEST_POSTGRES").ok()?;
        sqlx::any::install_default_drivers();
        let name = format!("fs_{}", uuid::Uuid::new_v4().simple());
        let mut connection =
            AnyConnection::connect(&admin_url).await.expect("FERROSTACK_TEST_POSTGRES answers");
        connection
            .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .expect("the test user may create databases");
        let mut url = url::Url::parse(&admin_url).expect("FERROSTACK_TEST_POSTGRES is a URL");
        url.set_path(&name);
        Some(Self { admin_url, name, url: url.to_string() })
    }

    /// Drops it, whoever is connected.
    pub async fn drop_now(self) {
        if let Ok(mut connection) = AnyConnection::connect(&self.admin_url).await {
            let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            let _ = connection.execute(sqlx::AssertSqlSafe(sql)).await;
        }
    }
}
