//! `ferrostack admin`: looks into a running cloud's tables and queues.

use crate::cli::{AdminCommand, TokenKeysCommand};
use anyhow::{Context, anyhow};
use ferrostack_bus::Settle;
use ferrostack_identity::token_keys::{self, KeyState};
use ferrostack_model::Error;
use ferrostack_settings::Settings;
use std::path::Path;

/// An error of ours for the operator, who may read both texts.
pub fn ours(error: Error) -> anyhow::Error {
    anyhow!(error.for_log())
}

/// Runs one command.
pub async fn run(config: Option<&Path>, command: AdminCommand) -> anyhow::Result<()> {
    let settings = Settings::load(config)?;
    match command {
        AdminCommand::Config => print!("{}", settings.to_toml()?),
        AdminCommand::Jobs { all, limit } => jobs(&settings, !all, limit).await?,
        AdminCommand::TokenKeys { command } => token_keys(&settings, &command)?,
        AdminCommand::DeadLetters { limit } => {
            let bus = bus(&settings).await?;
            for letter in bus.dead_letters(limit).await.map_err(ours)? {
                match letter.message {
                    Some(m) => {
                        println!("{}  {}  {} v{}  {}", m.id, letter.source, m.kind, m.v, m.sent_at.iso())
                    }
                    None => println!("-  {}  not an envelope", letter.source),
                }
            }
        }
        AdminCommand::DeadLettersRetry { id } => settle(&settings, id.as_deref(), Settle::Retry).await?,
        AdminCommand::DeadLettersDrop { id } => settle(&settings, id.as_deref(), Settle::Drop).await?,
    }
    Ok(())
}

async fn bus(settings: &Settings) -> anyhow::Result<std::sync::Arc<dyn ferrostack_bus::Bus>> {
    if settings.bus.url == "local:" {
        anyhow::bail!("bus.url is local: — its messages are inside the running process and go with it");
    }
    ferrostack_bus::connect(&settings.bus.url, "ferrostack admin").await.map_err(ours).context("bus.url")
}

async fn settle(settings: &Settings, id: Option<&str>, how: Settle) -> anyhow::Result<()> {
    let count = bus(settings).await?.settle(id, how).await.map_err(ours)?;
    println!("{count} settled");
    Ok(())
}

async fn jobs(settings: &Settings, unfinished: bool, limit: i64) -> anyhow::Result<()> {
    let db = ferrostack_compute_api::open_database(settings).await.map_err(ours).context("database.url")?;
    for job in ferrostack_jobs::list(&db, unfinished, limit).await.map_err(ours)? {
        println!(
            "{}  {:<8} {}  {:<10} step {:<10} attempt {}  {}{}",
            job.id,
            job.kind,
            job.target,
            job.state.as_str(),
            job.step,
            job.attempt,
            job.created_at.iso(),
            job.error.map(|e| format!("  {e}")).unwrap_or_default()
        );
    }
    Ok(())
}

fn token_keys(settings: &Settings, command: &TokenKeysCommand) -> anyhow::Result<()> {
    let identity = &settings.identity;
    match command {
        TokenKeysCommand::Rotate => {
            let id = token_keys::rotate(identity).map_err(ours)?;
            println!("{id}  signs in {} s", identity.key_maturity_seconds);
        }
        TokenKeysCommand::List => {
            for key in token_keys::list(identity).map_err(ours)? {
                let state = match key.state {
                    KeyState::Waiting(from) => format!("waiting   signs from {}", from.iso()),
                    KeyState::Signing => "signing".into(),
                    KeyState::Retired(until) => format!("retired   needed until {}", until.iso()),
                    KeyState::Spent => "spent     may be pruned".into(),
                };
                println!("{}  made {}  {state}", key.id, key.made_at.iso());
            }
        }
        TokenKeysCommand::Prune => {
            for id in token_keys::prune(identity).map_err(ours)? {
                println!("{id}  removed");
            }
        }
    }
    Ok(())
}
