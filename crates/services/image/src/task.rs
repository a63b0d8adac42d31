//! The record of an import.

use ferrostack_model::Timestamp;

/// Type of the tasks this service has.
pub const IMPORT: &str = "api_image_import";
/// Under way.
pub const PROCESSING: &str = "processing";
/// Ended well.
pub const SUCCESS: &str = "success";
/// Ended badly; the message says why.
pub const FAILURE: &str = "failure";

/// An import, under way or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// UUID.
    pub id: String,
    /// The image.
    pub image_id: String,
    /// [`IMPORT`]
    pub kind: String,
    /// [`PROCESSING`], [`SUCCESS`] or [`FAILURE`].
    pub status: String,
    /// Project of who asked.
    pub owner: String,
    /// Who asked.
    pub user_id: String,
    /// The request.
    pub request_id: String,
    /// What was asked for, JSON.
    pub input: String,
    /// Why it failed, for its owner.
    pub message: String,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}
