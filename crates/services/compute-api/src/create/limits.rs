//! Limits of what a user may give a server, and the reading of it: for creation and rebuild.

use ferrostack_model::{Error, Result, guest::Personality};
use ferrostack_settings::Quota;
use serde_json::Value;
use std::collections::BTreeMap;

fn over(limit: i64, n: usize) -> bool {
    limit >= 0 && i64::try_from(n).is_ok_and(|n| n > limit)
}

/// 403 for more items of metadata than the project may have.
pub fn metadata(items: usize, limits: &Quota) -> Result<()> {
    if over(limits.metadata_items, items) {
        let text = format!("Maximum number of metadata items exceeds {}", limits.metadata_items);
        return Err(Error::forbidden(text));
    }
    Ok(())
}

/// 403 for more or larger injected files than the project may have.
pub fn files(files: &[Personality], limits: &Quota) -> Result<()> {
    if over(limits.injected_files, files.len()) {
        return Err(Error::forbidden("Personality file limit exceeded."));
    }
    for file in files {
        if over(limits.injected_file_path_bytes, file.path.len()) {
            let text = format!("Personality file path exceeds maximum {}", limits.injected_file_path_bytes);
            return Err(Error::forbidden(text));
        }
        // Base64: four characters are three bytes.
        let padding = file.contents.bytes().rev().take_while(|b| *b == b'=').count();
        let bytes = (file.contents.len() / 4 * 3).saturating_sub(padding);
        if over(limits.injected_file_content_bytes, bytes) {
            let max = limits.injected_file_content_bytes;
            return Err(Error::forbidden(format!("Personality file content exceeds maximum {max}")));
        }
    }
    Ok(())
}

/// `personality`
pub fn personality(value: &Value) -> Vec<Personality> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    items.iter().map(|i| Personality { path: text(i, "path"), contents: text(i, "contents") }).collect()
}

/// An object of texts.
pub fn texts(value: &Value) -> BTreeMap<String, String> {
    let Some(map) = value.as_object() else { return BTreeMap::new() };
    map.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

/// A list of texts; `None` for null.
pub fn list(value: &Value) -> Option<Vec<String>> {
    let items = value.as_array()?;
    Some(items.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
}
