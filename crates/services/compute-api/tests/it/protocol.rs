//! Version documents, microversion negotiation and the answers outside of the API proper, byte for byte as the
//! real Nova gave them.

use crate::support::{Answer, PROJECT_A, answer, conforms, each};
use ferrostack_model::Microversion;
use reqwest::Method;
use serde_json::{Value, json};

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).map(|v| v.to_str().unwrap())
}

fn has_version(answer: &Answer, version: Option<&str>) {
    let compute = version.map(|v| format!("compute {v}"));
    assert_eq!(header(answer, "openstack-api-version"), compute.as_deref());
    assert_eq!(header(answer, "x-openstack-nova-api-version"), version);
    let vary: Vec<_> = answer.headers.get_all("vary").iter().map(|v| v.to_str().unwrap()).collect();
    match version {
        Some(_) => assert_eq!(vary, ["OpenStack-API-Version", "X-OpenStack-Nova-API-Version"]),
        None => assert!(vary.is_empty(), "{vary:?}"),
    }
    let id = header(answer, "x-openstack-request-id").unwrap();
    assert!(id.starts_with("req-") && header(answer, "x-compute-request-id") == Some(id));
}

#[actix_web::test]
async fn version_documents_need_no_token() {
    each(async |cloud| {
        let get = async |path: &str| answer(cloud.request("", Method::GET, path)).await;
        let root = get("/").await;
        has_version(&root, None);
        let versions = root.expect(200)["versions"].as_array().unwrap().clone();
        assert_eq!(versions.len(), 2);
        assert_eq!(
            versions[1],
            json!({"id": "v2.1", "status": "CURRENT", "version": Microversion::MAX.to_string(),
                "min_version": "2.1", "updated": "2013-07-23T11:33:21Z",
                "links": [{"rel": "self", "href": format!("{}/v2.1/", cloud.base)}]})
        );
        for path in ["/v2.1", "/v2.1/"] {
            let one = get(path).await;
            has_version(&one, Some("2.1"));
            let body = one.expect(200);
            conforms("versions.show", 1, &body);
            assert_eq!(body["version"]["version"], Microversion::MAX.to_string());
            assert_eq!(body["version"]["links"][0]["href"], format!("{}/v2.1/", cloud.base));
        }
        for path in ["/v2", "/v2/"] {
            let one = get(path).await;
            has_version(&one, None);
            let body = one.expect(200);
            assert_eq!(body["version"]["id"], "v2.0");
            assert_eq!(body["version"]["version"], "");
        }
        // A bad token does not matter there.
        assert_eq!(answer(cloud.request("forged", Method::GET, "/v2.1/")).await.status, 200);
    })
    .await;
}

#[actix_web::test]
async fn negotiates_as_nova_does() {
    each(async |cloud| {
        let get = async |name: &'static str, value: &str| {
            answer(cloud.request("admin", Method::GET, "/v2.1/flavors?limit=1").header(name, value)).await
        };
        let max = Microversion::MAX.to_string();
        for (name, value) in
            [("X-OpenStack-Nova-API-Version", "2.9999"), ("OpenStack-API-Version", "compute 2.9999")]
        {
            let refused = get(name, value).await;
            has_version(&refused, Some("2.9999"));
            assert_eq!(header(&refused, "content-type"), Some("application/json; charset=UTF-8"));
            assert_eq!(refused.status, 406);
            assert_eq!(
                refused.text,
                format!(
                    r#"{{"computeFault": {{"code": 406, "message": "Version 2.9999 is not supported by the API. Minimum is 2.1 and maximum is {max}."}}}}"#
                )
            );
        }
        let malformed = get("OpenStack-API-Version", "compute abc").await;
        has_version(&malformed, None);
        assert_eq!(malformed.status, 400);
        assert_eq!(
            malformed.text,
            r#"{"badRequest": {"code": 400, "message": "API Version String abc is of invalid format. Must be of format MajorNum.MinorNum."}}"#
        );
        for (name, value, got) in [
            ("OpenStack-API-Version", "compute latest", max.as_str()),
            ("X-OpenStack-Nova-API-Version", "2.90", "2.90"),
            ("X-OpenStack-Nova-API-Version", "latest", max.as_str()),
            ("OpenStack-API-Version", "placement 1.5", "2.1"),
            ("OpenStack-API-Version", "volume 3.1, compute 2.50", "2.50"),
            ("X-None", "1", "2.1"),
        ] {
            let fine = get(name, value).await;
            has_version(&fine, Some(got));
            assert_eq!(header(&fine, "content-type"), Some("application/json"));
            assert_eq!(fine.status, 200);
        }
        for bad in ["compute 2.01", "compute 2", "compute 2.", "compute -1.2", "compute 2.1.1"] {
            assert_eq!(get("OpenStack-API-Version", bad).await.status, 400, "{bad}");
        }
        for out in ["compute 1.1", "compute 3.0", "compute 2.0", "compute 2.99999999"] {
            assert_eq!(get("OpenStack-API-Version", out).await.status, 406, "{out}");
        }
    })
    .await;
}

#[actix_web::test]
async fn faults_are_novas_byte_for_byte() {
    each(async |cloud| {
        let nobody = answer(cloud.request("", Method::GET, "/v2.1/flavors")).await;
        has_version(&nobody, None);
        assert_eq!(nobody.status, 401);
        assert_eq!(header(&nobody, "content-type"), Some("application/json"));
        assert_eq!(
            header(&nobody, "www-authenticate"),
            Some("Keystone uri=\"http://identity.example:5000/v3\"")
        );
        assert_eq!(
            nobody.text,
            r#"{"error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}}"#
        );
        let missing = answer(cloud.request("admin", Method::GET, "/v2.1/flavors/none")).await;
        has_version(&missing, Some("2.1"));
        assert_eq!(missing.text, r#"{"itemNotFound": {"code": 404, "message": "Flavor none could not be found."}}"#);
        let post = async |kind: &'static str, body: &'static str| {
            let request = cloud.request("admin", Method::POST, "/v2.1/flavors").header("Content-Type", kind);
            answer(request.body(body)).await
        };
        let bad = post("application/json", "{bad").await;
        assert_eq!(bad.text, r#"{"badRequest": {"code": 400, "message": "Malformed request body"}}"#);
        let none = post("application/json", "").await;
        assert_eq!(none.text, r#"{"badRequest": {"code": 400, "message": "None is not of type 'object'"}}"#);
        let xml = post("application/xml", "<x/>").await;
        assert_eq!(xml.text, r#"{"badMediaType": {"code": 415, "message": "Unsupported Content-Type"}}"#);
        let plain = post("text/plain", r#"{"flavor": {}}"#).await;
        assert_eq!(
            plain.text,
            r#"{"badRequest": {"code": 400, "message": "Invalid input for field/attribute flavor. Value: {}. 'name' is a required property"}}"#
        );
        // A known path outside its microversions is a fault of the API, with its version.
        let outside = answer(
            cloud
                .request("admin", Method::GET, "/v2.1/os-hypervisors/statistics")
                .header("OpenStack-API-Version", "compute 2.88"),
        )
        .await;
        has_version(&outside, Some("2.88"));
        assert_eq!(outside.fault(404), "The resource could not be found.");
        let outside = answer(cloud.request("admin", Method::PUT, "/v2.1/flavors/1").body("{}")).await;
        has_version(&outside, Some("2.1"));
        assert_eq!(
            outside.text,
            r#"{"itemNotFound": {"code": 404, "message": "The resource could not be found."}}"#
        );
    })
    .await;
}

#[actix_web::test]
async fn what_the_router_does_not_know() {
    each(async |cloud| {
        let choices = answer(cloud.request("", Method::GET, "/foo/bar")).await;
        assert_eq!(choices.status, 300);
        let base = &cloud.base;
        assert_eq!(
            choices.text,
            format!(
                r#"{{"choices": [{{"id": "v2.0", "status": "DEPRECATED", "links": [{{"rel": "self", "href": "{base}/v2/foo/bar"}}], "media-types": [{{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2"}}]}}, {{"id": "v2.1", "status": "CURRENT", "links": [{{"rel": "self", "href": "{base}/v2.1/foo/bar"}}], "media-types": [{{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}}]}}]}}"#
            )
        );
        let html = "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n  <h1>404 Not Found</h1>\n  The resource could not be found.<br /><br />\n\n\n\n </body>\n</html>";
        for (method, path) in [
            (Method::GET, "/v2.1/nosuch"),
            (Method::PATCH, "/v2.1/flavors"),
            (Method::GET, "/v2.1/flavors.json"),
            (Method::DELETE, "/v2.1/extensions"),
        ] {
            let unknown = answer(cloud.request("admin", method, path)).await;
            assert_eq!(unknown.status, 404, "{path}");
            has_version(&unknown, None);
            assert_eq!(header(&unknown, "content-type"), Some("text/html; charset=UTF-8"));
            assert_eq!(unknown.text, html);
        }
        let as_json =
            answer(cloud.request("admin", Method::GET, "/v2.1/nosuch").header("Accept", "application/json")).await;
        assert_eq!(
            as_json.text,
            r#"{"message": "The resource could not be found.<br /><br />\n\n\n", "code": "404 Not Found", "title": "Not Found"}"#
        );
        let head = answer(cloud.request("admin", Method::HEAD, "/v2.1/flavors")).await;
        assert_eq!(head.status, 404);
        let options = answer(cloud.request("", Method::OPTIONS, "/v2.1/flavors")).await;
        assert_eq!((options.status.as_u16(), options.text.as_str()), (200, ""));
        assert_eq!(answer(cloud.request("", Method::GET, "/v2.1/nosuch")).await.status, 401);
    })
    .await;
}

#[actix_web::test]
async fn every_form_of_a_path() {
    each(async |cloud| {
        let links = async |path: String| {
            let list = answer(cloud.request("admin", Method::GET, &path)).await.expect(200);
            list["flavors"][0]["links"].clone()
        };
        cloud
            .at("admin", 1)
            .post("/flavors", json!({"flavor": {"name": "f", "id": "7", "ram": 1, "vcpus": 1, "disk": 0}}))
            .await
            .expect(200);
        let base = &cloud.base;
        let want = |own: &str, bookmark: &str| -> Value {
            json!([{"rel": "self", "href": format!("{base}{own}")},
                {"rel": "bookmark", "href": format!("{base}{bookmark}")}])
        };
        let p = PROJECT_A;
        assert_eq!(links("/v2.1/flavors".into()).await, want("/v2.1/flavors/7", "/flavors/7"));
        assert_eq!(links("/v2.1//flavors/".into()).await, want("/v2.1/flavors/7", "/flavors/7"));
        assert_eq!(links("/v2/flavors".into()).await, want("/v2/flavors/7", "/flavors/7"));
        for version in ["v2", "v2.1"] {
            assert_eq!(
                links(format!("/{version}/{p}/flavors")).await,
                want(&format!("/{version}/{p}/flavors/7"), &format!("/{p}/flavors/7"))
            );
        }
        let wrong = answer(cloud.request("admin", Method::GET, "/v2.1/aabbcc/flavors")).await;
        has_version(&wrong, Some("2.1"));
        assert_eq!(
            wrong.fault(400),
            format!(
                "Malformed request URL: URL's project_id 'aabbcc' doesn't match Context's project_id '{p}'"
            )
        );
        // Letters beyond the pattern are no project segment.
        assert_eq!(answer(cloud.request("admin", Method::GET, "/v2.1/xyz/flavors")).await.status, 404);
        // `/v2` knows no microversions.
        let old =
            cloud.request("admin", Method::GET, "/v2/flavors").header("OpenStack-API-Version", "compute 9.9");
        let old = answer(old).await;
        has_version(&old, None);
        assert_eq!(old.status, 200);
    })
    .await;
}

#[actix_web::test]
async fn legacy_drops_unknown_members() {
    each(async |cloud| {
        let body =
            json!({"flavor": {"name": " f ", "ram": 1, "vcpus": 1, "disk": 0, "colour": "red"}, "x": 1});
        let old = answer(cloud.request("admin", Method::POST, "/v2/flavors").json(&body)).await.expect(200);
        assert_eq!(old["flavor"]["name"], "f");
        let body = json!({"flavor": {"name": "g", "ram": 1, "vcpus": 1, "disk": 0, "colour": "red"}});
        let new = answer(cloud.request("admin", Method::POST, "/v2.1/flavors").json(&body)).await;
        assert!(new.fault(400).contains("Additional properties are not allowed"));
    })
    .await;
}

#[actix_web::test]
async fn extensions_are_listed_and_shown() {
    each(async |cloud| {
        let reader = cloud.at("reader", 1);
        let list = reader.get("/extensions").await.expect(200);
        reader.conforms("extensions.index", &list);
        let one = list["extensions"][0].clone();
        let shown = reader.get(&format!("/extensions/{}", one["alias"].as_str().unwrap())).await.expect(200);
        assert_eq!(shown["extension"], one);
        reader.get("/extensions/nosuch").await.fault(404);
    })
    .await;
}
