//! Secrets of callers, of stores and of ourselves: in no log, no answer, no command line, no stored file.

use crate::support::each_with;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::json;
use std::{io, sync::Arc};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const CANARIES: [&str; 6] = [
    "CANARYtokenCANARY0001",
    "CANARYserviceCANARY02",
    "CANARYurlpassCANARY03",
    "CANARYsignatureCANARY",
    "CANARYheaderCANARY005",
    "CANARYcookieCANARY006",
];

/// What of the canaries is in `text`.
fn found(text: &str) -> Vec<&'static str> {
    CANARIES.into_iter().filter(|canary| text.contains(canary)).collect()
}

/// M07, OSSA-2013-002, 2013-013, 2014-004, 2014-036, 2015-008: at the most talkative level, with everything failing.
#[tokio::test(flavor = "multi_thread")]
async fn m07_no_secret_is_logged_or_answered() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("this test has a process of its own");
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, CANARIES[1]).unwrap();
    let file = password.clone();
    each_with(
        move |settings| {
            settings.credentials.password_file = file.clone();
            // Nobody listens there: every call of ours to another service fails.
            settings.credentials.auth_url = "http://127.0.0.1:1/v3".into();
        },
        async |cloud| {
            let id = cloud.create(json!({})).await;
            let url = format!("http://user:{}@127.0.0.1:1/x?signature={}", CANARIES[2], CANARIES[3]);
            let mut answers = String::new();
            for token in ["admin", CANARIES[0]] {
                for (method, path, body) in [
                    (Method::GET, "/v2/images".to_owned(), json!(null)),
                    (Method::GET, "/v2/nowhere".to_owned(), json!(null)),
                    (Method::POST, "/v2/images".to_owned(), json!({"disk_format": 5})),
                    (
                        Method::POST,
                        "/v2/images".to_owned(),
                        json!({"locations": [{"url": url, "metadata": {}}]}),
                    ),
                    (
                        Method::POST,
                        format!("/v2/images/{id}/import"),
                        json!({"method": {"name": "web-download", "uri": url}}),
                    ),
                    (
                        Method::POST,
                        format!("/v2/images/{id}/locations"),
                        json!({"url": url, "validation_data": {}}),
                    ),
                    (
                        Method::PATCH,
                        format!("/v2/images/{id}"),
                        json!([{"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}}]),
                    ),
                    (Method::GET, format!("/v2/images/{id}/tasks"), json!(null)),
                    (Method::GET, "/v2/tasks".to_owned(), json!(null)),
                    (Method::GET, format!("/v2/images/{id}"), json!(null)),
                    (Method::GET, format!("/v2/images/{id}/file"), json!(null)),
                ] {
                    let kind = if method == Method::PATCH {
                        "application/openstack-images-v2.1-json-patch"
                    } else {
                        "application/json"
                    };
                    let mut request = cloud
                        .call(token, method, &path)
                        .header("X-Service-Token", CANARIES[4])
                        .header("Authorization", format!("Bearer {}", CANARIES[4]))
                        .header("Cookie", format!("session={}", CANARIES[5]))
                        .header("Content-Type", kind);
                    if !body.is_null() {
                        request = request.body(body.to_string());
                    }
                    let answer = request.send().await.unwrap();
                    // What a caller sent is told to nobody else; its own URL may come back in its own task.
                    let headers = format!("{:?}", answer.headers());
                    answers.push_str(&headers);
                    answers.push_str(&answer.text().await.unwrap());
                }
            }
            let told: Vec<_> =
                found(&answers).into_iter().filter(|c| ![CANARIES[2], CANARIES[3]].contains(c)).collect();
            assert!(told.is_empty(), "answered: {told:?}");
            let others = cloud.get("other", "/v2/tasks").await.1.to_string()
                + &cloud.get("other", "/v2/images").await.1.to_string();
            assert!(found(&others).is_empty(), "told to others: {others}");
        },
    )
    .await;
    let text = String::from_utf8_lossy(&log.0.lock()).into_owned();
    assert!(text.lines().count() > 50, "the log was captured");
    assert!(found(&text).is_empty(), "logged: {:?}", found(&text));
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(found(&String::from_utf8_lossy(&line)).is_empty(), "on a command line");
    }
}
