//! The bytes of an answer, within the limits.

use super::error::{Failure, causes};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::BoxStream};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// A stream that ends with an error when it is too long, too slow or cut.
pub struct Body(BoxStream<'static, Result<Bytes, Failure>>);

struct State {
    inner: BoxStream<'static, reqwest::Result<Bytes>>,
    seen: u64,
    limit: u64,
    expected: Option<u64>,
    idle: Duration,
    deadline: Instant,
}

impl Body {
    /// The body of `response`: at most `limit` bytes, by `deadline`, and never silent for longer than `idle`.
    pub(super) fn new(response: reqwest::Response, limit: u64, idle: Duration, deadline: Instant) -> Self {
        let expected = response.content_length();
        let inner = response.bytes_stream().boxed();
        let state = State { inner, seen: 0, limit, expected, idle, deadline };
        // After an error or the end nothing is polled again.
        Self(
            futures_util::stream::unfold(Some(state), |state| async {
                let mut state = state?;
                match state.next().await {
                    Ok(Some(chunk)) => Some((Ok(chunk), Some(state))),
                    Ok(None) => None,
                    Err(failure) => Some((Err(failure), None)),
                }
            })
            .fuse()
            .boxed(),
        )
    }
}

impl State {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let until = self.deadline.min(Instant::now() + self.idle);
        let chunk = match tokio::time::timeout_at(until, self.inner.next()).await {
            Err(_) => return Err(Failure::Broken("too slow".into())),
            Ok(Some(Err(error))) => return Err(Failure::Broken(causes(error))),
            Ok(Some(Ok(chunk))) => chunk,
            Ok(None) if self.expected.is_some_and(|size| size != self.seen) => {
                return Err(Failure::Broken(format!("{} bytes came of {:?}", self.seen, self.expected)));
            }
            Ok(None) => return Ok(None),
        };
        self.seen += chunk.len() as u64;
        if self.seen > self.limit { Err(Failure::TooLarge(self.limit)) } else { Ok(Some(chunk)) }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Failure>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}
