//! What the first start makes: the shared network `private`, which every project's servers may use.

use crate::{
    address::{default_pools, first_host},
    attribute::check,
    prefix,
    store::{
        self, allocation,
        bootstrap::Made,
        network::{self, Network},
        subnet::{self, Subnet},
    },
};
use ferrostack_client::ServiceClient;
use ferrostack_db::{Change, Db};
use ferrostack_model::{Error, Result, Timestamp, id};
use ferrostack_settings::{Network as NetworkSettings, Settings};
use ipnet::IpNet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Name of the network and of its row in `bootstrap`.
const NAME: &str = "private";
/// Pause between questions to an identity service that does not answer.
const RETRY: Duration = Duration::from_secs(5);

fn private_cidr(settings: &NetworkSettings) -> Result<IpNet> {
    let wrong = |reason: &str| {
        Error::internal(format!("network.private_cidr = '{}': {reason}", settings.private_cidr))
    };
    check::cidr(&settings.private_cidr.clone().into()).map_err(|e| wrong(&e))?;
    let net: IpNet = settings.private_cidr.parse().map_err(|_| wrong("not a prefix"))?;
    let version = if matches!(net, IpNet::V4(_)) { 4 } else { 6 };
    prefix::check_cidr(&net, version, true).map_err(|e| wrong(&e.public))?;
    Ok(net)
}

/// Makes the network `private` once; later follows a changed `network.private_cidr` while no port has an address.
/// A network that an admin deleted stays deleted.
pub async fn private_network(db: &Db, settings: &NetworkSettings) -> Result<()> {
    let cidr = private_cidr(settings)?;
    match store::bootstrap::get(db, NAME).await? {
        None => make(db, settings, cidr).await,
        Some(made) => follow(db, settings, cidr, &made.subnet_id).await,
    }
}

async fn make(db: &Db, settings: &NetworkSettings, cidr: IpNet) -> Result<()> {
    let now = Timestamp::now();
    let network = Network {
        id: id::uuid(),
        project_id: String::new(),
        name: NAME.into(),
        description: String::new(),
        admin_state_up: true,
        shared: true,
        mtu: 1500,
        port_security_enabled: false,
        dns_domain: String::new(),
        availability_zone_hints: Vec::new(),
        tags: Vec::new(),
        created_at: now,
        updated_at: now,
        generation: 1,
    };
    let gateway = first_host(&cidr);
    let subnet = Subnet {
        id: id::uuid(),
        network_id: network.id.clone(),
        project_id: String::new(),
        name: "private-subnet".into(),
        description: String::new(),
        cidr,
        gateway_ip: Some(gateway),
        enable_dhcp: true,
        allocation_pools: default_pools(&cidr, Some(gateway)),
        dns_nameservers: settings.dns_nameservers.clone(),
        host_routes: Vec::new(),
        ipv6_ra_mode: None,
        ipv6_address_mode: None,
        service_types: Vec::new(),
        tags: Vec::new(),
        created_at: now,
        updated_at: now,
        generation: 1,
    };
    let made = Made { network_id: network.id.clone(), subnet_id: subnet.id.clone() };
    let mut tx = db.begin_write().await?;
    if !store::bootstrap::insert(&mut tx, NAME, &made).await? {
        return Ok(());
    }
    network::insert(&mut tx, &network).await?;
    subnet::insert(&mut tx, &subnet).await?;
    tx.commit().await.map_err(ferrostack_db::db_error)?;
    tracing::info!(network = network.id, %cidr, "made the network private");
    Ok(())
}

async fn follow(db: &Db, settings: &NetworkSettings, cidr: IpNet, subnet_id: &str) -> Result<()> {
    let Some(mut subnet) = subnet::get(db, subnet_id).await? else { return Ok(()) };
    if subnet.cidr == cidr {
        return Ok(());
    }
    let mut tx = db.begin_write().await?;
    if allocation::lock(&mut tx, subnet_id).await?.is_none() {
        return Ok(());
    }
    let others = subnet::of_network(&mut tx, &subnet.network_id).await?;
    let overlaps = others.iter().any(|s| s.id != subnet.id && prefix::overlap(&s.cidr, &cidr));
    if overlaps || allocation::any(&mut tx, subnet_id).await? {
        tracing::warn!(kept = %subnet.cidr, wanted = %cidr, "network.private_cidr not followed: in use");
        return Ok(());
    }
    let gateway = first_host(&cidr);
    subnet.cidr = cidr;
    subnet.gateway_ip = Some(gateway);
    subnet.allocation_pools = default_pools(&cidr, Some(gateway));
    subnet.dns_nameservers = settings.dns_nameservers.clone();
    subnet.host_routes.clear();
    subnet.updated_at = Timestamp::now();
    allocation::rewind(&mut tx, subnet_id).await?;
    if subnet::update(&mut tx, &subnet).await? == Change::Updated {
        tx.commit().await.map_err(ferrostack_db::db_error)?;
        tracing::info!(%cidr, "the network private follows network.private_cidr");
    }
    Ok(())
}

/// Gives what was bootstrapped to the project of the service users, once identity says which that is.
pub fn find_owner(db: Db, settings: &Settings, stop: CancellationToken) -> Result<()> {
    let client = ServiceClient::new(&settings.credentials)?;
    tokio::spawn(async move {
        loop {
            match adopt(&db, &client).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(error = error.for_log(), "owner of the network private unknown")
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    });
    Ok(())
}

async fn adopt(db: &Db, client: &ServiceClient) -> Result<()> {
    if !network::any_without_owner(db).await? {
        return Ok(());
    }
    let session = client.session().await?;
    let mut tx = db.begin_write().await?;
    network::adopt(&mut tx, &session.project_id).await?;
    tx.commit().await.map_err(ferrostack_db::db_error)
}
