//! The bucket: what holds for a directory holds for it, and no part of an object stays behind.
//!
//! The server is `s3s-fs` (it checks signatures and keeps parts as S3 does), with the one call that it lacks.

use crate::support::{each_with, eventually, pattern};
use async_trait::async_trait;
use ferrostack_image::stores::{Opened, S3Store, Store, object_name};
use ferrostack_settings::{ImageStore, ImageStoreKind, Settings};
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use reqwest::{Body, Method};
use s3s::{
    S3, S3Request, S3Response, S3Result, auth::SimpleAuth, dto::*, s3_error, service::S3ServiceBuilder,
};
use s3s_fs::FileSystem;
use serde_json::json;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tempfile::TempDir;
use tokio::net::TcpListener;

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "CANARYSECRETwJalrXUtnFEMI";

/// What the tests do to the server, and what they see of it.
#[derive(Default)]
struct Control {
    uploads: Mutex<BTreeMap<String, String>>,
    refuse_deletes: AtomicUsize,
    refuse_parts: AtomicUsize,
    refuse_ends: AtomicUsize,
}

fn refused(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

struct Bucket {
    inner: FileSystem,
    control: Arc<Control>,
}

#[async_trait]
impl S3 for Bucket {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.inner.put_object(req).await
    }
    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.inner.get_object(req).await
    }
    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.inner.head_object(req).await
    }
    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        if refused(&self.control.refuse_deletes) {
            return Err(s3_error!(AccessDenied));
        }
        self.inner.delete_object(req).await
    }
    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.inner.list_objects_v2(req).await
    }
    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let key = req.input.key.clone();
        let done = self.inner.create_multipart_upload(req).await?;
        self.control.uploads.lock().unwrap().insert(done.output.upload_id.clone().unwrap(), key);
        Ok(done)
    }
    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        if refused(&self.control.refuse_parts) {
            return Err(s3_error!(AccessDenied));
        }
        self.inner.upload_part(req).await
    }
    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let id = req.input.upload_id.clone();
        let done = self.inner.complete_multipart_upload(req).await?;
        self.control.uploads.lock().unwrap().remove(&id);
        Ok(done)
    }
    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        if refused(&self.control.refuse_ends) {
            return Err(s3_error!(AccessDenied));
        }
        let id = req.input.upload_id.clone();
        let done = self.inner.abort_multipart_upload(req).await?;
        self.control.uploads.lock().unwrap().remove(&id);
        Ok(done)
    }
    /// Two a page, so that pages are turned.
    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let prefix = req.input.prefix.unwrap_or_default();
        let after =
            (req.input.key_marker.unwrap_or_default(), req.input.upload_id_marker.unwrap_or_default());
        let mut all: Vec<(String, String)> =
            self.control.uploads.lock().unwrap().iter().map(|(id, key)| (key.clone(), id.clone())).collect();
        all.retain(|one| one.0.starts_with(&prefix) && *one > after);
        all.sort();
        let truncated = all.len() > 2;
        all.truncate(2);
        let last = all.last().cloned().unwrap_or_default();
        let uploads = all.into_iter().map(|(key, upload_id)| MultipartUpload {
            key: Some(key),
            upload_id: Some(upload_id),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            is_truncated: Some(truncated),
            next_key_marker: truncated.then_some(last.0),
            next_upload_id_marker: truncated.then_some(last.1),
            uploads: Some(uploads.collect()),
            ..Default::default()
        }))
    }
}

/// A running server with the bucket `images`.
pub struct Server {
    directory: TempDir,
    endpoint: String,
    control: Arc<Control>,
}

impl Server {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("images")).unwrap();
        std::fs::write(directory.path().join("secret"), format!("{SECRET}\n")).unwrap();
        let control = Arc::new(Control::default());
        let inner = FileSystem::new(directory.path()).unwrap();
        let mut builder = S3ServiceBuilder::new(Bucket { inner, control: control.clone() });
        builder.set_auth(SimpleAuth::from_single(ID, SECRET));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let http = Builder::new(TokioExecutor::new());
            while let Ok((socket, _)) = listener.accept().await {
                let connection = http.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
                tokio::spawn(connection);
            }
        });
        Self { directory, endpoint, control }
    }

    pub fn settings(&self) -> ImageStore {
        ImageStore {
            kind: ImageStoreKind::S3,
            bucket: Some("images".into()),
            endpoint: Some(self.endpoint.clone()),
            prefix: Some("glance/".into()),
            access_key_id: Some(ID.into()),
            secret_access_key_file: Some(self.directory.path().join("secret")),
            part_bytes: 5 << 20,
            ..Default::default()
        }
    }

    /// The default store of a cloud is this one.
    fn of(&self) -> impl Fn(&mut Settings) + use<> {
        let store = self.settings();
        move |settings| {
            settings.image.storage.stores = [("bucket".to_owned(), store.clone())].into();
            settings.image.storage.default_store = "bucket".into();
        }
    }

    fn objects(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.directory.path().join("images/glance")) else {
            return Vec::new();
        };
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn uploads(&self) -> usize {
        self.control.uploads.lock().unwrap().len()
    }

    /// No object, no begun one, no part of one.
    fn is_empty(&self) -> bool {
        let parts = std::fs::read_dir(self.directory.path()).unwrap();
        let parts = parts.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("upload_id"));
        self.objects().is_empty() && self.uploads() == 0 && parts.count() == 0
    }
}

/// Blocking calls away from the test's runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_small_and_in_parts() {
    let server = Server::start().await;
    let store = S3Store::open(&server.settings()).unwrap();
    for length in [0, 1, 5 << 20, (5 << 20) + 1, 23_000_001] {
        let data = pattern(length);
        let (expected, within) = (data.clone(), store.clone());
        let name = object_name(&ferrostack_model::id::uuid(), &ferrostack_model::id::hex());
        let key = name.clone();
        let opened = blocking(move || {
            use ferrostack_image::inspect::ReadAt;
            within.ping().unwrap();
            assert!(within.open(&key).is_err());
            let mut writer = within.create(&key).unwrap();
            for chunk in data.chunks(700_001) {
                writer.write(&[bytes::Bytes::copy_from_slice(chunk)]).unwrap();
            }
            assert_eq!(
                within.open(&key).err().map(|e| e.kind()),
                Some(std::io::ErrorKind::NotFound),
                "not yet"
            );
            if data.len() > 5 << 20 {
                assert_eq!(
                    within.list().unwrap(),
                    [key.clone()].into(),
                    "what is begun is seen by the sweep"
                );
            }
            let opened = writer.publish().unwrap();
            assert_eq!(opened.size(), data.len() as u64);
            let mut middle = vec![0; data.len() / 3];
            opened.read_exact_at(&mut middle, (data.len() / 3) as u64).unwrap();
            assert!(middle == data[data.len() / 3..data.len() / 3 * 2]);
            assert!(opened.read_exact_at(&mut [0], data.len() as u64).is_err());
            within.open(&key).unwrap()
        })
        .await;
        let Opened::Remote(remote) = &opened else { panic!("not remote") };
        let parts: Vec<bytes::Bytes> = remote.stream(0..length as u64).try_collect().await.unwrap();
        assert!(parts.concat() == expected);
        let within = store.clone();
        blocking(move || {
            assert_eq!(within.list().unwrap(), [name.clone()].into());
            within.remove(&name).unwrap();
            within.remove(&name).unwrap();
            assert!(within.list().unwrap().is_empty());
        })
        .await;
        assert!(server.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_given_up_leaves_no_part() {
    let server = Server::start().await;
    let store = S3Store::open(&server.settings()).unwrap();
    let name = |c: char| object_name("70a599e0-31e7-49b7-b260-868f441e862b", &c.to_string().repeat(32));
    let begin = |c: char| {
        let store = store.clone();
        blocking(move || {
            let mut writer = store.create(&name(c)).unwrap();
            writer.write(&[vec![7; 17 << 20].into()]).unwrap();
            writer
        })
    };
    drop(begin('a').await);
    eventually("given up", async || server.uploads() == 0).await;
    // What giving up leaves behind, the sweep finds: on several pages.
    server.control.refuse_ends.store(5, Ordering::SeqCst);
    for c in ['a', 'b', 'c', 'd', 'e'] {
        drop(begin(c).await);
    }
    eventually("refused", async || server.control.refuse_ends.load(Ordering::SeqCst) == 0).await;
    let within = store.clone();
    blocking(move || {
        let found = within.list().unwrap();
        assert_eq!(found, ['a', 'b', 'c', 'd', 'e'].map(name).into());
        found.iter().for_each(|one| within.remove(one).unwrap());
        assert!(within.list().unwrap().is_empty());
    })
    .await;
    assert!(server.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_life_in_a_bucket() {
    let server = Server::start().await;
    each_with(server.of(), async |cloud| {
        let data = pattern(12_000_003);
        let id = cloud.create(json!({})).await;
        let chunks: Vec<_> = data.chunks(70_001).map(|c| Ok::<_, Infallible>(c.to_vec())).collect();
        let response = cloud
            .call("member", Method::PUT, &format!("/v2/images/{id}/file"))
            .header("Content-Type", "application/octet-stream")
            .body(Body::wrap_stream(stream::iter(chunks)))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 204);
        let image = cloud.show(&id).await;
        assert_eq!((&image["status"], &image["size"]), (&json!("active"), &json!(data.len())));
        assert_eq!(image["stores"], "bucket");
        let file = format!("/v2/images/{id}/file");
        let whole = cloud.call("member", Method::GET, &file).send().await.unwrap();
        assert!(whole.bytes().await.unwrap() == data);
        for (from, to) in [(0, 0), (5_242_879, 5_242_881), (12_000_000, 12_000_002), (100, 9_000_000)] {
            let request =
                cloud.call("member", Method::GET, &file).header("Range", format!("bytes={from}-{to}"));
            let part = request.send().await.unwrap();
            assert_eq!(part.status(), 206);
            assert!(part.bytes().await.unwrap() == data[from..=to]);
        }
        assert_eq!(cloud.get("", "/healthcheck").await.0, 200);
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        assert!(server.is_empty());

        // Hostile content: published, inspected where it lies, refused, gone.
        let hostile = crate::corpus::hostile().into_iter().find(|c| c.name.starts_with("IMG-01")).unwrap();
        let id = cloud.create(json!({"disk_format": "qcow2"})).await;
        assert_eq!(cloud.upload("member", &id, hostile.bytes).await.0, 415);
        assert_eq!(cloud.show(&id).await["status"], "queued");
        eventually("gone", async || server.is_empty()).await;
        assert_eq!(cloud.upload("member", &id, crate::corpus::qcow2(3, 1 << 30)).await.0, 204);
        assert_eq!(cloud.show(&id).await["virtual_size"], 1 << 30);
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        assert!(server.is_empty());
    })
    .await;
}

/// An upload that ends in any way but success leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upload_leaves_nothing_in_the_bucket() {
    let server = Server::start().await;
    each_with(server.of(), async |cloud| {
        let id = cloud.create(json!({})).await;
        // The client goes.
        for sent in [1, 6_000_000, 17_000_000] {
            let half =
                stream::iter(pattern(sent).chunks(100_000).map(|c| Ok(c.to_vec())).collect::<Vec<_>>())
                    .chain(stream::once(async { Err(std::io::Error::other("gone")) }));
            let request = cloud
                .call("member", Method::PUT, &format!("/v2/images/{id}/file"))
                .header("Content-Type", "application/octet-stream")
                .body(Body::wrap_stream(half));
            assert!(request.send().await.is_err());
            eventually("queued", async || cloud.show(&id).await["status"] == "queued").await;
            eventually("empty", async || server.is_empty()).await;
        }
        // The store refuses parts (more than may still be on their way from before).
        server.control.refuse_parts.store(8, Ordering::SeqCst);
        let (status, error) = cloud.upload("member", &id, pattern(17_000_000)).await;
        assert_eq!(status, 503, "{error}");
        assert!(!error.to_string().contains("CANARY"), "{error}");
        server.control.refuse_parts.store(0, Ordering::SeqCst);
        eventually("queued", async || cloud.show(&id).await["status"] == "queued").await;
        eventually("empty", async || server.is_empty()).await;
        // Deleted meanwhile.
        let (send, receive) = tokio::sync::mpsc::channel::<Result<Vec<u8>, Infallible>>(1);
        let body = stream::unfold(receive, |mut r| async move { r.recv().await.map(|item| (item, r)) });
        let request = cloud
            .call("member", Method::PUT, &format!("/v2/images/{id}/file"))
            .header("Content-Type", "application/octet-stream")
            .body(Body::wrap_stream(body.boxed()));
        let upload = tokio::spawn(request.send());
        send.send(Ok(pattern(12_000_000))).await.unwrap();
        eventually("saving", async || cloud.show(&id).await["status"] == "saving").await;
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        drop(send);
        assert_eq!(upload.await.unwrap().unwrap().status(), 410);
        eventually("empty", async || server.is_empty()).await;
    })
    .await;
}

/// What a kill leaves in a bucket: an object nobody wrote down, and parts.
#[tokio::test(flavor = "multi_thread")]
async fn leftovers_in_a_bucket_are_swept() {
    let server = Server::start().await;
    each_with(server.of(), async |cloud| {
        let kept = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &kept, pattern(1000)).await.0, 204);
        let objects = server.objects();
        cloud.shut().await;
        let store = S3Store::open(&server.settings()).unwrap();
        blocking({
            let store = store.clone();
            let (a, b) = (object_name(&kept, &"a".repeat(32)), object_name(&kept, &"b".repeat(32)));
            move || {
                let mut whole = store.create(&a).unwrap();
                whole.write(&[bytes::Bytes::from_static(b"nobody's")]).unwrap();
                whole.publish().unwrap();
                let mut begun = store.create(&b).unwrap();
                begun.write(&[vec![1; 11 << 20].into()]).unwrap();
                std::mem::forget(begun);
            }
        })
        .await;
        std::fs::write(server.directory.path().join("images/glance/notes.txt"), "an operator's").unwrap();
        assert_eq!((server.objects().len(), server.uploads()), (3, 1));
        cloud.boot().await;
        let mut expected = objects;
        expected.push("notes.txt".into());
        expected.sort();
        eventually("swept", async || {
            let mut found = server.objects();
            found.sort();
            found == expected && server.uploads() == 0
        })
        .await;
        std::fs::remove_file(server.directory.path().join("images/glance/notes.txt")).unwrap();
        assert_eq!(cloud.delete("member", &format!("/v2/images/{kept}")).await, 204);
    })
    .await;
}

/// R69 over S3: the store refuses to delete five times.
#[tokio::test(flavor = "multi_thread")]
async fn r69_a_bucket_that_refuses_to_delete_is_asked_until_it_does() {
    let server = Server::start().await;
    each_with(server.of(), async |cloud| {
        let id = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &id, pattern(1000)).await.0, 204);
        server.control.refuse_deletes.store(5, Ordering::SeqCst);
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        assert_eq!(cloud.get("member", &format!("/v2/images/{id}")).await.0, 404);
        assert!(!server.is_empty());
        eventually("gone", async || server.is_empty()).await;
        assert_eq!(server.control.refuse_deletes.load(Ordering::SeqCst), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r68_a_flipped_bit_in_a_bucket_is_not_served() {
    let server = Server::start().await;
    each_with(server.of(), async |cloud| {
        for length in [2_500_000, 1000] {
            let id = cloud.create(json!({})).await;
            assert_eq!(cloud.upload("member", &id, pattern(length)).await.0, 204);
            let path = server.directory.path().join("images/glance").join(&server.objects()[0]);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[length / 2] ^= 4;
            std::fs::write(&path, bytes).unwrap();
            let got =
                cloud.call("member", Method::GET, &format!("/v2/images/{id}/file")).send().await.unwrap();
            assert!(got.status() == 500 || got.bytes().await.is_err());
            assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        }
    })
    .await;
}

/// S-2013-002, S-2014-004: no secret in what the store says.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2013_002_no_error_names_a_credential() {
    let server = Server::start().await;
    let mut wrong = server.settings();
    let file = server.directory.path().join("wrong");
    std::fs::write(&file, "CANARYSECRETwrong").unwrap();
    wrong.secret_access_key_file = Some(file);
    let mut gone = server.settings();
    gone.endpoint = Some("http://127.0.0.1:1".into());
    for settings in [wrong, gone] {
        let store = S3Store::open(&settings).unwrap();
        let said = blocking(move || {
            let name = object_name("70a599e0-31e7-49b7-b260-868f441e862b", &"a".repeat(32));
            let mut writer = store.create(&name).unwrap();
            writer.write(&[bytes::Bytes::from_static(b"x")]).unwrap();
            let errors =
                [writer.publish().err(), store.open(&name).err(), store.list().err(), store.ping().err()];
            format!("{errors:?} {} {}", store.url(&name), store.properties())
        })
        .await;
        assert!(!said.contains("CANARY"), "{said}");
        assert!(said.contains("Some("), "{said}");
    }
    let shown = format!("{:?}", server.settings());
    assert!(!shown.contains("CANARY"));
    for (endpoint, bucket) in
        [("http://user:CANARY@h", "b"), ("ftp://h", "b"), ("http://h", "a/b"), ("http://h", "")]
    {
        let mut settings = server.settings();
        (settings.endpoint, settings.bucket) = (Some(endpoint.into()), Some(bucket.into()));
        let why = S3Store::open(&settings).err().unwrap();
        assert!(!why.contains("CANARY"), "{why}");
    }
}
