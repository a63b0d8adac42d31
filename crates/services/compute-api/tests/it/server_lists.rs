//! Lists of servers: filters, order, pages, and a thousand at once.

use crate::{
    servers::{each, gone, up},
    support::Client,
    world::{IMAGE, KERNEL},
};
use ferrostack_compute_api::store::servers;
use ferrostack_model::Timestamp;
use serde_json::json;

#[actix_web::test]
async fn lists_filter_sort_and_page() {
    each(async |cloud, _| {
        let (member, admin, other) = (cloud.at("member", 73), cloud.at("admin", 73), cloud.at("other", 73));
        let mut ids = Vec::new();
        for n in 0..5 {
            let more = json!({"name": format!("web-{n}"), "metadata": {"n": n.to_string()}, "tags": [format!("t{n}"), "all"]});
            ids.push(up(member, more).await);
        }
        let foreign = up(other, json!({"name": "db.1"})).await;
        let names = async |client: Client<'_>, query: &str| -> Vec<String> {
            let list = client.get(&format!("/servers?{query}")).await.expect(200);
            list["servers"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(member, "").await, ["web-4", "web-3", "web-2", "web-1", "web-0"]);
        assert_eq!(names(member, "sort_key=display_name&sort_dir=asc").await[0], "web-0");
        assert_eq!(names(member, "sort_key=created_at&sort_dir=asc&limit=2").await, ["web-0", "web-1"]);
        assert_eq!(names(member, "name=web-3").await, ["web-3"]);
        assert_eq!(names(member, "name=web-%5B12%5D&sort_dir=asc").await.len(), 2);
        assert_eq!(names(member, "name=%5Eeb").await.len(), 0);
        assert_eq!(names(member, "status=ACTIVE").await.len(), 5);
        assert_eq!(names(member, "status=shutoff").await.len(), 0);
        assert_eq!(names(member, "status=shutoff&status=active").await.len(), 5);
        assert_eq!(names(member, &format!("image={IMAGE}&flavor=f1")).await.len(), 5);
        assert_eq!(names(member, &format!("image={KERNEL}")).await.len(), 0);
        assert_eq!(names(member, "flavor=nope").await.len(), 0);
        assert_eq!(names(member, "tags=t1,all").await, ["web-1"]);
        assert_eq!(names(member, "tags-any=t1,t2").await.len(), 2);
        assert_eq!(names(member, "not-tags-any=t1,t2").await.len(), 3);
        assert_eq!(names(member, "not-tags=t1,all").await.len(), 4);
        assert_eq!(names(member, "locked=false").await.len(), 5);
        // What users may not filter by is ignored below 2.75.
        assert_eq!(names(member, "host=nowhere&uuid=x&deleted=true").await.len(), 5);
        assert_eq!(names(member, "limit=0").await.len(), 0);
        assert_eq!(names(admin, "all_tenants=1").await.len(), 6);
        assert_eq!(names(admin, "").await.len(), 5, "the admin is in the same project");
        assert_eq!(names(admin, &format!("all_tenants=1&uuid={foreign}")).await, ["db.1"]);
        assert_eq!(names(admin, "all_tenants=1&host=host1").await.len(), 6);
        assert_eq!(names(admin, "all_tenants=1&metadata=%7B%22n%22:%222%22%7D").await, ["web-2"]);
        assert_eq!(names(admin, "all_tenants=1&power_state=1").await.len(), 6);
        assert_eq!(names(admin, "all_tenants=1&project_id=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb").await, ["db.1"]);
        assert_eq!(names(other, "").await, ["db.1"]);
        assert_eq!(member.get("/servers?all_tenants=1").await.status, 403);
        assert_eq!(names(member, "all_tenants=0").await.len(), 5);

        // Pages cover everything once, whatever the order.
        for sort in ["", "sort_key=display_name&sort_dir=asc", "sort_key=key_name&sort_dir=desc&sort_key=uuid&sort_dir=asc", "name=web"] {
            let (mut seen, mut query) = (Vec::new(), format!("{sort}&limit=2"));
            loop {
                let page = member.get(&format!("/servers?{query}")).await.expect(200);
                member.conforms("servers.index", &page);
                seen.extend(page["servers"].as_array().unwrap().iter().map(|s| s["id"].clone()));
                let Some(next) = page["servers_links"][0]["href"].as_str() else { break };
                query = next.split_once('?').unwrap().1.to_owned();
                assert!(seen.len() < 20, "{sort}");
            }
            let mut all = seen.clone();
            all.sort_by_key(ToString::to_string);
            all.dedup();
            assert_eq!((seen.len(), all.len()), (5, 5), "{sort}");
        }
        let strict = cloud.at("member", 75);
        for (client, query, text) in [
            (member, "limit=-1", "Invalid input for query parameters limit."),
            (member, "limit=x", "Invalid input for query parameters limit."),
            (member, "marker=nope", "marker [nope] not found"),
            (member, "sort_key=nope", "Invalid input for query parameters sort_key."),
            (member, "sort_key=uuid&sort_dir=up", "Unknown sort direction"),
            (member, "changes-since=yesterday", "changes-since"),
            (member, "name=%5B", "name"),
            (member, "status=foo", "Invalid status value"),
            (strict, "foo=bar", "'foo' does not match any of the regexes: '^_'"),
            (admin, "all_tenants=maybe", "maybe"),
        ] {
            let said = client.get(&format!("/servers?{query}")).await.fault(400);
            assert!(said.contains(text), "{query}: {said}");
        }
        assert_eq!(cloud.at("member", 1).get("/servers?status=foo").await.expect(200)["servers"], json!([]));
        assert_eq!(member.get(&format!("/servers?marker={foreign}")).await.status, 400, "others' markers are unknown");

        let before = Timestamp::now().iso();
        gone(member, &ids[0]).await;
        assert_eq!(names(admin, "deleted=true").await, ["web-0"]);
        assert_eq!(names(admin, "status=deleted").await, ["web-0"]);
        assert_eq!(member.get("/servers?status=deleted").await.status, 403);
        assert!(names(member, &format!("changes-since={before}")).await.contains(&"web-0".to_owned()));
        let list = admin.get("/servers/detail?deleted=true").await.expect(200);
        admin.conforms("servers.detail", &list);
        assert_eq!(list["servers"][0]["status"], "DELETED");
        assert!(list["servers"][0]["OS-SRV-USG:terminated_at"].is_string());
        // What was done to it is still readable.
        let actions = member.get(&format!("/servers/{}/os-instance-actions", ids[0])).await.expect(200);
        assert_eq!(actions["instanceActions"][0]["action"], "delete");
        assert_eq!(cloud.at("member", 20).get(&format!("/servers/{}/os-instance-actions", ids[0])).await.status, 404);
    })
    .await;
}

#[actix_web::test]
async fn a_thousand_servers_are_one_statement() {
    each(async |cloud, _| {
        let db = cloud.db().await;
        let mut tx = db.begin_write().await.unwrap();
        for n in 0..1001 {
            let server = crate::jobs::server(&format!("vm{n}"), 1);
            servers::insert(&mut tx, &server, &crate::jobs::inputs()).await.unwrap();
        }
        tx.commit().await.unwrap();
        db.close().await;
        let member = cloud.at("member", 96);
        for path in ["/servers/detail", "/servers/detail?name=vm.*", "/servers"] {
            let begin = std::time::Instant::now();
            let list = member.get(path).await.expect(200);
            eprintln!("{path}: {:?}", begin.elapsed());
            assert_eq!(list["servers"].as_array().unwrap().len(), 1000);
            // Unoptimised and beside other tests; a query for each server would take many times this.
            assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
            let next = list["servers_links"][0]["href"].as_str().unwrap();
            let rest = member
                .get(&format!("{}?{}", path.split('?').next().unwrap(), next.split_once('?').unwrap().1))
                .await;
            assert_eq!(rest.expect(200)["servers"].as_array().unwrap().len(), 1);
        }
    })
    .await;
}
