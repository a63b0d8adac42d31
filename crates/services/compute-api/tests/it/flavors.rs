//! Flavors, extra specs, access.

use crate::support::{Cloud, PROJECT_A, PROJECT_B, VERSIONS, each};
use ferrostack_compute_api::store::flavors;
use ferrostack_model::Microversion;
use serde_json::{Value, json};

async fn make(cloud: &Cloud, flavor: Value) -> Value {
    let mut body = json!({"name": "f", "ram": 512, "vcpus": 1, "disk": 1});
    for (name, value) in flavor.as_object().unwrap() {
        body[name] = value.clone();
    }
    let made = cloud.at("admin", 1).post("/flavors", json!({"flavor": body})).await.expect(200);
    made["flavor"].clone()
}

async fn ids(cloud: &Cloud, who: &str, query: &str) -> Vec<String> {
    let list = cloud.at(who, 1).get(&format!("/flavors{query}")).await.expect(200);
    let items = list["flavors"].as_array().unwrap();
    items.iter().map(|f| f["id"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn every_version_has_novas_shape() {
    each(async |cloud| {
        for version in VERSIONS {
            let admin = cloud.at("admin", version);
            let id = format!("f{version}");
            let mut body = json!({"name": id, "id": id, "ram": 512, "vcpus": 1, "disk": 1, "swap": 64,
                "OS-FLV-EXT-DATA:ephemeral": 2, "rxtx_factor": "1.5"});
            if version >= 55 {
                body["description"] = json!("näme");
            }
            let made = admin.post("/flavors", json!({"flavor": body})).await.expect(200);
            admin.conforms("flavors.create", &made);
            let specs = json!({"extra_specs": {"hw:cpu_policy": "shared", "n": 1}});
            let set = admin.post(&format!("/flavors/{id}/os-extra_specs"), specs.clone()).await.expect(200);
            admin.conforms("extra_specs.create", &set);
            assert_eq!(set, specs);
            let shown = admin.get(&format!("/flavors/{id}")).await.expect(200);
            admin.conforms("flavors.show", &shown);
            assert_eq!(shown["flavor"]["swap"], 64);
            assert_eq!(shown["flavor"]["rxtx_factor"], 1.5);
            assert_eq!(shown["flavor"].get("extra_specs").is_some(), version >= 61);
            let put = admin.put(&format!("/flavors/{id}"), json!({"flavor": {"description": null}})).await;
            if version >= 55 {
                let put = put.expect(200);
                admin.conforms("flavors.update", &put);
                assert_eq!(put["flavor"]["description"], Value::Null);
            } else {
                put.fault(404);
            }
            let list = admin.get("/flavors?limit=1").await.expect(200);
            admin.conforms("flavors.index", &list);
            assert!(list["flavors_links"][0]["href"].as_str().unwrap().contains("/flavors?limit=1&marker="));
            admin.conforms("flavors.detail", &admin.get("/flavors/detail").await.expect(200));
            let index = admin.get(&format!("/flavors/{id}/os-extra_specs")).await.expect(200);
            admin.conforms("extra_specs.index", &index);
            let one = admin.get(&format!("/flavors/{id}/os-extra_specs/n")).await.expect(200);
            admin.conforms("extra_specs.show", &one);
            assert_eq!(one, json!({"n": "1"}));
            let gone = admin.delete(&format!("/flavors/{id}")).await;
            assert_eq!(gone.headers["content-length"], "0");
            assert_eq!(gone.headers["content-type"], "application/json");
            gone.expect(202);
            assert_eq!(
                admin.delete(&format!("/flavors/{id}")).await.fault(404),
                format!("Flavor {id} could not be found.")
            );
        }
        let plain = make(cloud, json!({"id": null})).await;
        assert_eq!(plain["id"].as_str().unwrap().len(), 36);
        assert_eq!(plain["swap"], "");
        let at_75 = cloud.at("reader", 75).get(&format!("/flavors/{}", plain["id"].as_str().unwrap())).await;
        assert_eq!(at_75.expect(200)["flavor"]["swap"], 0);
    })
    .await;
}

#[actix_web::test]
async fn names_and_ids_are_unique() {
    each(async |cloud| {
        make(cloud, json!({"name": "m1.str", "id": "77"})).await;
        let admin = cloud.at("admin", 1);
        let again = |name: &str, id: Value| json!({"flavor": {"name": name, "id": id, "ram": 1, "vcpus": 1, "disk": 0}});
        assert_eq!(
            admin.post("/flavors", again("m1.str", json!("77"))).await.fault(409),
            "Flavor with name m1.str already exists."
        );
        assert_eq!(
            admin.post("/flavors", again("x", json!(77))).await.fault(409),
            "Flavor with ID 77 already exists."
        );
        // Numbers are taken as ids, and sizes as digits.
        let body = json!({"flavor": {"name": "y", "id": 1.5, "ram": "1024", "vcpus": "2", "disk": "10"}});
        let made = admin.post("/flavors", body).await.expect(200);
        assert_eq!((&made["flavor"]["id"], &made["flavor"]["ram"]), (&json!("1.5"), &json!(1024)));
    })
    .await;
}

#[actix_web::test]
async fn parallel_creates_make_one() {
    each(async |cloud| {
        let body = json!({"flavor": {"name": "one", "ram": 1, "vcpus": 1, "disk": 0}});
        let admin = cloud.at("admin", 1);
        let calls = (0..12).map(|_| admin.post("/flavors", body.clone()));
        let mut codes: Vec<u16> =
            futures_util::future::join_all(calls).await.iter().map(|a| a.status.as_u16()).collect();
        codes.sort_unstable();
        assert_eq!(codes[0], 200);
        assert!(codes[1..].iter().all(|c| *c == 409), "{codes:?}");
    })
    .await;
}

#[actix_web::test]
async fn lists_filter_sort_and_page() {
    each(async |cloud| {
        for (id, ram, disk) in [("a", 100, 30), ("b", 300, 10), ("c", 200, 20)] {
            make(cloud, json!({"name": id, "id": id, "ram": ram, "disk": disk})).await;
        }
        assert_eq!(ids(cloud, "reader", "").await, ["a", "b", "c"]);
        assert_eq!(ids(cloud, "reader", "?minRam=200").await, ["b", "c"]);
        assert_eq!(ids(cloud, "reader", "?minDisk=20").await, ["a", "c"]);
        assert_eq!(ids(cloud, "reader", "?sort_key=memory_mb&sort_dir=desc").await, ["b", "c", "a"]);
        assert_eq!(ids(cloud, "reader", "?sort_key=root_gb&limit=2").await, ["b", "c"]);
        assert_eq!(ids(cloud, "reader", "?sort_key=root_gb&marker=c").await, ["a"]);
        assert_eq!(ids(cloud, "reader", "?limit=0").await, [""; 0]);
        let page = cloud.at("reader", 1).get("/flavors?limit=2&minRam=1").await.expect(200);
        assert_eq!(
            page["flavors_links"],
            json!([{"rel": "next", "href": format!("{}/v2.1/flavors?limit=2&minRam=1&marker=b", cloud.base)}])
        );
        let detail = cloud.at("reader", 1).get("/flavors/detail?limit=1&marker=a").await.expect(200);
        assert_eq!(
            detail["flavors_links"][0]["href"],
            format!("{}/v2.1/flavors/detail?limit=1&marker=b", cloud.base)
        );
        let says =
            async |query: &str| cloud.at("reader", 1).get(&format!("/flavors?{query}")).await.fault(400);
        assert_eq!(
            says("limit=abc").await,
            "Invalid input for query parameters limit. Value: abc. 'abc' does not match '^[0-9]*$'"
        );
        assert_eq!(says("marker=zz").await, "marker [zz] not found");
        assert_eq!(says("minRam=x").await, "Invalid minRam filter [x]");
        assert!(says("sort_key=nope").await.contains("'nope' is not one of ['created_at', "));
        assert!(says("sort_dir=up").await.contains("is not one of ['asc', 'desc']"));
        assert_eq!(
            cloud.at("reader", 75).get("/flavors?foo=bar").await.fault(400),
            "Additional properties are not allowed ('foo' was unexpected)"
        );
        cloud.at("reader", 74).get("/flavors?foo=bar").await.expect(200);
    })
    .await;
}

#[actix_web::test]
async fn private_flavors_are_for_their_projects() {
    each(async |cloud| {
        make(cloud, json!({"name": "pub", "id": "pub"})).await;
        make(cloud, json!({"name": "priv", "id": "priv", "os-flavor-access:is_public": "False"})).await;
        let admin = cloud.at("admin", 7);
        // Not even the project of its maker has it.
        let list = admin.get("/flavors/priv/os-flavor-access").await.expect(200);
        admin.conforms("flavor_access.index", &list);
        assert_eq!(list, json!({"flavor_access": []}));
        assert_eq!(ids(cloud, "member", "").await, ["pub"]);
        let add = |project: &str| json!({"addTenantAccess": {"tenant": project}});
        admin.post("/flavors/priv/action", add(PROJECT_A)).await.expect(200);
        assert_eq!(ids(cloud, "member", "").await, ["priv", "pub"]);
        assert_eq!(ids(cloud, "other", "").await, ["pub"]);
        cloud.at("other", 1).get("/flavors/priv").await.fault(404);
        cloud.at("other", 1).get("/flavors/priv/os-extra_specs").await.fault(404);
        // A user's is_public is not heard, an admin's is.
        assert_eq!(ids(cloud, "other", "?is_public=None").await, ["pub"]);
        assert_eq!(ids(cloud, "admin", "?is_public=false").await, ["priv"]);
        assert_eq!(ids(cloud, "admin", "?is_public=none").await, ["priv", "pub"]);
        assert_eq!(
            cloud.at("admin", 1).get("/flavors?is_public=maybe").await.fault(400),
            "Invalid is_public filter [maybe]"
        );

        let added = admin.post("/flavors/priv/action", add(PROJECT_B)).await.expect(200);
        admin.conforms("flavor_access.add_tenant_access", &added);
        assert_eq!(ids(cloud, "other", "").await, ["priv", "pub"]);
        assert_eq!(
            admin.post("/flavors/priv/action", add(PROJECT_B)).await.fault(409),
            format!("Flavor access already exists for flavor priv and project {PROJECT_B} combination.")
        );
        assert_eq!(
            admin.post("/flavors/priv/action", add("nosuch")).await.fault(400),
            "Project ID nosuch is not a valid project."
        );
        admin.post("/flavors/pub/action", add(PROJECT_B)).await.fault(409);
        cloud.at("admin", 6).post("/flavors/pub/action", add(PROJECT_B)).await.expect(200);
        let remove = json!({"removeTenantAccess": {"tenant": PROJECT_B}});
        let left = admin.post("/flavors/priv/action", remove.clone()).await.expect(200);
        admin.conforms("flavor_access.remove_tenant_access", &left);
        assert_eq!(
            admin.post("/flavors/priv/action", remove).await.fault(404),
            format!("Flavor access not found for priv / {PROJECT_B} combination.")
        );
        cloud.at("other", 1).get("/flavors/priv").await.fault(404);
        assert_eq!(
            admin.get("/flavors/pub/os-flavor-access").await.fault(404),
            "Access list not available for public flavors."
        );
        for (body, says) in [
            (json!({"nope": null}), "There is no such action: nope"),
            (json!({"addTenantAccess": {"tenant": "x"}, "b": 1}), "Malformed request body"),
            (json!([]), "Malformed request body"),
            (json!({"addTenantAccess": {}}), "Invalid input for field/attribute addTenantAccess. Value: {}. 'tenant' is a required property"),
        ] {
            assert_eq!(admin.post("/flavors/priv/action", body).await.fault(400), says);
        }
    })
    .await;
}

#[actix_web::test]
async fn extra_specs_are_set_and_validated() {
    each(async |cloud| {
        make(cloud, json!({"id": "f"})).await;
        let (old, new) = (cloud.at("admin", 85), cloud.at("admin", 86));
        let path = "/flavors/f/os-extra_specs";
        let specs = |key: &str, value: &str| json!({"extra_specs": {key: value}});
        old.post(path, specs("hw:cpu_policy", "nonsense")).await.expect(200);
        assert_eq!(
            new.post(path, specs("hw:cpu_policy", "nonsense")).await.fault(400),
            "Validation failed; 'nonsense' is not one of: dedicated, shared, mixed."
        );
        new.post(path, specs("hw:nope", "1")).await.fault(400);
        new.post(path, specs("own:key", "1")).await.expect(200);
        let put = new.put(&format!("{path}/own:key"), json!({"own:key": "2"})).await.expect(200);
        new.conforms("extra_specs.update", &put);
        assert_eq!(
            new.put(&format!("{path}/own:key"), json!({"other": "2"})).await.fault(400),
            "Request body and URI mismatch"
        );
        let all = cloud.at("reader", 1).get(path).await.expect(200);
        assert_eq!(all, json!({"extra_specs": {"hw:cpu_policy": "nonsense", "own:key": "2"}}));
        let gone = new.delete(&format!("{path}/own:key")).await;
        assert_eq!(gone.text, "");
        gone.expect(200);
        assert_eq!(
            new.delete(&format!("{path}/own:key")).await.fault(404),
            "Flavor f has no extra specs with key own:key."
        );
        new.get(&format!("{path}/own:key")).await.fault(404);
        for (body, part) in [
            (specs("", "x"), "does not match any of the regexes"),
            (specs("a/b", "x"), "does not match any of the regexes"),
            (specs(&"k".repeat(256), "x"), "does not match any of the regexes"),
            (specs("k", &"v".repeat(256)), "is too long"),
            (json!({"extra_specs": {"k": null}}), "None is not of type 'string', 'number'"),
            (json!({"extra_specs": []}), "is not of type 'object'"),
        ] {
            let says = old.post(path, body).await.fault(400);
            assert!(says.contains(part), "{says}");
        }
        old.post("/flavors/nosuch/os-extra_specs", specs("k", "v")).await.fault(404);
        // Nothing of the refused is there.
        assert_eq!(old.get(path).await.expect(200)["extra_specs"], json!({"hw:cpu_policy": "nonsense"}));
    })
    .await;
}

#[actix_web::test]
async fn hostile_flavors_are_refused_and_leave_nothing() {
    each(async |cloud| {
        let admin = cloud.at("admin", 55);
        let cases = [
            (json!({"name": ""}), "''"),
            (
                json!({"name": " x"}),
                "The name must be: printable characters. Can not start or end with whitespace.",
            ),
            (json!({"name": "a\u{1}b"}), "printable"),
            (json!({"name": "n".repeat(256)}), "is too long"),
            (json!({"name": null}), "None is not of type 'string'"),
            (json!({"ram": 0}), "0 is less than the minimum of 1"),
            (json!({"ram": "0"}), "'0' is less than the minimum of 1"),
            (json!({"ram": -1}), "minimum"),
            (json!({"ram": 1.5}), "is not of type 'integer', 'string'"),
            (json!({"ram": 2147483648_i64}), "greater than the maximum of 2147483647"),
            (json!({"ram": "99999999999999999999999"}), "greater than the maximum"),
            (json!({"ram": "1e3"}), "does not match"),
            (json!({"vcpus": true}), "is not of type"),
            (json!({"disk": []}), "is not of type"),
            (json!({"swap": "-1"}), "does not match"),
            (json!({"rxtx_factor": 0}), "minimum"),
            (json!({"rxtx_factor": "x"}), "does not match"),
            (json!({"id": "a/b"}), "does not match"),
            (json!({"id": " a"}), "does not match"),
            (json!({"id": "i".repeat(256)}), "is too long"),
            (json!({"os-flavor-access:is_public": "perhaps"}), "is not one of"),
            (json!({"description": "d".repeat(65_536)}), "is too long"),
            (json!({"extra": 1}), "('extra' was unexpected)"),
        ];
        for (change, part) in cases {
            let mut flavor = json!({"name": "f", "ram": 1, "vcpus": 1, "disk": 0});
            for (name, value) in change.as_object().unwrap() {
                flavor[name] = value.clone();
            }
            let says = admin.post("/flavors", json!({"flavor": flavor})).await.fault(400);
            assert!(says.contains(part), "{change}: {says}");
            assert!(says.len() < 3000, "{}", says.len());
        }
        for body in
            [json!(null), json!([]), json!("x"), json!({}), json!({"flavor": null}), json!({"flavor": []})]
        {
            admin.post("/flavors", body).await.fault(400);
        }
        for path in ["/flavors/'%20OR%201=1--", &format!("/flavors/{}", "x".repeat(3000))] {
            let answer = admin.get(path).await;
            assert_eq!(answer.status, 404, "{path}");
            assert!(answer.text.len() < 1000);
        }
        assert_eq!(ids(cloud, "admin", "?is_public=none").await, [""; 0]);
    })
    .await;
}

#[actix_web::test]
async fn default_flavors_are_made_once() {
    each(async |cloud| {
        let db = cloud.db().await;
        make(cloud, json!({"name": "m1.tiny", "id": "mine"})).await;
        flavors::bootstrap(&db).await.unwrap();
        let after = ids(cloud, "admin", "").await;
        assert_eq!(after, ["0", "2", "3", "4", "5", "mine"]);
        cloud.at("admin", 1).delete("/flavors/0").await.expect(202);
        flavors::bootstrap(&db).await.unwrap();
        assert_eq!(ids(cloud, "admin", "").await, ["2", "3", "4", "5", "mine"]);
        db.close().await;
    })
    .await;
}

/// From 2.102 flavors are found by name and have lost two members. Below it there is no such filter.
#[actix_web::test]
async fn flavors_are_found_by_name_from_2_102() {
    each(async |cloud| {
        for name in ["one", "two"] {
            let body = json!({"flavor": {"name": name, "ram": 1, "vcpus": 1, "disk": 0}});
            cloud.at("admin", 96).post("/flavors", body).await.expect(200);
        }
        let unfiltered = cloud.at("member", 74).get("/flavors?name=two").await.expect(200);
        assert_eq!(unfiltered["flavors"].as_array().unwrap().len(), 2);
        cloud.at("member", 96).get("/flavors?name=two").await.fault(400);
        let member = cloud.at("member", 102);
        if Microversion::MAX < Microversion(102) {
            assert_eq!(member.get("/flavors?name=two").await.status, 406);
            return;
        }
        let found = member.get("/flavors/detail?name=two").await.expect(200);
        member.conforms("flavors.detail", &found);
        assert_eq!(found["flavors"].as_array().unwrap().len(), 1);
        assert_eq!(found["flavors"][0]["name"], "two");
        assert_eq!(member.get("/flavors?name=tw").await.expect(200), json!({"flavors": []}));
        let path = format!("/flavors/{}", found["flavors"][0]["id"].as_str().unwrap());
        member.conforms("flavors.show", &member.get(&path).await.expect(200));
        member.get(&format!("{path}?x=y")).await.fault(400);
        let old = json!({"flavor": {"name": "x", "ram": 1, "vcpus": 1, "disk": 0, "rxtx_factor": 2.0}});
        cloud.at("admin", 102).post("/flavors", old).await.fault(400);
    })
    .await;
}
