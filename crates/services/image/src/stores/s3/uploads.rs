//! Parts that have not become an object: `object_store` makes them but cannot list them.

use super::failed;
use http::{Method, Request};
use object_store::{
    ClientOptions,
    aws::{AmazonS3, AwsAuthorizer, AwsCredentialProvider},
    client::{HttpClient, HttpConnector, HttpRequestBody, ReqwestConnector},
    multipart::MultipartStore,
    path::Path,
};
use serde::Deserialize;
use std::io;
use url::Url;

/// An object that was begun.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Upload {
    /// The object's key.
    pub key: String,
    /// Names the upload.
    pub upload_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    #[serde(default, rename = "Upload")]
    uploads: Vec<Upload>,
}

/// Lists and ends uploads of a bucket.
pub struct Uploads {
    client: HttpClient,
    credentials: AwsCredentialProvider,
    base: Url,
    region: String,
}

impl Uploads {
    /// With the credentials of `s3`. The error is for the operator.
    pub fn new(s3: &AmazonS3, options: &ClientOptions, base: &Url, region: &str) -> Result<Self, String> {
        let client = ReqwestConnector::default().connect(options).map_err(|e| e.to_string())?;
        let credentials = s3.credentials().clone();
        Ok(Self { client, credentials, base: base.clone(), region: region.to_owned() })
    }

    /// Every upload of a key that begins with `prefix`. None from a server that does not know the call.
    pub async fn list(&self, prefix: &str) -> io::Result<Vec<Upload>> {
        let mut found = Vec::new();
        let (mut key, mut id) = (String::new(), String::new());
        loop {
            let Some(page) = self.page(prefix, &key, &id).await? else { return Ok(found) };
            found.extend(page.uploads);
            match (page.is_truncated, page.next_key_marker) {
                (true, Some(next)) if next != key || page.next_upload_id_marker.as_deref() != Some(&id) => {
                    key = next;
                    id = page.next_upload_id_marker.unwrap_or_default();
                }
                _ => return Ok(found),
            }
        }
    }

    async fn page(&self, prefix: &str, key: &str, id: &str) -> io::Result<Option<Page>> {
        let mut url = self.base.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("uploads", "");
            for (name, value) in [("prefix", prefix), ("key-marker", key), ("upload-id-marker", id)] {
                if !value.is_empty() {
                    query.append_pair(name, value);
                }
            }
        }
        let request = Request::builder().method(Method::GET).uri(url.as_str()).body(HttpRequestBody::empty());
        let mut request = request.map_err(io::Error::other)?;
        let credential = self.credentials.get_credential().await.map_err(failed)?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(failed)?;
        let answer = self.client.execute(request).await.map_err(io::Error::other)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().bytes().await.map_err(io::Error::other)?;
        match status {
            200 => {
                let text = std::str::from_utf8(&body).map_err(io::Error::other)?;
                quick_xml::de::from_str(text).map(Some).map_err(io::Error::other)
            }
            405 | 501 => {
                tracing::debug!(status, "the store does not list begun objects");
                Ok(None)
            }
            _ => Err(io::Error::other(format!("listing begun objects: status {status}"))),
        }
    }

    /// Ends an upload; its parts go.
    pub async fn abort(&self, s3: &AmazonS3, upload: &Upload) -> io::Result<()> {
        let key = Path::from(upload.key.as_str());
        match s3.abort_multipart(&key, &upload.upload_id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_page_as_the_protocol_writes_it() {
        let page: Page = quick_xml::de::from_str(
            r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Bucket>b</Bucket><KeyMarker/><NextKeyMarker>k2</NextKeyMarker>
            <NextUploadIdMarker>u2</NextUploadIdMarker><MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>
            <Upload><Key>k1</Key><UploadId>u1</UploadId><Initiator><ID>x</ID></Initiator></Upload>
            <Upload><Key>k2</Key><UploadId>u2</UploadId></Upload></ListMultipartUploadsResult>"#,
        )
        .unwrap();
        assert!(page.is_truncated);
        assert_eq!(page.uploads.iter().map(|u| u.upload_id.as_str()).collect::<Vec<_>>(), ["u1", "u2"]);
        assert_eq!(page.next_key_marker.as_deref(), Some("k2"));
        let none =
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        assert!(quick_xml::de::from_str::<Page>(none).unwrap().uploads.is_empty());
    }
}
