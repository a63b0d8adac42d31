//! The bus over RabbitMQ.

use crate::{Address, Bus, DeadLetter, Handler, Settle, Source};
use async_trait::async_trait;
use ferrostack_model::{Error, Result, message::Envelope};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A [`Bus`] over AMQP 0-9-1.
pub struct AmqpBus {}

impl AmqpBus {
    /// Connects to `url`; `name` shows in the broker's connection list.
    pub async fn connect(_url: &str, _name: &str) -> Result<Self> {
        Err(Error::internal("not built"))
    }
}

#[async_trait]
impl Bus for AmqpBus {
    async fn publish(&self, _to: &Address, _message: &Envelope) -> Result<()> {
        Err(Error::internal("not built"))
    }
    async fn consume(&self, _: Source, _: u16, _: Arc<dyn Handler>, _: CancellationToken) -> Result<()> {
        Err(Error::internal("not built"))
    }
    async fn dead_letters(&self, _: usize) -> Result<Vec<DeadLetter>> {
        Err(Error::internal("not built"))
    }
    async fn settle(&self, _: Option<&str>, _: Settle) -> Result<usize> {
        Err(Error::internal("not built"))
    }
    async fn ping(&self) -> Result<()> {
        Err(Error::internal("not built"))
    }
}
