//! Creating ports.

use super::*;
use crate::store::{allocation::Allocator, quota::Resource, subnet::Subnet};
use ferrostack_db::Tx;
use std::collections::{BTreeMap, BTreeSet};

/// Generated MAC addresses tried before giving up.
const MAC_TRIES: usize = 16;

/// A port to be made.
struct Draft {
    port: Port,
    wanted: Option<Vec<Wanted>>,
    /// Whether the client gave the MAC address.
    own_mac: bool,
}

/// What became of the drafts.
enum Outcome {
    Made,
    /// Another request used the key first.
    KeyInUse,
}

fn random_mac() -> String {
    let [a, b, c]: [u8; 3] = rand::random();
    format!("fa:16:3e:{a:02x}:{b:02x}:{c:02x}")
}

/// The key of the request, from those who may use one.
fn client_key(req: &HttpRequest, ctx: &Ctx, bulk: bool) -> Result<Option<String>> {
    let Some(value) = req.headers().get(KEY_HEADER) else { return Ok(None) };
    if !ctx.caller()?.has_role("service") {
        return Err(Error::forbidden(format!("{KEY_HEADER} is for services only.")));
    }
    let key = value.to_str().ok().map(str::trim).filter(|k| !k.is_empty() && k.len() <= 255);
    match key {
        Some(key) if !bulk => Ok(Some(key.to_owned())),
        _ => Err(http_bad_request(format!("{KEY_HEADER} must be 1 to 255 characters and for one port"))),
    }
}

fn build(network: &Network, fields: &Fields) -> Result<Draft> {
    let now = Timestamp::now();
    let own_mac = fields.some("mac_address");
    let port = Port {
        id: id::uuid(),
        network_id: network.id.clone(),
        project_id: fields.text("project_id"),
        name: fields.text("name"),
        description: fields.text("description"),
        mac_address: if own_mac { fields.text("mac_address") } else { random_mac() },
        admin_state_up: fields.flag("admin_state_up"),
        device_id: fields.text("device_id"),
        device_owner: fields.text("device_owner"),
        binding_host: fields.text("binding:host_id"),
        vnic_type: fields.text("binding:vnic_type"),
        binding_profile: fields.values.get("binding:profile").cloned().unwrap_or_else(|| json!({})),
        port_security_enabled: if fields.has("port_security_enabled") {
            fields.flag("port_security_enabled")
        } else {
            network.port_security_enabled
        },
        dns_name: fields.text("dns_name"),
        fixed_ips: Vec::new(),
        tags: fields.list("tags")?,
        created_at: now,
        updated_at: now,
        generation: 1,
        network_project_id: network.project_id.clone(),
        network_shared: network.shared,
        network_dns_domain: network.dns_domain.clone(),
    };
    Ok(Draft { port, wanted: wanted(fields)?, own_mac })
}

async fn drafts(
    ctx: &Ctx,
    app: &App,
    bodies: Vec<&serde_json::Map<String, serde_json::Value>>,
) -> Result<Vec<Draft>> {
    let mut networks: BTreeMap<String, Network> = BTreeMap::new();
    let mut drafts = Vec::new();
    for given in bodies {
        let fields = PORT.create(ctx, given)?;
        let network_id = fields.text("network_id");
        if !networks.contains_key(&network_id) {
            let network = super::super::network::visible(ctx, app, &network_id).await?;
            networks.insert(network_id.clone(), network);
        }
        let network =
            networks.get(&network_id).ok_or_else(|| crate::error::network_not_found(&network_id))?;
        let draft = build(network, &fields)?;
        enforce(ctx, "create_port", &fields, draft.wanted.as_deref(), &target(&draft.port))?;
        drafts.push(draft);
    }
    Ok(drafts)
}

pub(super) async fn create(req: HttpRequest, ctx: Ctx, app: State, body: JsonBody) -> ApiResult {
    let (bodies, bulk) = PORT.bodies(&body.0)?;
    let key = client_key(&req, &ctx, bulk)?;
    let mut drafts = drafts(&ctx, &app, bodies).await?;
    if let Some(key) = &key
        && let Some(port) = store::port::by_client_key(&app.db, key).await?
    {
        return replay(&ctx, &drafts, &port);
    }
    let limits = super::super::quota::limits(&app, drafts.iter().map(|d| d.port.project_id.as_str())).await?;
    let mut tx = app.db.begin_write().await?;
    limits.reserve(&mut tx, Resource::Port).await?;
    match insert(&mut tx, &mut drafts, key.as_deref()).await? {
        Outcome::Made => {}
        Outcome::KeyInUse => {
            drop(tx);
            let key = key.as_deref().unwrap_or("");
            let port = store::port::by_client_key(&app.db, key).await?;
            // Made and deleted again in this moment: the caller may try once more.
            let port = port.ok_or_else(|| store::contended("idempotency key", key))?;
            return replay(&ctx, &drafts, &port);
        }
    }
    commit(tx).await?;
    let views = drafts.iter().map(|d| render(&ctx, &d.port)).collect();
    created(&made("port", "ports", bulk, views)?)
}

/// The port of an earlier request with the same key; `Conflict` if that was for another network.
fn replay(ctx: &Ctx, drafts: &[Draft], port: &Port) -> ApiResult {
    if drafts.iter().any(|d| d.port.network_id != port.network_id) {
        let text = format!("The idempotency key was used for port {} on another network.", port.id);
        return Err(Error::conflict(text).named("IdempotencyKeyInUse").into());
    }
    json(&json!({"port": render(ctx, port)}))
}

async fn insert(tx: &mut Tx, drafts: &mut [Draft], key: Option<&str>) -> Result<Outcome> {
    let mut subnets: BTreeMap<String, Vec<Subnet>> = BTreeMap::new();
    for draft in drafts.iter() {
        let network_id = &draft.port.network_id;
        if !subnets.contains_key(network_id) {
            subnets.insert(network_id.clone(), store::subnet::of_network(tx, network_id).await?);
        }
    }
    let locks: BTreeSet<String> = subnets.values().flatten().map(|s| s.id.clone()).collect();
    let mut allocator = Allocator::lock(tx, &locks).await?;
    for draft in drafts.iter_mut() {
        if !insert_row(&mut allocator, draft, key).await? {
            return Ok(Outcome::KeyInUse);
        }
        let port = &mut draft.port;
        let on_network = subnets.get(&port.network_id).map_or(&[][..], Vec::as_slice);
        port.fixed_ips =
            super::address::take(&mut allocator, port, on_network, draft.wanted.as_deref()).await?;
        store::port::set_fixed_ips(allocator.tx(), &port.id, &port.fixed_ips).await?;
    }
    allocator.finish().await?;
    Ok(Outcome::Made)
}

/// Inserts the port's row, under another MAC address if the drawn one is in use. `false` if the key is in use.
async fn insert_row(allocator: &mut Allocator<'_>, draft: &mut Draft, key: Option<&str>) -> Result<bool> {
    for _ in 0..MAC_TRIES {
        let port = &mut draft.port;
        if store::port::insert(allocator.tx(), port, key).await? {
            return Ok(true);
        }
        if let Some(key) = key
            && store::port::key_in_use(allocator.tx(), key).await?
        {
            return Ok(false);
        }
        if draft.own_mac {
            return Err(mac_in_use(&port.network_id, &port.mac_address));
        }
        port.mac_address = random_mac();
    }
    let text = format!("Unable to generate unique mac on network {}.", draft.port.network_id);
    Err(Error::new(ferrostack_model::ErrorKind::Unavailable, text).named("MacAddressGenerationFailure"))
}
