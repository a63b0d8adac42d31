//! Making, showing, changing and deleting.

use crate::cloud::{Cloud, Store, error_type, ip};
use serde_json::json;

crate::both!(root, networks, subnets, ports, bulk, tags, binding, readdress, absent, ipv6, service_types);

async fn root(store: &Store) {
    let cloud = Cloud::start(store).await;
    let (status, body) = cloud.get("nobody", "/").await;
    assert_eq!((status, &body["versions"][0]["status"]), (200, &json!("CURRENT")));
    assert_eq!(body["versions"][0]["links"][0]["href"], format!("{}/v2.0/", cloud.base));
    assert_eq!(cloud.get("nobody", "/v2.0").await.0, 401);
    for path in ["/v2.0", "/v2.0/"] {
        let (status, body) = cloud.get("reader", path).await;
        assert_eq!((status, body["resources"].as_array().unwrap().len()), (200, 3));
    }
    let (_, body) = cloud.get("reader", "/v2.0/extensions").await;
    let extensions = body["extensions"].as_array().unwrap();
    for extension in extensions {
        let alias = extension["alias"].as_str().unwrap();
        assert_eq!(cloud.get("reader", &format!("/v2.0/extensions/{alias}")).await.0, 200);
        assert!(!matches!(alias, "router" | "security-group" | "external-net"), "{alias}");
    }
    assert_eq!(cloud.get("reader", "/v2.0/extensions/Availability%20Zone").await.0, 404);
    let (_, body) = cloud.get("reader", "/v2.0/availability_zones").await;
    assert_eq!(
        body,
        json!({"availability_zones": [{"name": "nova", "resource": "network", "state": "available"}]})
    );
    assert_eq!(cloud.get("admin", "/v2.0/agents").await, (200, json!({"agents": []})));
    assert_eq!(cloud.get("nobody", "/healthcheck").await.0, 200);
    cloud.stop().await;
}

async fn networks(store: &Store) {
    let cloud = Cloud::start(store).await;
    let body = json!({"network": {"name": "n", "admin_state_up": "true", "mtu": 1400, "tags": ["a"],
        "dns_domain": "example.org."}});
    let (status, body) = cloud.post("alice", "/v2.0/networks", body).await;
    assert_eq!(status, 201, "{body}");
    let network = body["network"].clone();
    assert_eq!((&network["mtu"], &network["admin_state_up"]), (&json!(1400), &json!(true)));
    assert_eq!((&network["project_id"], &network["tenant_id"]), (&json!("p-alice"), &json!("p-alice")));
    assert!(network.get("provider:network_type").is_none());
    let path = format!("/v2.0/networks/{}", network["id"].as_str().unwrap());
    let (_, body) = cloud.get("alice", &path).await;
    assert_eq!(body["network"], network);
    let (_, body) =
        cloud.get("admin", &format!("{path}.json?fields=name&fields=provider:network_type")).await;
    assert_eq!(body, json!({"network": {"name": "n", "provider:network_type": "local"}}));

    let (status, body) = cloud.put("alice", &path, json!({"network": {"name": "m", "mtu": 0}})).await;
    assert_eq!((status, &body["network"]["name"], &body["network"]["mtu"]), (200, &json!("m"), &json!(1500)));
    assert_eq!(body["network"]["revision_number"], 2);
    assert_eq!(cloud.get("alice", &path).await.1, body);

    let subnet = cloud.subnet("alice", network["id"].as_str().unwrap(), "10.1.0.0/24").await;
    assert_eq!(cloud.get("alice", &path).await.1["network"]["subnets"], json!([subnet]));
    assert_eq!(cloud.delete("alice", &path).await.0, 204);
    let gone = cloud.get("alice", &path).await;
    assert_eq!(error_type(&gone), (404, "NetworkNotFound"));
    assert_eq!(cloud.get("alice", &format!("/v2.0/subnets/{subnet}")).await.0, 404);
    cloud.stop().await;
}

async fn subnets(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.network("alice", "n").await;
    let make = |more: serde_json::Value| {
        let mut subnet = json!({"network_id": network, "ip_version": 4});
        subnet.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cloud.post("alice", "/v2.0/subnets", json!({"subnet": subnet}))
    };
    let (status, body) = make(json!({"cidr": "10.1.0.0/24", "dns_nameservers": ["9.9.9.9"],
        "host_routes": [{"destination": "10.9.0.0/16", "nexthop": "10.1.0.7"}]}))
    .await;
    assert_eq!(status, 201, "{body}");
    let subnet = &body["subnet"];
    assert_eq!(subnet["gateway_ip"], "10.1.0.1");
    assert_eq!(subnet["allocation_pools"], json!([{"start": "10.1.0.2", "end": "10.1.0.254"}]));
    assert_eq!((&subnet["enable_dhcp"], &subnet["ip_version"]), (&json!(true), &json!(4)));
    let path = format!("/v2.0/subnets/{}", subnet["id"].as_str().unwrap());

    for (more, status, kind) in [
        (json!({"cidr": "10.1.0.128/25"}), 400, "InvalidInput"),
        (json!({"cidr": "10.0.0.0/8"}), 400, "InvalidInput"),
        (json!({}), 400, "BadRequest"),
        (json!({"cidr": "10.2.0.5/24"}), 400, "HTTPBadRequest"),
        (json!({"cidr": "10.2.0.0/33"}), 400, "HTTPBadRequest"),
        (json!({"cidr": "2001:db8::/64"}), 400, "InvalidInput"),
        (json!({"cidr": "10.2.0.0/24", "gateway_ip": "10.3.0.1"}), 400, "BadRequest"),
        (
            json!({"cidr": "10.2.0.0/24", "allocation_pools": [{"start": "10.2.0.1", "end": "10.2.0.9"}]}),
            409,
            "GatewayConflictWithAllocationPools",
        ),
        (
            json!({"cidr": "10.2.0.0/24", "allocation_pools": [{"start": "10.3.0.1", "end": "10.3.0.9"}]}),
            400,
            "OutOfBoundsAllocationPool",
        ),
        (json!({"cidr": "10.2.0.0/24", "ipv6_ra_mode": "slaac"}), 400, "InvalidInput"),
        (json!({"cidr": "10.2.0.0/24", "dns_nameservers": ["::1"]}), 400, "InvalidInput"),
    ] {
        let answer = make(more.clone()).await;
        assert_eq!(error_type(&answer), (status, kind), "{more} {}", answer.1);
    }

    let change = json!({"subnet": {"gateway_ip": null, "enable_dhcp": false, "dns_nameservers": [],
        "allocation_pools": [{"start": "10.1.0.1", "end": "10.1.0.9"}]}});
    let (status, body) = cloud.put("alice", &path, change).await;
    assert_eq!((status, &body["subnet"]["gateway_ip"]), (200, &json!(null)), "{body}");
    let (_, port) = cloud.port("alice", &network, json!({})).await;
    assert_eq!(ip(&port), "10.1.0.1");
    let taken = cloud
        .put(
            "alice",
            &path,
            json!({"subnet": {"gateway_ip": "10.1.0.1",
        "allocation_pools": [{"start": "10.1.0.2", "end": "10.1.0.9"}]}}),
        )
        .await;
    assert_eq!(error_type(&taken), (409, "GatewayIpInUse"));
    assert_eq!(
        error_type(&cloud.put("alice", &path, json!({"subnet": {"cidr": "10.7.0.0/24"}})).await).0,
        400
    );
    assert_eq!(error_type(&cloud.delete("alice", &path).await), (409, "SubnetInUse"));
    let in_use = cloud.delete("alice", &format!("/v2.0/networks/{network}")).await;
    assert_eq!(error_type(&in_use), (409, "NetworkInUse"));
    let port_path = format!("/v2.0/ports/{}", port["port"]["id"].as_str().unwrap());
    assert_eq!(cloud.delete("alice", &port_path).await.0, 204);
    assert_eq!(cloud.delete("alice", &path).await.0, 204);
    assert_eq!(cloud.get("alice", &path).await.0, 404);
    cloud.stop().await;
}

async fn ports(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.network("alice", "n").await;
    let without = cloud.port("alice", &network, json!({})).await;
    assert_eq!((without.0, &without.1["port"]["fixed_ips"]), (201, &json!([])));
    let subnet = cloud.subnet("alice", &network, "10.1.0.0/24").await;
    let other = cloud.network("alice", "o").await;
    let foreign = cloud.subnet("alice", &other, "10.2.0.0/24").await;

    let (status, body) = cloud
        .port(
            "alice",
            &network,
            json!({"name": "p", "mac_address": "FA-16-3E-00-00-01", "device_id": "d",
            "fixed_ips": [{"subnet_id": subnet, "ip_address": "10.1.0.77"}]}),
        )
        .await;
    assert_eq!(status, 201, "{body}");
    let port = &body["port"];
    assert_eq!((&port["mac_address"], &port["status"]), (&json!("fa:16:3e:00:00:01"), &json!("DOWN")));
    assert_eq!(port["fixed_ips"], json!([{"subnet_id": subnet, "ip_address": "10.1.0.77"}]));
    assert_eq!((&port["security_groups"], &port["binding:vnic_type"]), (&json!([]), &json!("normal")));
    assert!(port.get("binding:host_id").is_none());
    let path = format!("/v2.0/ports/{}", port["id"].as_str().unwrap());

    for (more, status, kind) in [
        (json!({"fixed_ips": [{"ip_address": "10.1.0.77"}]}), 409, "IpAddressAlreadyAllocated"),
        (json!({"fixed_ips": [{"ip_address": "10.1.0.1"}]}), 409, "IpAddressAlreadyAllocated"),
        (json!({"fixed_ips": [{"ip_address": "10.1.0.255"}]}), 400, "InvalidIpForNetwork"),
        (json!({"fixed_ips": [{"ip_address": "10.7.0.1"}]}), 400, "InvalidIpForNetwork"),
        (json!({"fixed_ips": [{"subnet_id": subnet, "ip_address": "10.7.0.1"}]}), 400, "InvalidIpForSubnet"),
        (json!({"fixed_ips": [{"subnet_id": foreign}]}), 400, "InvalidInput"),
        (json!({"fixed_ips": [{}]}), 400, "HTTPBadRequest"),
        (json!({"mac_address": "fa:16:3e:00:00:01"}), 409, "MacAddressInUse"),
        (json!({"mac_address": "01:16:3e:00:00:01"}), 400, "HTTPBadRequest"),
        (json!({"mac_address": "fa:16:3e:00:00"}), 400, "HTTPBadRequest"),
    ] {
        let answer = cloud.port("alice", &network, more.clone()).await;
        assert_eq!(error_type(&answer), (status, kind), "{more} {}", answer.1);
    }
    let (status, _) = cloud.port("alice", &other, json!({"mac_address": "fa:16:3e:00:00:01"})).await;
    assert_eq!(status, 201, "a MAC address is unique per network only");

    let change = json!({"port": {"name": "q", "device_owner": "compute:nova", "admin_state_up": false}});
    let (status, body) = cloud.put("alice", &path, change).await;
    assert_eq!((status, &body["port"]["name"]), (200, &json!("q")));
    assert_eq!(cloud.get("alice", &path).await.1, body);
    assert_eq!(error_type(&cloud.delete("alice", &path).await), (403, "PolicyNotAuthorized"));
    assert_eq!(cloud.delete("service", &path).await.0, 204);
    assert_eq!(error_type(&cloud.delete("alice", &path).await), (404, "PortNotFound"));
    cloud.stop().await;
}

async fn bulk(store: &Store) {
    let cloud = Cloud::start(store).await;
    let (status, body) =
        cloud.post("alice", "/v2.0/networks", json!({"networks": [{"name": "a"}, {"name": "b"}]})).await;
    assert_eq!((status, body["networks"].as_array().unwrap().len()), (201, 2));
    let network = body["networks"][0]["id"].as_str().unwrap();
    cloud.subnet("alice", network, "10.1.0.0/29").await;
    let port = json!({"network_id": network});
    let too_many = cloud.post("alice", "/v2.0/ports", json!({"ports": vec![port.clone(); 6]})).await;
    assert_eq!(error_type(&too_many), (409, "IpAddressGenerationFailure"));
    let (_, body) = cloud.get("alice", &format!("/v2.0/ports?network_id={network}")).await;
    assert_eq!(body["ports"], json!([]), "all or nothing");
    let (status, body) = cloud.post("alice", "/v2.0/ports", json!({"ports": vec![port; 5]})).await;
    let ips: Vec<_> =
        body["ports"].as_array().unwrap().iter().map(|p| &p["fixed_ips"][0]["ip_address"]).collect();
    assert_eq!(
        (status, json!(ips)),
        (201, json!(["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]))
    );
    cloud.stop().await;
}

async fn tags(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.network("alice", "n").await;
    let subnet = cloud.subnet("alice", &network, "10.1.0.0/24").await;
    let (_, port) = cloud.port("alice", &network, json!({})).await;
    let port = port["port"]["id"].as_str().unwrap();
    for path in [format!("networks/{network}"), format!("subnets/{subnet}"), format!("ports/{port}")] {
        let tags = format!("/v2.0/{path}/tags");
        let (status, body) = cloud.put("alice", &tags, json!({"tags": ["a", "b", "a"]})).await;
        assert_eq!((status, body), (200, json!({"tags": ["a", "b"]})), "{path}");
        assert_eq!(cloud.put("alice", &format!("{tags}/c%20d"), json!({})).await.0, 201);
        assert_eq!(cloud.get("alice", &format!("{tags}/c%20d")).await.0, 204);
        assert_eq!(cloud.delete("alice", &format!("{tags}/a")).await.0, 204);
        assert_eq!(error_type(&cloud.delete("alice", &format!("{tags}/a")).await), (404, "TagNotFound"));
        assert_eq!(cloud.get("reader", &tags).await.1, json!({"tags": ["b", "c d"]}));
        assert_eq!(cloud.put("reader", &tags, json!({"tags": []})).await.0, 403);
        assert_eq!(cloud.get("bob", &tags).await.0, 404);
        assert_eq!(cloud.delete("alice", &tags).await.0, 204);
        assert_eq!(cloud.get("alice", &tags).await.1, json!({"tags": []}));
    }
    cloud.stop().await;
}

async fn binding(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.private().await;
    let (_, body) = cloud
        .port(
            "service",
            &network,
            json!({"project_id": "p-alice", "device_id": "s", "device_owner": "compute:nova"}),
        )
        .await;
    let path = format!("/v2.0/ports/{}", body["port"]["id"].as_str().unwrap());
    assert_eq!(
        (&body["port"]["status"], &body["port"]["binding:vif_type"]),
        (&json!("DOWN"), &json!("unbound"))
    );
    let bind = json!({"port": {"binding:host_id": "h1", "binding:profile": {"a": 1}}});
    let (status, body) = cloud.put("service", &path, bind.clone()).await;
    assert_eq!((status, &body["port"]["status"]), (200, &json!("ACTIVE")));
    assert_eq!(
        (&body["port"]["binding:host_id"], &body["port"]["binding:vif_type"]),
        (&json!("h1"), &json!("bridge"))
    );
    assert_eq!(error_type(&cloud.put("alice", &path, bind).await), (403, "PolicyNotAuthorized"));
    let (_, seen) = cloud.get("alice", &path).await;
    assert_eq!(seen["port"]["status"], "ACTIVE");
    assert!(seen["port"].get("binding:host_id").is_none());
    let mac = json!({"port": {"mac_address": "fa:16:3e:00:00:09"}});
    assert_eq!(error_type(&cloud.put("service", &path, mac).await), (409, "PortBound"));
    let (_, body) = cloud.put("service", &path, json!({"port": {"binding:host_id": ""}})).await;
    assert_eq!(body["port"]["status"], "DOWN");
    cloud.stop().await;
}

async fn readdress(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.network("alice", "n").await;
    let (a, b) = (
        cloud.subnet("alice", &network, "10.1.0.0/24").await,
        cloud.subnet("alice", &network, "10.2.0.0/24").await,
    );
    let (_, body) = cloud.port("alice", &network, json!({})).await;
    assert_eq!(ip(&body), "10.1.0.2");
    let path = format!("/v2.0/ports/{}", body["port"]["id"].as_str().unwrap());
    let set = |ips: serde_json::Value| cloud.put("alice", &path, json!({"port": {"fixed_ips": ips}}));
    let (status, body) = set(json!([{"subnet_id": b}, {"subnet_id": a}, {"ip_address": "10.1.0.9"}])).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        body["port"]["fixed_ips"],
        json!([{"subnet_id": b, "ip_address": "10.2.0.2"}, {"subnet_id": a, "ip_address": "10.1.0.2"},
               {"subnet_id": a, "ip_address": "10.1.0.9"}])
    );
    let (_, body) = set(json!([{"ip_address": "10.1.0.9"}])).await;
    assert_eq!(body["port"]["fixed_ips"], json!([{"subnet_id": a, "ip_address": "10.1.0.9"}]));
    let (_, second) = cloud.port("alice", &network, json!({})).await;
    assert_eq!(ip(&second), "10.1.0.2", "what was given back is free");
    assert_eq!(
        error_type(&set(json!([{"ip_address": "10.1.0.2"}])).await),
        (409, "IpAddressAlreadyAllocated")
    );
    let (_, body) = cloud.get("alice", &path).await;
    assert_eq!(ip(&body), "10.1.0.9", "a refused change changes nothing");
    let (_, body) = set(json!([])).await;
    assert_eq!((&body["port"]["fixed_ips"], &body["port"]["ip_allocation"]), (&json!([]), &json!("none")));
    cloud.stop().await;
}

async fn absent(store: &Store) {
    let cloud = Cloud::start(store).await;
    for path in ["routers", "floatingips", "security-groups", "security-group-rules", "subnetpools", "trunks"]
    {
        let answer = cloud.get("admin", &format!("/v2.0/{path}")).await;
        assert_eq!(error_type(&answer), (404, "HTTPNotFound"), "{path}");
    }
    cloud.stop().await;
}

async fn ipv6(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.network("alice", "n").await;
    cloud.subnet("alice", &network, "10.1.0.0/24").await;
    let body = json!({"subnet": {"network_id": network, "ip_version": 6, "cidr": "2001:db8::/64",
        "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}});
    let (status, body) = cloud.post("alice", "/v2.0/subnets", body).await;
    assert_eq!((status, &body["subnet"]["ipv6_ra_mode"]), (201, &json!("slaac")), "{body}");
    let (_, body) = cloud.port("alice", &network, json!({})).await;
    let ips: Vec<_> =
        body["port"]["fixed_ips"].as_array().unwrap().iter().map(|i| &i["ip_address"]).collect();
    assert_eq!(json!(ips), json!(["10.1.0.2", "2001:db8::2"]));
    cloud.stop().await;
}

async fn service_types(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.network("alice", "n").await;
    cloud.subnet("alice", &network, "10.1.0.0/24").await;
    let body = |cidr: &str| json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": cidr, "service_types": ["compute:nova"]}});
    assert_eq!(cloud.post("alice", "/v2.0/subnets", body("10.2.0.0/24")).await.0, 403);
    assert_eq!(cloud.post("admin", "/v2.0/subnets", body("10.2.0.0/24")).await.0, 201);
    for (owner, expected) in [("compute:nova", "10.2.0.2"), ("other", "10.1.0.2"), ("", "10.1.0.3")] {
        let (_, port) = cloud.port("alice", &network, json!({"device_owner": owner})).await;
        assert_eq!(ip(&port), expected, "{owner}");
    }
    cloud.stop().await;
}
