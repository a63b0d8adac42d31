//! Property protections, and overrides of the policy, end to end.

use crate::support::{Cloud, PROJECT_B, each_with};
use ferrostack_settings::PropertyProtectionFormat as Format;
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write;
use tempfile::NamedTempFile;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

async fn guarded<F: AsyncFn(&mut Cloud)>(rules: &str, format: Format, policy: &str, test: F) {
    let (rules, policy) = (file(rules), file(policy));
    each_with(
        |settings| {
            settings.image.property_protection_file = Some(rules.path().to_owned());
            settings.image.property_protection_rule_format = format;
            settings.image.policy_file = Some(policy.path().to_owned());
        },
        test,
    )
    .await;
}

const RULES: &str = "# An operator's own.\n[^x_billing_.*]\ncreate = admin\nread = admin, member\nupdate = admin\ndelete = !\n\n[^x_secret]\ncreate = admin\nread = admin\nupdate = admin\ndelete = admin\n\n[^open_]\ncreate = @\nread = @\nupdate = @\ndelete = @\n";

async fn rules_hold(cloud: &Cloud) {
    let id = cloud.create(json!({"x_billing_code": "7", "x_secret": "s", "open_a": "1"})).await;
    let path = format!("/v2/images/{id}");
    let op =
        |op: &str, name: &str, value: &str| json!([{"op": op, "path": format!("/{name}"), "value": value}]);
    // Reading.
    let of = |image: &Value| ["x_billing_code", "x_secret", "open_a"].map(|name| !image[name].is_null());
    assert_eq!(of(&cloud.show(&id).await), [true, true, true]);
    assert_eq!(of(&cloud.get("member", &path).await.1), [true, false, true]);
    assert_eq!(of(&cloud.get("reader", &path).await.1), [false, false, true]);
    let (_, list) = cloud.get("reader", "/v2/images").await;
    assert_eq!(of(&list["images"][0]), [false, false, true]);
    // A filter tells nothing either.
    assert_eq!(cloud.get("member", "/v2/images?x_secret=s").await.1["images"], json!([]));
    assert_eq!(cloud.get("admin", "/v2/images?x_secret=s").await.1["images"].as_array().unwrap().len(), 1);
    // Changing.
    for (token, body, status) in [
        ("member", op("replace", "x_billing_code", "8"), 403),
        ("member", op("add", "x_billing_code", "8"), 403),
        ("member", json!([{"op": "remove", "path": "/x_billing_code"}]), 403),
        ("admin", json!([{"op": "remove", "path": "/x_billing_code"}]), 403),
        ("member", op("add", "x_billing_more", "8"), 403),
        ("member", op("add", "x_secret", "mine"), 403),
        ("member", op("add", "elsewhere", "8"), 403),
        ("admin", op("add", "elsewhere", "8"), 403),
        // It cannot see that it is there.
        ("member", op("replace", "x_secret", "mine"), 409),
        ("member", json!([{"op": "remove", "path": "/x_secret"}]), 409),
        ("member", op("replace", "open_a", "2"), 200),
        ("member", op("add", "open_b", "3"), 200),
        ("member", json!([{"op": "remove", "path": "/open_b"}]), 200),
        ("member", op("replace", "name", "renamed"), 200),
        ("admin", op("replace", "x_billing_code", "9"), 200),
    ] {
        let (got, answer) = cloud.patch(token, &id, body.clone()).await;
        assert_eq!(got, status, "{token} {body}: {answer}");
        if status == 403 {
            let text = answer["message"].as_str().unwrap();
            assert!(text.starts_with("Attribute &#x27;") && text.contains("&#x27; is reserved."), "{text}");
        }
    }
    // What a member cannot read has stayed through its changes, of a tag too.
    assert_eq!(
        cloud.call("member", Method::PUT, &format!("{path}/tags/t")).send().await.unwrap().status(),
        204
    );
    let whole = cloud.show(&id).await;
    assert_eq!(
        (&whole["x_secret"], &whole["x_billing_code"], &whole["open_a"]),
        (&json!("s"), &json!("9"), &json!("2"))
    );
    for (body, status) in [
        (json!({"name": "a", "open_x": "1"}), 201),
        (json!({"name": "b", "x_billing_code": "1"}), 403),
        (json!({"name": "c", "elsewhere": "1"}), 403),
    ] {
        assert_eq!(cloud.post("member", "/v2/images", body.clone()).await.0, status, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn protections_by_roles() {
    guarded(RULES, Format::Roles, "", async |cloud| rules_hold(cloud).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protections_by_policies() {
    let rules = RULES.replace("= admin, member", "= seen_by_members").replace("= admin", "= only_admins");
    let policy = "seen_by_members: role:admin or role:member\nonly_admins: role:admin\n";
    guarded(&rules, Format::Policies, policy, async |cloud| rules_hold(cloud).await).await;
    // A rule that the operator did not define is nobody's.
    guarded(&rules, Format::Policies, "only_admins: role:admin\n", async |cloud| {
        let id = cloud.create(json!({"x_billing_code": "7"})).await;
        assert_eq!(cloud.show(&id).await["x_billing_code"], Value::Null);
    })
    .await;
}

/// A file that is not there or not right keeps the service from starting.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_of_protections_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let bad = file("[(]\ncreate = @\n");
    for path in [directory.path().join("none"), bad.path().to_owned()] {
        let mut settings = ferrostack_settings::Settings::default();
        settings.database.url = format!("sqlite:{}/db", directory.path().display());
        settings.image.store_directory = directory.path().join("images");
        settings.image.property_protection_file = Some(path.clone());
        let bus = std::sync::Arc::new(ferrostack_bus::LocalBus::new());
        let error = ferrostack_image::open(&settings, bus).await.err().expect("refused");
        assert!(error.for_log().contains("property_protection_file"), "{}", error.for_log());
    }
}

/// S-2013-027: who may not download by the policy may not, whether or not the data was served before; nor does a
/// member get the data of a deactivated image.
#[tokio::test(flavor = "multi_thread")]
async fn s_2013_027_download_policy_and_deactivated_images() {
    guarded(
        "[.*]\ncreate = @\nread = @\nupdate = @\ndelete = @\n",
        Format::Roles,
        "download_image: role:admin\n",
        async |cloud| {
            let id = cloud.create(json!({"visibility": "public"})).await;
            assert_eq!(cloud.upload("member", &id, vec![1; 1000]).await.0, 204);
            let path = format!("/v2/images/{id}/file");
            let status = async |token: &str, range: &str| {
                let mut call = cloud.call(token, Method::GET, &path);
                if !range.is_empty() {
                    call = call.header("Range", range);
                }
                call.send().await.unwrap().status().as_u16()
            };
            for _ in 0..2 {
                for token in ["member", "reader", "other", "stranger"] {
                    assert_eq!(status(token, "").await, 403, "{token}");
                    assert_eq!(status(token, "bytes=0-1").await, 403, "{token}");
                }
                assert_eq!(status("admin", "").await, 200);
                assert_eq!(status("admin", "bytes=0-1").await, 206);
            }
        },
    )
    .await;
    guarded("[.*]\ncreate = @\nread = @\nupdate = @\ndelete = @\n", Format::Roles, "", async |cloud| {
        let id = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &id, vec![1; 1000]).await.0, 204);
        let (status, _) =
            cloud.post("member", &format!("/v2/images/{id}/members"), json!({"member": PROJECT_B})).await;
        assert_eq!(status, 200);
        let path = format!("/v2/images/{id}/file");
        let get =
            async |token: &str| cloud.call(token, Method::GET, &path).send().await.unwrap().status().as_u16();
        assert_eq!([get("member").await, get("other").await, get("admin").await], [200, 200, 200]);
        let action = async |name: &str| {
            let path = format!("/v2/images/{id}/actions/{name}");
            cloud.call("admin", Method::POST, &path).send().await.unwrap().status().as_u16()
        };
        assert_eq!([action("deactivate").await, action("deactivate").await], [204, 204]);
        assert_eq!([get("member").await, get("other").await, get("admin").await], [403, 403, 200]);
        assert_eq!([action("reactivate").await, action("reactivate").await], [204, 204]);
        assert_eq!([get("member").await, get("other").await], [200, 200]);
    })
    .await;
}

/// X40: an id that was ever in use is never given again, to nobody, also when its owner chooses it.
#[tokio::test(flavor = "multi_thread")]
async fn x40_a_used_id_is_never_given_again() {
    guarded("[.*]\ncreate = @\nread = @\nupdate = @\ndelete = @\n", Format::Roles, "", async |cloud| {
        let id = "70a599e0-31e7-49b7-b260-868f441e862b";
        let made = cloud.create(json!({"id": id.to_uppercase()})).await;
        assert_eq!(made, id);
        let again =
            async |token: &str| cloud.post(token, "/v2/images", json!({"id": id, "name": "again"})).await;
        assert_eq!(again("member").await.0, 409);
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        for token in ["member", "admin", "other"] {
            let (status, error) = again(token).await;
            assert_eq!(status, 409, "{token}");
            assert!(
                error["message"].as_str().unwrap().starts_with(&format!("Image ID {id} already exists!"))
            );
        }
        assert_eq!(cloud.get("admin", &format!("/v2/images/{id}")).await.0, 404);
        for bad in ["x", "", "../../etc/passwd", "70a599e0-31e7-49b7-b260-868f441e862b0"] {
            assert_eq!(cloud.post("member", "/v2/images", json!({"id": bad})).await.0, 400, "{bad}");
        }
    })
    .await;
}
