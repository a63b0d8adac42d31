//! A revoked token is refused by every service within a second.

use ferrostack_testkit::{TestCloud, eventually_for};
use reqwest::Method;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_refused_everywhere() {
    let cloud = TestCloud::start().await;
    let other = cloud.admin.login("admin", "admin-secret", "admin").await;
    let urls = [
        format!("{}/v3/users", other.identity),
        format!("{}/v2/images", other.image),
        format!("{}/servers", other.compute),
        format!("{}/v2.0/networks", other.network),
    ];
    for url in &urls {
        assert_eq!(other.call(Method::GET, url, None).await.status, 200, "{url}");
    }
    let token = other.token.clone().unwrap();
    let gone = other
        .http
        .delete(format!("{}/v3/auth/tokens", other.identity))
        .header("X-Auth-Token", &token)
        .header("X-Subject-Token", &token)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), 204);
    for url in &urls {
        eventually_for(Duration::from_secs(1), &format!("{url} refuses the revoked token"), async || {
            (other.call(Method::GET, url, None).await.status == 401).then_some(())
        })
        .await;
        assert_eq!(
            cloud.admin.call(Method::GET, url, None).await.status,
            200,
            "other tokens still work at {url}"
        );
    }
    cloud.stop().await;
}
