//! The record of an import.

use ferrostack_model::Timestamp;

/// Type of the task of an import into an image that a client made.
pub const API_IMPORT: &str = "api_image_import";
/// Type of a task of the tasks API, which makes its image itself.
pub const IMPORT: &str = "import";
/// Not begun.
pub const PENDING: &str = "pending";
/// The type of the tasks of added locations.
pub const LOCATION: &str = "location_import";
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
    /// [`API_IMPORT`] or [`IMPORT`].
    pub kind: String,
    /// [`PENDING`], [`PROCESSING`], [`SUCCESS`] or [`FAILURE`].
    pub status: String,
    /// Project of who asked.
    pub owner: String,
    /// Who asked.
    pub user_id: String,
    /// The request.
    pub request_id: String,
    /// What was asked for, JSON.
    pub input: String,
    /// How far it is, or why it failed, for its owner.
    pub message: String,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// When the ended task is forgotten.
    pub expires_at: Option<Timestamp>,
}
