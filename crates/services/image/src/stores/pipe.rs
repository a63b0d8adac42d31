//! A stream that is read in the store's own runtime, whoever takes it, a little ahead.

use crate::download::BLOCK;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use std::{future::Future, io};
use tokio::{runtime::Handle, sync::mpsc};

/// The bytes of the stream that `open` opens, in blocks. Stops when nobody takes them any more.
pub fn pipe<S>(
    runtime: &Handle,
    open: impl Future<Output = io::Result<S>> + Send + 'static,
) -> BoxStream<'static, io::Result<Bytes>>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
{
    let (sender, receiver) = mpsc::channel(2);
    runtime.spawn(async move {
        match open.await {
            Ok(chunks) => forward(chunks, sender).await,
            Err(error) => {
                let _ = sender.send(Err(error)).await;
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
        .boxed()
}

async fn forward<S>(mut chunks: S, sender: mpsc::Sender<io::Result<Bytes>>)
where
    S: Stream<Item = io::Result<Bytes>> + Unpin,
{
    let mut block: Vec<u8> = Vec::new();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => block.extend_from_slice(&chunk),
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
        if block.len() as u64 >= BLOCK && sender.send(Ok(std::mem::take(&mut block).into())).await.is_err() {
            return;
        }
    }
    if !block.is_empty() {
        let _ = sender.send(Ok(block.into())).await;
    }
}
