//! Text that clients send, as answers and flags take it.

/// Cut to what an error text repeats of it.
pub fn short(text: &str) -> String {
    text.chars().take(255).collect()
}

/// A flag, as oslo's `bool_from_string` reads it.
pub fn is_true(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "t" | "true" | "on" | "y" | "yes" | "1")
}
