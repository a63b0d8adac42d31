//! Opening a database for one service.

use crate::db_error;
use ferrostack_model::{Error, Result};
use sqlx::{Any, AnyPool, Executor, any::AnyPoolOptions, migrate::Migrator};
use std::time::Duration;

/// Takes the write lock at once: a transaction that began to read could not get it later.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// A write transaction; dropping it rolls back.
pub type Tx = sqlx::Transaction<'static, Any>;

/// Which database is behind the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Embedded, one file per service.
    Sqlite,
    /// One schema per service.
    Postgres,
}

/// A service's database: readers and, on SQLite, the one writer apart from them.
#[derive(Clone, Debug)]
pub struct Db {
    reader: AnyPool,
    writer: AnyPool,
    dialect: Dialect,
}

impl Db {
    /// Opens `url` for `service`, makes the schema or file if missing and applies `migrations` under a lock.
    ///
    /// `sqlite:DIR` puts `DIR/<service>.sqlite` there; `postgres://…` uses the schema `<service>`.
    /// A schema newer than `migrations` is refused.
    pub async fn open(url: &str, service: &str, max_connections: u32, migrations: &Migrator) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let db = if let Some(dir) = url.strip_prefix("sqlite:") {
            Self::open_sqlite(dir, service, max_connections).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Self::open_postgres(url, service, max_connections).await?
        } else {
            return Err(Error::internal("database URL must start with sqlite: or postgres://"));
        };
        migrations
            .run(&db.writer)
            .await
            .map_err(|e| Error::internal(format!("migrating the {service} database: {e}")))?;
        Ok(db)
    }

    async fn open_sqlite(dir: &str, service: &str, max_connections: u32) -> Result<Self> {
        std::fs::create_dir_all(dir)
            .map_err(|e| Error::internal(format!("cannot create the database directory {dir}: {e}")))?;
        let url = format!("sqlite://{dir}/{service}.sqlite?mode=rwc");
        let pool = |connections| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(30))
                .test_before_acquire(false)
                .after_connect(|connection, _| {
                    Box::pin(async move {
                        for pragma in [
                            "PRAGMA busy_timeout = 30000",
                            "PRAGMA journal_mode = WAL",
                            "PRAGMA synchronous = NORMAL",
                            "PRAGMA foreign_keys = ON",
                            "PRAGMA cache_size = -16000",
                        ] {
                            connection.execute(pragma).await?;
                        }
                        Ok(())
                    })
                })
                .connect_lazy(&url)
        };
        let writer = pool(1).map_err(db_error)?;
        // The first connection turns WAL on; doing it twice at once would meet a lock.
        writer.acquire().await.map_err(db_error)?;
        Ok(Self { reader: pool(max_connections).map_err(db_error)?, writer, dialect: Dialect::Sqlite })
    }

    async fn open_postgres(url: &str, service: &str, max_connections: u32) -> Result<Self> {
        let schema: String =
            service.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let create = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
        let path = format!("SET search_path TO \"{schema}\"");
        let pool = AnyPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(Duration::from_secs(30))
            .after_connect(move |connection, _| {
                let path = path.clone();
                Box::pin(async move { connection.execute(sqlx::AssertSqlSafe(path)).await.map(|_| ()) })
            })
            .connect_lazy(url)
            .map_err(db_error)?;
        // Two services of one kind may start at once; the loser of the race finds the schema made.
        if let Err(error) = pool.execute(sqlx::AssertSqlSafe(create)).await
            && !crate::is_unique_violation(&error)
        {
            return Err(db_error(error));
        }
        Ok(Self { reader: pool.clone(), writer: pool, dialect: Dialect::Postgres })
    }

    /// The pool for statements that only read.
    pub fn reader(&self) -> &AnyPool {
        &self.reader
    }

    /// The pool for single writing statements that need no transaction.
    pub fn writer(&self) -> &AnyPool {
        &self.writer
    }

    /// Begins a write transaction. On SQLite it holds the one write lock from the start, so do no I/O in it.
    pub async fn begin_write(&self) -> Result<Tx> {
        match self.dialect {
            Dialect::Sqlite => match self.writer.begin_with(BEGIN).await {
                // SQLite itself rolled a transaction back (its disk was full, say), and the connection believes that
                // it is still in it: another one takes its place.
                Err(sqlx::Error::InvalidSavePointStatement) => {
                    let _ = self.writer.acquire().await.map_err(db_error)?.close().await;
                    self.writer.begin_with(BEGIN).await
                }
                begun => begun,
            },
            Dialect::Postgres => self.writer.begin().await,
        }
        .map_err(db_error)
    }

    /// Which database this is.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Fails if the database does not answer; for `/healthcheck`.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.reader).await.map(|_| ()).map_err(db_error)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}
