//! Uploads that end at any byte, and uploads against each other, below HTTP: real records, a real file store.

use crate::support::{Cloud, Random, in_memory, pattern, times};
use bytes::Bytes;
use ferrostack_db::sqlx::{self, Row, ValueRef};
use ferrostack_image::{
    app::App,
    image::{Image, Status},
    lane, store, upload,
};
use ferrostack_model::ErrorKind;
use futures_util::{future::join_all, stream};
use serde_json::json;
use std::collections::BTreeSet;

/// Bytes of the image that is cut.
const SIZE: usize = 1 << 20;
/// What comes at once; no divisor of a batch.
const CHUNK: usize = 37_123;

/// `data` in pieces as a socket would give them, and then the end or an error.
fn body(data: &Bytes, whole: bool) -> impl futures_util::Stream<Item = Result<Bytes, &'static str>> + Unpin {
    let pieces: Vec<_> =
        (0..data.len()).step_by(CHUNK).map(|at| Ok(data.slice(at..data.len().min(at + CHUNK)))).collect();
    let end = (!whole).then_some(Err("cut"));
    stream::iter(pieces.into_iter().chain(end))
}

async fn put(
    app: &std::sync::Arc<App>,
    image: &Image,
    data: &Bytes,
    whole: bool,
) -> ferrostack_model::Result<()> {
    upload::receive(app, image, Status::Saving, app.stores.default(), Default::default(), body(data, whole))
        .await
}

/// Cuts one upload after another of the same image at `positions`; how many.
async fn cut_at(cloud: &Cloud, positions: impl Iterator<Item = usize>) -> usize {
    let app = cloud.app().await;
    let id = cloud.create(json!({})).await;
    let data = Bytes::from(pattern(SIZE));
    let image = store::image::get(&app.db, &id).await.unwrap().unwrap();
    let (mut cuts, begun) = (0, std::time::Instant::now());
    for at in positions {
        let error = put(&app, &image, &data.slice(..at), false).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadRequest, "cut at {at}");
        let left = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM image_location), status, size, checksum, upload, file FROM image \
             WHERE id = $1",
        )
        .bind(&id)
        .fetch_one(app.db.reader())
        .await
        .unwrap();
        assert_eq!((left.get::<i64, _>(0), left.get::<String, _>(1).as_str()), (0, "queued"), "cut at {at}");
        for column in 2..6 {
            assert!(left.try_get_raw(column).unwrap().is_null(), "cut at {at}: column {column}");
        }
        assert_eq!(cloud.stored(), [""; 0], "cut at {at}");
        cuts += 1;
        if cuts % 50_000 == 0 {
            eprintln!("{cuts} cuts in {:?}", begun.elapsed());
        }
    }
    put(&app, &image, &data, true).await.unwrap();
    assert_eq!(cloud.show(&id).await["status"], "active");
    let got =
        cloud.call("member", reqwest::Method::GET, &format!("/v2/images/{id}/file")).send().await.unwrap();
    assert!(got.bytes().await.unwrap() == data, "an upload after {cuts} cuts is whole");
    eprintln!("{cuts} cuts in {:?}", begun.elapsed());
    cuts
}

/// I08, R58: an upload of 1 MiB that ends at any of its 1,048,577 positions leaves a queued image and no byte.
#[test]
fn g14_i08_r58_cut_at_every_byte() {
    let mut positions: BTreeSet<usize> = (0..=SIZE).step_by(times(61, 1)).collect();
    for edge in (0..=SIZE).step_by(CHUNK).chain((0..=SIZE).step_by(lane::BATCH)) {
        positions.extend(edge.saturating_sub(1)..=SIZE.min(edge + 1));
    }
    let positions: Vec<usize> = positions.into_iter().collect();
    // Several services side by side: most of a cut is waiting for other threads.
    const SERVICES: usize = 8;
    let cut = |shard: usize| {
        let mine = positions.iter().skip(shard).step_by(SERVICES).copied();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut cuts = 0;
        runtime.block_on(in_memory(
            |settings| settings.image.reconcile_ms = 60_000,
            async |cloud| cuts = cut_at(cloud, mine.clone()).await,
        ));
        cuts
    };
    let cuts: usize = std::thread::scope(|scope| {
        let cut = &cut;
        let threads: Vec<_> = (0..SERVICES).map(|shard| scope.spawn(move || cut(shard))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(cuts, positions.len());
    eprintln!("{cuts} cuts");
}

/// R65: of ten uploads at once one wins, and the bytes are all its own.
#[tokio::test(flavor = "multi_thread")]
async fn r65_one_of_ten_uploads_wins() {
    in_memory(
        |settings| settings.image.reconcile_ms = 60_000,
        async |cloud| {
            let app = cloud.app().await;
            let mut random = Random(65);
            for round in 0..times(60, 1000) {
                let id = cloud.create(json!({})).await;
                let image = store::image::get(&app.db, &id).await.unwrap().unwrap();
                let bodies: Vec<Bytes> =
                    (0..10_u8).map(|n| vec![n; 1 + random.below(600_000)].into()).collect();
                let uploads = bodies.iter().map(|data| {
                    let (app, image, data) = (app.clone(), image.clone(), data.clone());
                    tokio::spawn(async move { put(&app, &image, &data, true).await })
                });
                let results: Vec<_> = join_all(uploads).await.into_iter().map(Result::unwrap).collect();
                let winners: Vec<usize> = (0..10).filter(|n| results[*n].is_ok()).collect();
                assert_eq!(winners.len(), 1, "round {round}: {results:?}");
                for error in results.iter().filter_map(|r| r.as_ref().err()) {
                    assert_eq!(error.kind, ErrorKind::Conflict);
                    let from = ["saving", "active"]
                        .map(|s| format!("Image status transition from {s} to saving is not allowed"));
                    assert!(from.contains(&error.public), "{error:?}");
                }
                let stored = cloud.stored();
                assert_eq!(stored.len(), 1, "round {round}");
                let bytes = std::fs::read(cloud.store.join(&stored[0])).unwrap();
                assert!(bytes == bodies[winners[0]], "round {round}");
                let image = store::image::get(&app.db, &id).await.unwrap().unwrap();
                use aws_lc_rs::digest::{SHA512, digest};
                assert_eq!(image.os_hash_value.unwrap(), hex::encode(digest(&SHA512, &bytes)));
                assert_eq!(image.status, Status::Active);
                assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
                assert_eq!(cloud.stored(), [""; 0]);
            }
        },
    )
    .await;
}

/// An upload whose future is dropped at any moment (as a server does when the client goes) gives the image back.
#[tokio::test(flavor = "multi_thread")]
async fn r58_dropped_at_any_moment() {
    in_memory(
        |_| {},
        async |cloud| {
            let app = cloud.app().await;
            let mut id = cloud.create(json!({})).await;
            let data = Bytes::from(pattern(SIZE));
            let mut random = Random(58);
            let mut whole = 0;
            for round in 0..times(150, 2000) {
                let image = store::image::get(&app.db, &id).await.unwrap().unwrap();
                let (app2, data2) = (app.clone(), data.clone());
                let upload = tokio::spawn(async move { put(&app2, &image, &data2, true).await });
                // The moment is random on purpose: it is the fault.
                tokio::time::sleep(std::time::Duration::from_micros(random.below(15_000) as u64)).await;
                upload.abort();
                let _ = upload.await;
                crate::support::eventually("settled", async || {
                    let image = store::image::get(&app.db, &id).await.unwrap().unwrap();
                    match image.status {
                        Status::Queued => image.size.is_none() && cloud.stored().is_empty(),
                        Status::Active => true,
                        _ => false,
                    }
                })
                .await;
                let image = store::image::get(&app.db, &id).await.unwrap().unwrap();
                if image.status == Status::Active {
                    whole += 1;
                    let bytes = std::fs::read(cloud.store.join(&image.locations[0].name)).unwrap();
                    assert!(bytes == data, "round {round}");
                    assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
                    id = cloud.create(json!({})).await;
                }
            }
            eprintln!("{whole} uploads were whole before they were dropped");
        },
    )
    .await;
}
