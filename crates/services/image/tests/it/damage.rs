//! Bit rot and truncation: what is not the image's bytes is never served as if it were.

use crate::{
    stores::{copy_to_fast, directory, stored, two_stores},
    support::{Cloud, each, each_with, pattern},
};
use reqwest::Method;
use serde_json::json;
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

fn flip(path: &Path, bit: usize) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit as u64 / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit as u64 / 8).unwrap();
}

/// The status, and the whole body or `None` if it broke off.
async fn fetch(cloud: &Cloud, id: &str) -> (u16, Option<Vec<u8>>) {
    let got = cloud.call("member", Method::GET, &format!("/v2/images/{id}/file")).send().await.unwrap();
    let status = got.status().as_u16();
    (status, got.bytes().await.ok().map(|b| b.to_vec()))
}

#[tokio::test(flavor = "multi_thread")]
async fn r68_no_flipped_bit_is_served_silently() {
    each(async |cloud| {
        let mut seed = 42_usize;
        for length in [1_200_003, 40_001] {
            let data = pattern(length);
            let id = cloud.create(json!({})).await;
            assert_eq!(cloud.upload("member", &id, data.clone()).await.0, 204);
            let name = cloud.stored().into_iter().find(|n| n.starts_with(&id)).unwrap();
            let path = cloud.store.join(name);
            for round in 0..500 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // The first, the last, and any other.
                let bit = [0, length * 8 - 1, (seed >> 20) % (length * 8)][round.min(2)];
                flip(&path, bit);
                match fetch(cloud, &id).await {
                    (200, Some(_)) => panic!("bit {bit} of {length} bytes was served"),
                    (200, None) => assert!(length > 1 << 20, "a small one is refused before its first byte"),
                    (status, _) => assert_eq!(status, 500),
                }
                flip(&path, bit);
            }
            assert_eq!(fetch(cloud, &id).await, (200, Some(data)), "{length}");
        }
        let noted =
            cloud.sql("UPDATE image_location SET position = 0 WHERE damaged_at IS NOT NULL", &[]).await;
        assert_eq!(noted, 2);
        let metrics =
            cloud.http.get(format!("{}/metrics", cloud.base)).send().await.unwrap().text().await.unwrap();
        let counted =
            metrics.lines().find_map(|l| l.strip_prefix("ferrostack_image_damaged_total ")).unwrap();
        assert!(counted.parse::<u64>().unwrap() >= 1000, "{counted}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r68_no_cut_is_served_silently() {
    each(async |cloud| {
        for length in [3_000_000, 1000] {
            let id = cloud.create(json!({})).await;
            assert_eq!(cloud.upload("member", &id, pattern(length)).await.0, 204);
            let name = cloud.stored().into_iter().find(|n| n.starts_with(&id)).unwrap();
            let file = File::options().write(true).open(cloud.store.join(name)).unwrap();
            for left in [length + 1, length - 1, length / 2, 0] {
                file.set_len(left as u64).unwrap();
                assert_eq!(fetch(cloud, &id).await.0, 500);
                let range = cloud.call("member", Method::GET, &format!("/v2/images/{id}/file"));
                assert_eq!(range.header("Range", "bytes=0-9").send().await.unwrap().status(), 500);
            }
        }
    })
    .await;
}

/// The good copy is served for as long as there is one, and asked first from then on.
#[tokio::test(flavor = "multi_thread")]
async fn r68_another_copy_is_served_instead() {
    each_with(two_stores, async |cloud| {
        let data = pattern(60_000);
        let id = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &id, data.clone()).await.0, 204);
        copy_to_fast(cloud, &id).await;
        let path = directory(cloud, "fast").join(&stored(cloud, "fast")[0]);
        flip(&path, 8 * 30_000);
        assert_eq!(fetch(cloud, &id).await, (200, Some(data.clone())));
        assert_eq!(cloud.show(&id).await["stores"], "cheap,fast", "the damaged one is asked last");
        flip(&path, 8 * 30_000);
        let cheap = directory(cloud, "cheap").join(&stored(cloud, "cheap")[0]);
        std::fs::remove_file(cheap).unwrap();
        assert_eq!(fetch(cloud, &id).await, (200, Some(data)), "what is noted is not the last word");
    })
    .await;
}

/// A large image that broke off is whole at the next attempt: the other copy.
#[tokio::test(flavor = "multi_thread")]
async fn r68_a_large_copy_breaks_off_and_the_next_attempt_is_right() {
    each_with(two_stores, async |cloud| {
        let data = pattern(3_000_000);
        let id = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &id, data.clone()).await.0, 204);
        copy_to_fast(cloud, &id).await;
        flip(&directory(cloud, "fast").join(&stored(cloud, "fast")[0]), 8 * 2_999_999);
        assert_eq!(fetch(cloud, &id).await, (200, None));
        assert_eq!(fetch(cloud, &id).await, (200, Some(data)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nothing_is_compared() {
    each_with(
        |settings| settings.image.storage.verify_on_read = false,
        async |cloud| {
            let id = cloud.create(json!({})).await;
            assert_eq!(cloud.upload("member", &id, pattern(100)).await.0, 204);
            flip(&cloud.store.join(&cloud.stored()[0]), 5);
            assert_eq!(fetch(cloud, &id).await.0, 200);
        },
    )
    .await;
}
