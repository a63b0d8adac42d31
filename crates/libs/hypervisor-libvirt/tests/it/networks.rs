//! Networks: made once under concurrency, entries by port, gone with the last port.

use crate::support::{lab, mac, network, nic};
use ferrostack_hypervisor::Hypervisor;
use ferrostack_model::ErrorKind;
use ferrostack_model::guest::WantedPower;

#[tokio::test(flavor = "multi_thread")]
async fn many_guests_share_one_network() {
    let Some(lab) = lab().await else { return };
    let network = network(3);
    let mut guests = Vec::new();
    for i in 0..8u8 {
        let mut guest = lab.guest(b'B');
        guest.spec.power = WantedPower::Stopped;
        guest.spec.nics = vec![nic(&guest.spec.server_id, &network, 10 + i)];
        guests.push(guest);
    }
    let made = futures(guests.iter().map(|g| {
        let (driver, guest) = (lab.driver.clone(), g.clone());
        tokio::spawn(async move { driver.ensure(&guest).await.map(drop) })
    }))
    .await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    let xml = lab.virsh().lookup_network_by_uuid_string(&network.id).unwrap().xml_desc(0).unwrap();
    for (i, guest) in guests.iter().enumerate() {
        let entry = format!("<host mac='{}' ip='10.201.3.{}'/>", mac(&guest.spec.server_id), 10 + i);
        assert_eq!(xml.matches(&entry).count(), 1, "{entry} in {xml}");
    }
    assert!(xml.contains("<mtu size='1450'/>") && xml.contains("169.254.169.254"), "{xml}");
    // The address moves on: the entry follows.
    let mut moved = guests[0].clone();
    moved.spec.generation += 1;
    moved.spec.nics = vec![nic(&moved.spec.server_id, &network, 99)];
    lab.driver.ensure(&moved).await.unwrap();
    let xml = lab.virsh().lookup_network_by_uuid_string(&network.id).unwrap().xml_desc(0).unwrap();
    assert!(xml.contains("ip='10.201.3.99'") && !xml.contains("ip='10.201.3.10'"), "{xml}");
    let gone = futures(guests.iter().map(|g| {
        let (driver, id) = (lab.driver.clone(), g.spec.server_id.clone());
        tokio::spawn(async move { driver.destroy(&id).await })
    }))
    .await;
    assert!(gone.iter().all(Result::is_ok), "{gone:?}");
    assert!(lab.virsh().lookup_network_by_uuid_string(&network.id).is_err(), "gone with the last port");
}

async fn futures<T, I>(tasks: I) -> Vec<T>
where
    T: Send + 'static,
    I: Iterator<Item = tokio::task::JoinHandle<T>>,
{
    let tasks: Vec<_> = tasks.collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_with_alike_ids_do_not_collide_and_alike_addresses_are_refused() {
    let Some(lab) = lab().await else { return };
    let (one, mut two, mut three) = (network(4), network(5), network(4));
    // The same first eight digits: the same first choice of a name.
    two.id = format!("{}{}", &one.id[..8], &two.id[8..]);
    three.id = uuid::Uuid::new_v4().to_string();
    let mut guest = lab.guest(b'B');
    guest.spec.power = WantedPower::Stopped;
    let id = guest.spec.server_id.clone();
    guest.spec.nics = vec![nic(&id, &one, 10), nic(&id, &two, 10)];
    guest.spec.nics[1].mac_address = mac(&id).replace("fa:16:3e", "fa:16:3f");
    lab.driver.ensure(&guest).await.unwrap();
    let connect = lab.virsh();
    let names: Vec<String> = [&one.id, &two.id]
        .map(|id| connect.lookup_network_by_uuid_string(id).unwrap().bridge_name().unwrap())
        .into();
    assert_ne!(names[0], names[1]);
    assert!(names.iter().all(|n| n.starts_with("fs-") && n.len() <= 15), "{names:?}");

    let mut other = lab.guest(b'B');
    other.spec.power = WantedPower::Stopped;
    other.spec.nics = vec![nic(&other.spec.server_id, &three, 11)];
    let error = lab.driver.ensure(&other).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{}", error.for_log());
    lab.driver.destroy(&other.spec.server_id).await.unwrap();
    lab.assert_gone(&other.spec.server_id);
    assert!(connect.lookup_network_by_uuid_string(&three.id).is_err());
    lab.driver.destroy(&id).await.unwrap();
    for network in [&one, &two] {
        assert!(connect.lookup_network_by_uuid_string(&network.id).is_err());
    }
}
