//! The unified limits of the identity service, read as a user of the whole system, remembered for a short time.

use super::UnifiedLimits;
use ferrostack_client::ServiceClient;
use ferrostack_model::{Error, Result};
use ferrostack_settings::Settings;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::Value;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Projects that are remembered.
const REMEMBERED: usize = 10_000;

/// What was read, and when.
struct Known {
    at: Instant,
    limits: UnifiedLimits,
}

pub(super) struct Unified {
    client: ServiceClient,
    region: String,
    remember: Duration,
    service_id: Mutex<Option<String>>,
    known: Mutex<HashMap<String, Known>>,
}

impl Unified {
    pub fn new(settings: &Settings) -> Result<Self> {
        Ok(Self {
            client: ServiceClient::of_system(&settings.credentials)?,
            region: settings.identity.region.clone(),
            remember: Duration::from_millis(settings.image.quota.limits_cache_ms),
            service_id: Mutex::default(),
            known: Mutex::default(),
        })
    }

    /// The project's limits; 503 if the identity service does not say them.
    pub async fn limits(&self, project: &str) -> Result<UnifiedLimits> {
        if let Some(known) = self.known.lock().get(project)
            && known.at.elapsed() < self.remember
        {
            return Ok(known.limits);
        }
        let at = Instant::now();
        let limits = self.read(project).await.map_err(|error| {
            Error::unavailable(format!("limits of project {project}: {}", error.for_log()))
        })?;
        if !self.remember.is_zero() {
            let mut known = self.known.lock();
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(project.to_owned(), Known { at, limits });
        }
        Ok(limits)
    }

    async fn read(&self, project: &str) -> Result<UnifiedLimits> {
        let service = self.service().await?;
        let pairs = [("service_id", service.as_str())];
        let registered = self.list("registered_limits", &pairs).await?;
        let own = self.list("limits", &[pairs[0], ("project_id", project)]).await?;
        let limit = |resource: &str| {
            let own = self.find(&own, resource, "resource_limit");
            // Without any limit there is nothing to be had, as with oslo.limit.
            own.or_else(|| self.find(&registered, resource, "default_limit")).unwrap_or(0)
        };
        Ok(UnifiedLimits {
            image_size_total: limit("image_size_total"),
            image_stage_total: limit("image_stage_total"),
            image_count_total: limit("image_count_total"),
            image_count_uploading: limit("image_count_uploading"),
        })
    }

    /// The number in `member` of the row for `resource`: of our region, else of no region.
    fn find(&self, rows: &[Value], resource: &str, member: &str) -> Option<i64> {
        let of = |region: Option<&str>| {
            let row =
                rows.iter().find(|r| r["resource_name"] == resource && r["region_id"].as_str() == region);
            row.and_then(|r| r[member].as_i64())
        };
        of(Some(&self.region)).or_else(|| of(None))
    }

    /// Our id in the catalog.
    async fn service(&self) -> Result<String> {
        if let Some(id) = self.service_id.lock().clone() {
            return Ok(id);
        }
        let services = self.list("services", &[("type", "image")]).await?;
        let service = services.iter().find(|s| s["name"] == "glance").or_else(|| services.first());
        let id = service.and_then(|s| s["id"].as_str()).map(str::to_owned);
        let id = id.ok_or_else(|| Error::unavailable("the identity service knows no image service"))?;
        *self.service_id.lock() = Some(id.clone());
        Ok(id)
    }

    /// All rows of a list.
    async fn list(&self, what: &str, pairs: &[(&str, &str)]) -> Result<Vec<Value>> {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let url = format!("{}/{what}?{query}", self.client.auth_url());
        let mut body = self.client.json(Method::GET, &url, None, None).await?;
        match body.get_mut(what).map(Value::take) {
            Some(Value::Array(rows)) => Ok(rows),
            _ => Err(Error::unavailable(format!("{url}: no {what} in the answer"))),
        }
    }
}
