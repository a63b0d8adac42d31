//! All SQL of the image service.

pub mod image;
pub mod import;
pub mod list;
pub mod location;
pub mod member;
pub mod metadefs;
pub mod place;
#[cfg(test)]
mod plans;
pub mod quota;
pub mod task;
pub mod upload;

use ferrostack_db::sqlx::{self, Any};

/// A statement that is put together from fixed fragments. Values only ever travel as parameters.
#[derive(Default)]
pub(crate) struct Sql {
    text: String,
    values: Vec<Value>,
}

/// A parameter.
pub(crate) enum Value {
    Text(String),
    Int(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl Sql {
    pub fn new(text: &'static str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }
    pub fn push(&mut self, fragment: &'static str) {
        self.text.push_str(fragment);
    }
    /// Adds a parameter: `$n` in the text, `value` in the list.
    pub fn bind(&mut self, value: impl Into<Value>) {
        self.values.push(value.into());
        self.text.push_str(&format!("${}", self.values.len()));
    }
    /// Adds `($1, $2, …)`.
    pub fn bind_list(&mut self, values: impl IntoIterator<Item = String>) {
        for (i, value) in values.into_iter().enumerate() {
            self.push(if i == 0 { "(" } else { ", " });
            self.bind(value);
        }
        self.push(")");
    }
    /// Adds a statement to one that has no parameters yet.
    #[cfg(test)]
    pub fn append(&mut self, other: Self) {
        self.text.push_str(&other.text);
        self.values = other.values;
    }
    pub async fn fetch_all(self, db: &sqlx::AnyPool) -> sqlx::Result<Vec<sqlx::any::AnyRow>> {
        let mut query = sqlx::query::<Any>(sqlx::AssertSqlSafe(self.text));
        for value in self.values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Int(number) => query.bind(number),
            };
        }
        query.fetch_all(db).await
    }
}
