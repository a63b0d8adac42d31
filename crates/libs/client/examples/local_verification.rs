//! What it takes a service to verify a token: `local_verification AUTH_URL PASSWORD_FILE TOKEN_FILE`, figures as JSON.
//! Part of `cargo xtask bench identity`.

use anyhow::{Context, Result};
use ferrostack_client::{LocalVerifier, ServiceClient};
use ferrostack_http::TokenVerifier;
use ferrostack_settings::{Credentials, Tokens};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// A verifier that has read the whole feed: until then identity is asked about every token.
async fn ready(client: &ServiceClient, tokens: &Tokens, token: &str) -> Result<Arc<LocalVerifier>> {
    let verifier = LocalVerifier::start(client.clone(), tokens, CancellationToken::new());
    for _ in 0..400 {
        if verifier.is_current() && verifier.verify(token).await.is_ok() {
            return Ok(verifier);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the token is not verified")
}

/// Median and 99th percentile of one verification, and the mean of all, nanoseconds.
async fn measure(verifier: &LocalVerifier, token: &str, times: usize) -> Result<[u128; 3]> {
    let mut each = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        verifier.verify(token).await.map_err(|e| anyhow::anyhow!("{}", e.public))?;
        each.push(begun.elapsed().as_nanos());
    }
    let mean = each.iter().sum::<u128>() / times as u128;
    each.sort_unstable();
    Ok([each[times / 2], each[times * 99 / 100], mean])
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("AUTH_URL PASSWORD_FILE TOKEN_FILE");
    let credentials =
        Credentials { auth_url: next()?, password_file: next()?.into(), ..Credentials::default() };
    let token = std::fs::read_to_string(next()?)?;
    let client = ServiceClient::new(&credentials).map_err(|e| anyhow::anyhow!("{}", e.for_log()))?;
    let cached = ready(&client, &Tokens::default(), &token).await?;
    let none = Tokens { cache_entries: 0, ..Tokens::default() };
    let uncached = ready(&client, &none, &token).await?;
    let [c50, c99, c] = measure(&cached, &token, 200_000).await?;
    let [u50, u99, u] = measure(&uncached, &token, 10_000).await?;
    println!(
        "{{\"cached_p50_ns\": {c50}, \"cached_p99_ns\": {c99}, \"cached_mean_ns\": {c}, \"uncached_p50_ns\": {u50}, \"uncached_p99_ns\": {u99}, \"uncached_mean_ns\": {u}}}"
    );
    Ok(())
}
