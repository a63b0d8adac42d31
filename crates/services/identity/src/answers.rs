//! Answers about tokens as they went out, for as long as nothing has changed.

use actix_web::{http::header::HeaderValue, web::Bytes};
use ferrostack_model::{Timestamp, TokenClaims};
use std::sync::Arc;

/// Bytes of a token's end that are its key: most of the signature.
const KEY: usize = 64;
/// Memory for answers, bytes.
const ROOM: u64 = 96 << 20;
/// What an entry takes besides its texts, about.
const ENTRY: usize = 512;

/// An answer to `GET /v3/auth/tokens`.
pub struct Answer {
    /// The epoch (see `step`) whose data it shows, and how many keys were lost till then.
    pub state: (u64, u64),
    /// What the token says.
    pub claims: TokenClaims,
    /// The token as a header.
    pub header: HeaderValue,
    /// The body.
    pub body: Bytes,
}

/// The answers, each with or without the catalog.
pub struct Answers(moka::sync::Cache<([u8; KEY], bool), Arc<Answer>>);

fn key(token: &str, plain: bool) -> Option<([u8; KEY], bool)> {
    Some((*token.as_bytes().last_chunk()?, plain))
}

impl Default for Answers {
    fn default() -> Self {
        let weight = |_: &_, answer: &Arc<Answer>| {
            u32::try_from(answer.body.len() + 2 * answer.header.len() + ENTRY).unwrap_or(u32::MAX)
        };
        Self(moka::sync::Cache::builder().max_capacity(ROOM).weigher(weight).build())
    }
}

impl Answers {
    /// The answer about exactly this token, if it shows the present `state` and the token has not expired.
    pub fn get(&self, token: &str, plain: bool, state: (u64, u64)) -> Option<Arc<Answer>> {
        self.0.get(&key(token, plain)?).filter(|answer| {
            answer.state == state && answer.header == *token && answer.claims.exp_us > Timestamp::now()
        })
    }

    /// Keeps an answer; `plain`: without the catalog.
    pub fn insert(&self, token: &str, plain: bool, answer: Answer) {
        if let Some(key) = key(token, plain) {
            self.0.insert(key, Arc::new(answer));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_for_one_token_and_one_epoch() {
        let answers = Answers::default();
        let end = "s".repeat(64);
        let (one, two) = (format!("one.{end}"), format!("two.{end}"));
        let answer = |token: &str, expires: Timestamp| Answer {
            state: (5, 1),
            claims: TokenClaims { exp_us: expires, ..Default::default() },
            header: HeaderValue::from_str(token).unwrap(),
            body: Bytes::from_static(b"{}"),
        };
        let later = Timestamp::now().plus_seconds(60);
        answers.insert(&one, false, answer(&one, later));
        assert!(answers.get(&one, false, (5, 1)).is_some());
        assert!(answers.get(&one, false, (6, 1)).is_none() && answers.get(&one, true, (5, 1)).is_none());
        assert!(answers.get(&two, false, (5, 1)).is_none() && answers.get("short", false, (5, 1)).is_none());
        assert!(answers.get(&one, false, (5, 2)).is_none());
        answers.insert(&one, false, answer(&one, Timestamp::now()));
        assert!(answers.get(&one, false, (5, 1)).is_none());
    }
}
