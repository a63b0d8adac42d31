//! Uploads and downloads: races, disconnects, limits, crashes.
