//! The database goes away, identity goes away: nothing is half done, nobody waits, and it comes back.

use super::*;
use ferrostack_model::ErrorKind;
use std::time::{Duration, Instant};

/// Ends every connection of the service to its database, as a restart of the server does.
async fn cut(c: &Cloud) -> i64 {
    use ferrostack_db::sqlx;
    let mut connection = connect(c).await;
    let ended: (i64,) = sqlx::query_as(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()) AS ended",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    ended.0
}

/// Changes of several rows while the connections are cut again and again: each is done or not, and said so or 503.
#[tokio::test]
async fn r51_a_database_that_restarts_leaves_nothing_half_done() {
    let Ok(postgres) = std::env::var("FERROSTACK_TEST_POSTGRES") else { return };
    let mut cloud = Cloud::start(Some(postgres), &|_| {}).await;
    {
        let c = &cloud;
        let admin = c.admin().await;
        let role = c.role(&admin, "member").await;
        let done = std::sync::atomic::AtomicBool::new(false);
        let cuts = async {
            let mut ended = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                ended += cut(c).await;
                tokio::time::sleep(Duration::from_millis(120)).await;
            }
            ended
        };
        // What 503 says may or may not have happened: a commit whose answer was lost.
        let patient = async |method: &str, path: &str, body: Option<Value>| {
            for _ in 0..40 {
                let answer = c.call(&admin, method, path, body.clone()).await;
                assert!(
                    answer.status < 500 || answer.status == 503,
                    "{method} {path}: {} {}",
                    answer.status,
                    answer.text
                );
                if answer.status != 503 {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("{method} {path}: 503 for ever");
        };
        let patient = &patient;
        let works = futures_util::future::join_all((0..3).map(|worker| {
            let role = &role;
            async move {
                let mut users = Vec::new();
                for n in 0..6 {
                    let name = format!("w{worker}n{n}");
                    let body = json!({"user": {"name": name, "password": "pw"}});
                    let made = patient("POST", "/v3/users", Some(body)).await;
                    assert!(matches!(made.status, 201 | 409), "{}", made.status);
                    let found = patient("GET", &format!("/v3/users?name={name}"), None).await.json();
                    let user = found["users"][0]["id"].as_str().unwrap().to_owned();
                    let body = json!({"project": {"name": name}});
                    let made = patient("POST", "/v3/projects", Some(body)).await;
                    assert!(matches!(made.status, 201 | 409), "{}", made.status);
                    let found = patient("GET", &format!("/v3/projects?name={name}"), None).await.json();
                    let project = found["projects"][0]["id"].as_str().unwrap().to_owned();
                    let grant = format!("/v3/projects/{project}/users/{user}/roles/{role}");
                    assert_eq!(patient("PUT", &grant, None).await.status, 204);
                    if n % 2 == 0 {
                        let gone = patient("DELETE", &format!("/v3/users/{user}"), None).await.status;
                        assert!(matches!(gone, 204 | 404), "{gone}");
                    }
                    users.push((user, project, n % 2 == 0));
                }
                users
            }
        }));
        let work = async {
            let all = works.await;
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            all
        };
        let (ended, all) = tokio::join!(cuts, work);
        assert!(ended > 5, "{ended} connections were cut");
        // Back within five seconds, and everything is whole.
        let since = Instant::now();
        while c.call(&admin, "GET", "/healthcheck", None).await.status != 200 {
            assert!(since.elapsed() < Duration::from_secs(5));
        }
        for (user, project, gone) in all.into_iter().flatten() {
            let shown = c.get(&admin, &format!("/v3/users/{user}")).await.status;
            assert_eq!(shown, if gone { 404 } else { 200 });
            let granted = c.get(&admin, &format!("/v3/role_assignments?user.id={user}")).await.json();
            let count = granted["role_assignments"].as_array().unwrap().len();
            assert_eq!(count, usize::from(!gone), "{granted}");
            c.get(&admin, &format!("/v3/projects/{project}")).await.is(200);
        }
        // Rules are numbered without a gap, so that no reader misses one.
        let feed = c.get(&admin, "/v3/ferrostack/revocations").await.is(200).json();
        let numbers: Vec<i64> =
            feed["events"].as_array().unwrap().iter().map(|e| e["seq"].as_i64().unwrap()).collect();
        assert_eq!(numbers, (1..=feed["last_seq"].as_i64().unwrap()).collect::<Vec<_>>());
    }
    cloud.pause().await;
    cloud.end().await;
}

/// Other services while identity is away: what they know they go on with as long as it is allowed, then they refuse
/// at once, and they know anew within two seconds of its return.
#[tokio::test]
async fn r73_identity_away_is_503_at_once() {
    once_with(
        |s| {
            s.tokens.feed_max_age_seconds = 1;
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            s.identity.listen = free;
        },
        async |c| {
            let admin = c.admin().await;
            let other = Other::of(c, &admin).await;
            let fresh = c.admin().await;
            c.pause().await;
            tokio::time::sleep(Duration::from_millis(1200)).await;
            for token in [&admin, &fresh] {
                for _ in 0..5 {
                    let since = Instant::now();
                    let error = other.verifier.verify(token).await.unwrap_err();
                    assert_eq!(error.kind, ErrorKind::Unavailable);
                    assert!(since.elapsed() < Duration::from_millis(1200), "{:?}", since.elapsed());
                }
            }
            // What is no token at all is still 401.
            assert_eq!(other.verifier.verify("garbage").await.unwrap_err().kind, ErrorKind::Unauthorized);
            c.resume().await;
            let since = Instant::now();
            while !other.accepts(&admin).await || !other.accepts(&fresh).await {
                assert!(
                    since.elapsed() < Duration::from_secs(2),
                    "not accepted two seconds after the return"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // What was revoked meanwhile is not accepted first.
            let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", fresh.as_str())];
            c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
            c.pause().await;
            c.resume().await;
            let anew = Other::of(c, &admin).await;
            assert!(!anew.accepts(&fresh).await);
        },
    )
    .await;
}

/// Identity that takes connections and never answers.
#[tokio::test]
async fn r73_identity_that_hangs_is_503_within_a_second() {
    once_with(
        |s| s.tokens.feed_max_age_seconds = 1,
        async |c| {
            let admin = c.admin().await;
            let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = silent.local_addr().unwrap();
            let hold = tokio::spawn(async move {
                let mut held = Vec::new();
                while let Ok((stream, _)) = silent.accept().await {
                    held.push(stream);
                }
            });
            let mut settings = c.settings.clone();
            settings.credentials.auth_url = format!("http://{address}/v3");
            let stop = CancellationToken::new();
            let other =
                Other { verifier: verifier(&settings, c.bus.clone(), stop.clone()).await.unwrap(), stop };
            let asked = (0..20).map(|_| async {
                let since = Instant::now();
                let error = other.verifier.verify(&admin).await.unwrap_err();
                (error.kind, since.elapsed())
            });
            for (kind, took) in futures_util::future::join_all(asked).await {
                assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::Unauthorized), "{kind:?}");
                assert!(took < Duration::from_millis(2500), "{took:?}");
            }
            hold.abort();
        },
    )
    .await;
}
