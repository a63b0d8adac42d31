//! Typed settings and telemetry set-up.
