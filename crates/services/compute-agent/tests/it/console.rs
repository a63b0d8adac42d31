//! The agent's own HTTP endpoint.

use crate::cloud::{Cloud, HOST, ensure, uuid};
use reqwest::StatusCode;

async fn get(cloud: &Cloud, path: &str, token: Option<&str>) -> (StatusCode, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.get(format!("http://{}{path}", cloud.agent().address));
    if let Some(token) = token {
        request = request.header("X-Auth-Token", token);
    }
    let response = request.send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

#[tokio::test]
async fn the_console_is_for_services_and_admins() {
    let cloud = Cloud::new(2).await;
    let id = uuid();
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    cloud.answer("build").await;
    let path = format!("/hosts/{HOST}/servers/{id}/console");
    for token in ["token-of-service", "token-of-admin"] {
        let (status, text) = get(&cloud, &path, Some(token)).await;
        assert_eq!(status, 200, "{text}");
        assert!(text.ends_with("sample login:\n"), "{text}");
    }
    assert_eq!(get(&cloud, &format!("{path}?bytes=7"), Some("token-of-service")).await.1, "login:\n");
    assert_eq!(get(&cloud, &path, None).await.0, 401);
    assert_eq!(get(&cloud, &path, Some("forged")).await.0, 401);
    assert_eq!(get(&cloud, &path, Some("token-of-member")).await.0, 403);
}

#[tokio::test]
async fn what_is_not_there_is_404_and_nonsense_400() {
    let cloud = Cloud::new(2).await;
    let service = Some("token-of-service");
    let console = |host: &str, id: &str| format!("/hosts/{host}/servers/{id}/console");
    assert_eq!(get(&cloud, &console("fake-0002", &uuid()), service).await.0, 404);
    assert_eq!(get(&cloud, &console("fake-0003", &uuid()), service).await.0, 404);
    assert_eq!(get(&cloud, &console(HOST, "..%2f..%2fx"), service).await.0, 404);
    for bytes in ["x", "-1", "99999999999999999999999"] {
        let path = format!("{}?bytes={bytes}", console(HOST, &uuid()));
        assert_eq!(get(&cloud, &path, service).await.0, 400, "{bytes}");
    }
}

#[tokio::test]
async fn health_and_metrics_need_no_token() {
    let cloud = Cloud::new(1).await;
    let (status, text) = get(&cloud, "/healthcheck", None).await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(get(&cloud, "/metrics", None).await.0, 200);
}
