//! The world around compute for tests: an image and a network service, a scheduler, and agents with guests.

use actix_web::{App as Web, HttpRequest, HttpResponse, HttpServer, web};
use async_trait::async_trait;
use ferrostack_bus::{Address, Bus, Handler, LocalBus, Source, Verdict};
use ferrostack_compute_api::store;
use ferrostack_db::{Db, sqlx};
use ferrostack_model::{
    Timestamp,
    guest::WantedPower,
    guest_change::{GuestChange, NO_GUEST_AGENT},
    guest_move::GuestMove,
    host::{GuestState, HostReport},
    id,
    message::{
        AgentAnswer, AgentInquiry, AgentOrder, CacheImages, Envelope, GuestsReport, HostsUpdate, Message,
        Order, Outcome, ScheduleAnswer, ScheduleRequest,
    },
    placement::{Decision, PlacementRequest, Rejection},
    server::PowerState,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

pub const IMAGE: &str = "11111111-1111-4111-8111-111111111111";
pub const KERNEL: &str = "22222222-2222-4222-8222-222222222222";
pub const QUEUED: &str = "33333333-3333-4333-8333-333333333333";
pub const BIG: &str = "44444444-4444-4444-8444-444444444444";
pub const NETWORK: &str = "55555555-5555-4555-8555-555555555555";
pub const EMPTY_NETWORK: &str = "66666666-6666-4666-8666-666666666666";
pub const SUBNET: &str = "77777777-7777-4777-8777-777777777777";

/// What everybody in the world knows.
#[derive(Default)]
pub struct State {
    pub ports: BTreeMap<String, Value>,
    keys: HashMap<String, String>,
    next_ip: u32,
    /// Guests by host and server.
    pub guests: HashMap<String, HashMap<String, PowerState>>,
    ledger: HashMap<(String, String), (i64, Outcome)>,
    /// Hosts on which every build fails, with whether another may succeed.
    pub failing: HashMap<String, bool>,
    /// Hosts that do not answer at all.
    pub mute: HashSet<String>,
    /// Orders to lose, by kind of order.
    pub lose: HashMap<&'static str, u32>,
    /// Orders seen, as `host verb`.
    pub orders: Vec<String>,
    /// Whether the scheduler finds nothing.
    pub no_host: bool,
    /// Whether the scheduler is silent.
    pub no_scheduler: bool,
    /// Calls for ports are held while this is set.
    pub slow_ports: bool,
    /// Host states told to schedulers.
    pub told: HashMap<String, ferrostack_model::host::HostState>,
    pub shared_networks: usize,
    /// Images that were made, by id.
    pub images: BTreeMap<String, Value>,
    /// Members of images, as `image project`.
    pub image_members: Vec<String>,
    /// What the image service answers to new images, if not success.
    pub refuse_images: Option<u16>,
    /// Agents wait with a snapshot until this is not set any more.
    pub slow_snapshots: bool,
    /// Members of images that differ from the usual ones, by image id.
    pub odd_images: BTreeMap<String, Value>,
    /// Requests that the scheduler got.
    pub requests: Vec<PlacementRequest>,
    /// Orders to wipe, as `server preserved`.
    pub rebuilds: Vec<String>,
    /// Images that agents were told to cache, as `host image`.
    pub cached: Vec<String>,
    /// Guests on their way.
    pub live: crate::live_world::LiveWorld,
    /// When hosts were started, if that is told.
    pub booted: HashMap<String, Timestamp>,
    /// What servers were rescued with.
    pub rescues: HashMap<String, ferrostack_model::guest_change::RescueSpec>,
    /// Passwords that were set, by server.
    pub passwords: HashMap<String, String>,
    /// No guest has an agent inside.
    pub no_guest_agent: bool,
    /// What was asked of agents by HTTP.
    pub asked: Vec<String>,
    /// Specs that agents got, by server.
    pub specs: BTreeMap<String, ferrostack_model::guest::GuestSpec>,
    /// What is on disks, by host and server.
    pub disks: HashMap<(String, String), String>,
    /// A host the scheduler does not choose.
    pub avoid: Option<String>,
    /// Disks that are kept aside.
    pub kept: HashMap<(String, String), String>,
}

/// The world.
#[derive(Clone)]
pub struct World {
    pub state: Arc<Mutex<State>>,
    pub bus: Arc<LocalBus>,
    /// URL of the image and network services.
    pub url: String,
    pub hosts: Vec<String>,
    pub stop: CancellationToken,
}

fn image(id: &str) -> Option<Value> {
    let (status, min_disk, size, more) = match id {
        IMAGE => ("active", 1, 1000, json!({"kernel_id": "", "hw_disk_bus": "virtio"})),
        KERNEL => ("active", 0, 10, json!({})),
        QUEUED => ("queued", 0, 10, json!({})),
        BIG => ("active", 50, 1000, json!({})),
        _ => return None,
    };
    let mut body = json!({"id": id, "name": "x", "status": status, "disk_format": "qcow2", "container_format": "bare",
        "size": size, "virtual_size": 2000, "min_disk": min_disk, "min_ram": 1, "os_hash_algo": "sha512",
        "os_hash_value": "ab", "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "visibility": "public", "owner": "o", "tags": []});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    Some(body)
}

fn missing() -> HttpResponse {
    HttpResponse::NotFound()
        .json(json!({"NeutronError": {"type": "x", "message": "not found", "detail": ""}}))
}

type Shared = web::Data<Arc<Mutex<State>>>;

async fn make_image(state: Shared, body: web::Json<Value>) -> HttpResponse {
    let mut state = state.lock();
    if let Some(status) = state.refuse_images {
        let status = actix_web::http::StatusCode::from_u16(status).unwrap();
        return HttpResponse::build(status).json(json!({"message": "The image service says no."}));
    }
    let mut image = body.into_inner();
    let id = image["id"].as_str().unwrap().to_owned();
    image["status"] = json!("queued");
    image["owner"] = json!("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    image["created_at"] = json!(format!("{:08}", state.images.len()));
    state.images.insert(id, image.clone());
    HttpResponse::Created().json(image)
}

async fn share_image(id: web::Path<String>, state: Shared, body: web::Json<Value>) -> HttpResponse {
    let mut state = state.lock();
    if !state.images.contains_key(&*id) {
        return missing();
    }
    state.image_members.push(format!("{id} {}", body["member"].as_str().unwrap()));
    HttpResponse::Ok().json(json!({}))
}

async fn list_images(req: HttpRequest, state: Shared) -> HttpResponse {
    let query = ferrostack_http::query_pairs(req.query_string());
    let fits = |i: &&Value| {
        query
            .iter()
            .all(|(k, v)| matches!(k.as_str(), "sort" | "limit" | "marker") || i[k.as_str()] == v.as_str())
    };
    let mut found: Vec<Value> = state.lock().images.values().filter(fits).cloned().collect();
    found.sort_by_key(|i| std::cmp::Reverse(i["created_at"].as_str().unwrap().to_owned()));
    HttpResponse::Ok().json(json!({"images": found}))
}

async fn delete_image(id: web::Path<String>, state: Shared) -> HttpResponse {
    let mut state = state.lock();
    match state.images.get(&*id) {
        None => missing(),
        Some(image) if image["protected"] == true => {
            HttpResponse::Forbidden().json(json!({"message": "protected"}))
        }
        Some(_) => {
            state.images.remove(&*id);
            HttpResponse::NoContent().finish()
        }
    }
}

async fn patch_image(id: web::Path<String>, state: Shared, body: web::Bytes) -> HttpResponse {
    let patch: Value = serde_json::from_slice(&body).unwrap();
    let mut state = state.lock();
    let Some(image) = state.images.get_mut(&*id) else { return missing() };
    for change in patch.as_array().unwrap() {
        let name = change["path"].as_str().unwrap().trim_start_matches('/').to_owned();
        if change["op"] == "remove" {
            image.as_object_mut().unwrap().shift_remove(&name);
        } else {
            image[name] = change["value"].clone();
        }
    }
    HttpResponse::Ok().json(image)
}

async fn get_image(id: web::Path<String>, state: Shared) -> HttpResponse {
    let more = {
        let state = state.lock();
        if let Some(made) = state.images.get(&*id) {
            return HttpResponse::Ok().json(made);
        }
        state.odd_images.get(&*id).cloned()
    };
    let known = image(&id).or_else(|| {
        more.is_some().then(|| image(IMAGE)).flatten().map(|mut body| {
            body["id"] = json!(*id);
            body
        })
    });
    let Some(mut body) = known else { return missing() };
    for (name, value) in more.iter().filter_map(Value::as_object).flatten() {
        body[name] = value.clone();
    }
    HttpResponse::Ok().json(body)
}

fn networks(count: usize) -> Vec<Value> {
    (0..count)
        .map(|n| {
            let id =
                if n == 0 { NETWORK.to_owned() } else { format!("5555555{n}-5555-4555-8555-555555555555") };
            json!({"id": id, "name": if n == 0 { "private".into() } else { format!("net{n}") }, "mtu": 1450,
                "subnets": [SUBNET], "shared": true, "project_id": "admin"})
        })
        .chain([json!({"id": EMPTY_NETWORK, "name": "empty", "mtu": 1450, "subnets": [], "shared": true,
            "project_id": "admin"})])
        .collect()
}

async fn list_networks(state: Shared) -> HttpResponse {
    HttpResponse::Ok().json(json!({"networks": networks(state.lock().shared_networks)}))
}

async fn get_network(id: web::Path<String>, state: Shared) -> HttpResponse {
    let all = networks(state.lock().shared_networks.max(1));
    let found = all.into_iter().find(|n| n["id"] == *id);
    found.map_or_else(missing, |n| HttpResponse::Ok().json(json!({"network": n})))
}

async fn subnets() -> HttpResponse {
    HttpResponse::Ok()
        .json(json!({"subnets": [{"id": SUBNET, "cidr": "10.0.0.0/16", "gateway_ip": "10.0.0.1",
        "enable_dhcp": true, "dns_nameservers": ["9.9.9.9"]}]}))
}

async fn list_ports(req: HttpRequest, state: Shared) -> HttpResponse {
    let query = ferrostack_http::query_pairs(req.query_string());
    let fits = |p: &&Value| query.iter().all(|(k, v)| p[k.as_str()] == v.as_str());
    let found: Vec<Value> = state.lock().ports.values().filter(fits).cloned().collect();
    HttpResponse::Ok().json(json!({"ports": found}))
}

async fn make_port(req: HttpRequest, state: Shared, body: web::Json<Value>) -> HttpResponse {
    while state.lock().slow_ports {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let key =
        req.headers().get("X-Ferrostack-Idempotency-Key").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let mut state = state.lock();
    if let Some(known) = key.as_ref().and_then(|k| state.keys.get(k)).and_then(|id| state.ports.get(id)) {
        return HttpResponse::Created().json(json!({"port": known}));
    }
    let mut port = body["port"].clone();
    state.next_ip += 1;
    let n = state.next_ip;
    let ip = port["fixed_ips"][0]["ip_address"]
        .as_str()
        .map_or_else(|| format!("10.0.{}.{}", 1 + n / 250, 1 + n % 250), str::to_owned);
    port["id"] = json!(id::uuid());
    port["mac_address"] = json!(format!("fa:16:3e:00:{:02x}:{:02x}", n / 256, n % 256));
    port["fixed_ips"] = json!([{"subnet_id": SUBNET, "ip_address": ip}]);
    port["created_at"] = json!(Timestamp::now().iso());
    let port_id = port["id"].as_str().unwrap().to_owned();
    if let Some(key) = key {
        state.keys.insert(key, port_id.clone());
    }
    state.ports.insert(port_id, port.clone());
    HttpResponse::Created().json(json!({"port": port}))
}

async fn get_port(id: web::Path<String>, state: Shared) -> HttpResponse {
    let found = state.lock().ports.get(&*id).cloned();
    found.map_or_else(missing, |p| HttpResponse::Ok().json(json!({"port": p})))
}

async fn put_port(id: web::Path<String>, state: Shared, body: web::Json<Value>) -> HttpResponse {
    let mut state = state.lock();
    let Some(port) = state.ports.get_mut(&*id) else { return missing() };
    for (name, value) in body["port"].as_object().unwrap() {
        port[name] = value.clone();
    }
    HttpResponse::Ok().json(json!({"port": port}))
}

async fn delete_port(id: web::Path<String>, state: Shared) -> HttpResponse {
    match state.lock().ports.remove(&*id) {
        Some(_) => HttpResponse::NoContent().finish(),
        None => missing(),
    }
}

fn services(state: &Arc<Mutex<State>>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let data = web::Data::new(state.clone());
    let server = HttpServer::new(move || {
        Web::new()
            .app_data(data.clone())
            .route("/v2/images", web::post().to(make_image))
            .route("/v2/images", web::get().to(list_images))
            .route("/v2/images/{id}", web::get().to(get_image))
            .route("/v2/images/{id}", web::delete().to(delete_image))
            .route("/v2/images/{id}", web::patch().to(patch_image))
            .route("/v2/images/{id}/members", web::post().to(share_image))
            .route("/v2.0/networks", web::get().to(list_networks))
            .route("/v2.0/networks/{id}", web::get().to(get_network))
            .route("/v2.0/subnets", web::get().to(subnets))
            .route("/v2.0/ports", web::get().to(list_ports))
            .route("/v2.0/ports", web::post().to(make_port))
            .route("/v2.0/ports/{id}", web::get().to(get_port))
            .route("/v2.0/ports/{id}", web::put().to(put_port))
            .route("/v2.0/ports/{id}", web::delete().to(delete_port))
            .route("/hosts/{host}/servers/{id}/console", web::get().to(console))
            .route("/hosts/{host}/servers/{id}/{what}", web::to(asked))
    })
    .workers(1)
    .disable_signals()
    .listen(listener)
    .unwrap()
    .run();
    tokio::spawn(server);
    url
}

/// What agents answer to compute: diagnostics in numbers of their own, the rest done.
async fn asked(req: HttpRequest, path: web::Path<(String, String, String)>, state: Shared) -> HttpResponse {
    use ferrostack_model::diagnostics::{Diagnostics, DiskUse, NicUse};
    let (host, server, what) = path.into_inner();
    let mut state = state.lock();
    state.asked.push(format!("{} {what}", req.method()));
    let Some(power) = state.guests.get(&host).and_then(|g| g.get(&server)).copied() else {
        return HttpResponse::NotFound().finish();
    };
    match what.as_str() {
        "diagnostics" => {
            let mut told = Diagnostics::of_state(power, "kvm");
            if power == PowerState::Running {
                told.cpus = vec![17_300_000_000];
                (told.memory_kib, told.memory_used_kib) = (524_288, 524_288);
                told.memory.insert("rss".into(), 1000);
                told.disks.push(DiskUse {
                    name: "vda".into(),
                    read_bytes: 262_144,
                    errors: -1,
                    ..DiskUse::default()
                });
                told.nics.push(NicUse {
                    name: "vnet1".into(),
                    mac_address: "fa:16:3e:00:00:01".into(),
                    rx_bytes: 2_070_139,
                    ..NicUse::default()
                });
            }
            HttpResponse::Ok().json(told)
        }
        "crash-dump" if power != PowerState::Running => HttpResponse::Conflict().finish(),
        "crash-dump" => HttpResponse::Accepted().finish(),
        "password" => HttpResponse::NoContent().finish(),
        _ => HttpResponse::NotFound().finish(),
    }
}

async fn console(path: web::Path<(String, String)>, state: Shared) -> HttpResponse {
    let (host, server) = path.into_inner();
    if state.lock().guests.get(&host).is_some_and(|g| g.contains_key(&server)) {
        HttpResponse::Ok().body(format!("one\ntwo\nlogin on {server}\n"))
    } else {
        HttpResponse::NotFound().finish()
    }
}

impl World {
    /// A world with hosts `host1` … `hostN`; its agents and scheduler listen.
    pub async fn start(bus: Arc<LocalBus>, hosts: usize) -> Self {
        let state = Arc::new(Mutex::new(State { shared_networks: 1, ..State::default() }));
        let url = services(&state);
        let hosts: Vec<String> = (1..=hosts).map(|n| format!("host{n}")).collect();
        let world = Self { state, bus, url, hosts, stop: CancellationToken::new() };
        let me = || Arc::new(world.clone());
        world.bus.consume(Source::Scheduler, 16, me(), world.stop.clone()).await.unwrap();
        world.bus.consume(Source::Hosts, 16, me(), world.stop.clone()).await.unwrap();
        for host in &world.hosts {
            let agent = Arc::new(Agent { host: host.clone(), world: world.clone() });
            world.bus.consume(Source::Agent(host.clone()), 16, agent, world.stop.clone()).await.unwrap();
        }
        world
    }

    pub fn report(&self, host: &str) -> HostReport {
        HostReport {
            host: host.into(),
            hypervisor_hostname: format!("{host}.example"),
            hypervisor_type: "QEMU".into(),
            hypervisor_version: 7_002_000,
            arch: "x86_64".into(),
            vcpus: 16,
            memory_mb: 65_536,
            local_gb: 1000,
            cpu_info: json!({}),
            host_ip: "192.0.2.1".into(),
            agent_url: self.url.clone(),
            uptime_seconds: 1,
            availability_zone: "nova".into(),
            agent_start: Timestamp(1),
        }
    }

    /// Writes a heartbeat of every host.
    pub async fn beat(&self, db: &Db, at: Timestamp) {
        let mut tx = db.begin_write().await.unwrap();
        for host in &self.hosts {
            store::hosts::report(&mut tx, &self.report(host), at).await.map_err(|e| e.for_log()).unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn tell<M: Message>(&self, message: &M) {
        self.bus.publish(&Address::Compute, &Envelope::new(message, None).unwrap()).await.unwrap();
    }

    /// What a host's agent reports of its guests.
    pub async fn report_guests(&self, host: &str, at: Timestamp, full: bool) {
        let guests = self.state.lock().guests.get(host).cloned().unwrap_or_default();
        let guests = guests
            .into_iter()
            .map(|(server_id, power)| GuestState { server_id, generation: 1, power })
            .collect();
        let report = GuestsReport {
            host: host.into(),
            agent_start: Timestamp(1),
            observed_at: at,
            guests,
            full,
            host_booted_at: self.state.lock().booted.get(host).copied().unwrap_or_default(),
        };
        self.tell(&report).await;
    }

    pub fn guest_count(&self) -> usize {
        self.state.lock().guests.values().map(HashMap::len).sum()
    }

    /// Nothing is held by anybody.
    pub async fn assert_empty(&self, db: &Db) {
        assert_eq!(self.guest_count(), 0, "guests are left");
        let ports: Vec<Value> = self.state.lock().ports.values().cloned().collect();
        assert!(ports.is_empty(), "ports are left: {ports:?}");
        self.assert_unclaimed(db).await;
        let rows: i64 = count(db, "SELECT COUNT(*) FROM guests").await;
        assert_eq!(rows, 0, "rows of guests are left");
        let secrets: i64 = count(
            db,
            "SELECT COUNT(*) FROM server_inputs WHERE admin_pass IS NOT NULL OR personality IS NOT NULL",
        )
        .await;
        assert_eq!(secrets, 0, "secrets are left");
    }

    pub async fn assert_unclaimed(&self, db: &Db) {
        assert_eq!(count(db, "SELECT COUNT(*) FROM claims").await, 0, "claims are left");
        let sums = "SELECT CAST(COALESCE(SUM(vcpus_used + memory_mb_used + local_gb_used + num_instances), 0) AS BIGINT) FROM hosts";
        assert_eq!(count(db, sums).await, 0, "capacity is held");
    }
}

pub async fn count(db: &Db, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(db.reader()).await.unwrap()
}

#[async_trait]
impl Handler for World {
    async fn handle(&self, message: Envelope) -> Verdict {
        if message.kind == HostsUpdate::KIND {
            let update: HostsUpdate = message.open().unwrap();
            let mut state = self.state.lock();
            for host in update.hosts {
                state.told.insert(host.host.clone(), host);
            }
            return Verdict::Ack;
        }
        let wanted: ScheduleRequest = message.open().unwrap();
        let (silent, none) = {
            let mut state = self.state.lock();
            state.requests.push(wanted.request.clone());
            (state.no_scheduler, state.no_host)
        };
        if silent {
            return Verdict::Ack;
        }
        let avoid = self.state.lock().avoid.clone();
        let fits = |h: &&String| {
            avoid.as_ref() != Some(*h)
                && !wanted.request.excluded_hosts.contains(h)
                && wanted.request.host.as_ref().is_none_or(|w| w == *h)
                && wanted.request.image_properties.get("hw_architecture").is_none_or(|a| a == "x86_64")
        };
        let hosts: Vec<String> =
            if none { Vec::new() } else { self.hosts.iter().filter(fits).cloned().collect() };
        let rejections = if hosts.is_empty() {
            vec![Rejection {
                filter: "RamFilter".into(),
                reason: "too little memory".into(),
                hosts: self.hosts.clone(),
            }]
        } else {
            Vec::new()
        };
        let decision = Decision { hosts, rejections, considered: self.hosts.len() };
        let answer = ScheduleAnswer {
            job_id: wanted.job_id,
            server_id: wanted.server_id,
            generation: wanted.generation,
            attempt: wanted.attempt,
            decision,
        };
        self.tell(&answer).await;
        Verdict::Ack
    }
}

/// A step of a move, as an agent does it: the disk follows, and nothing moves while a guest runs.
fn moved(state: &mut State, key: &(String, String), step: &GuestMove) -> Outcome {
    let (host, server) = key;
    match step {
        GuestMove::Receive { from, .. } => {
            assert_eq!(state.guests[&from.host][server], PowerState::Shutdown, "moved while it runs");
            let disk = state.disks[&(from.host.clone(), server.clone())].clone();
            state.disks.insert(key.clone(), disk);
        }
        GuestMove::Resize { .. } => {
            let disk = state.disks[key].clone();
            state.kept.entry(key.clone()).or_insert(disk);
        }
        GuestMove::Revert { .. } => {
            if let Some(disk) = state.kept.remove(key) {
                state.disks.insert(key.clone(), disk);
            }
        }
        GuestMove::Forget => {
            state.kept.remove(key);
            return Outcome::Done { power: PowerState::NoState };
        }
    }
    let spec = step.spec().unwrap().clone();
    let power = match spec.power {
        WantedPower::Running => PowerState::Running,
        WantedPower::Stopped => PowerState::Shutdown,
    };
    state.specs.insert(server.clone(), spec);
    state.guests.entry(host.clone()).or_default().insert(server.clone(), power);
    Outcome::Done { power }
}

struct Agent {
    host: String,
    world: World,
}

impl Agent {
    fn obey(&self, order: &AgentOrder) -> Option<Outcome> {
        let mut state = self.world.state.lock();
        let state = &mut *state;
        let verb = match &order.order {
            Order::Ensure { .. } => "ensure",
            Order::Rebuild { .. } => "rebuild",
            Order::Start => "start",
            Order::Stop { .. } => "stop",
            Order::RebootSoft { .. } => "reboot-soft",
            Order::RebootHard => "reboot-hard",
            Order::Destroy => "destroy",
            Order::Snapshot { .. } => "snapshot",
            Order::Nics { .. } => "nics",
            Order::Change { change } => change.as_str(),
            Order::Migrate { part } => part.verb(),
            Order::Move { step } => step.as_str(),
        };
        if let Some(left) = state.lose.get_mut(verb)
            && *left > 0
        {
            *left -= 1;
            return None;
        }
        if state.mute.contains(&self.host) {
            return None;
        }
        state.orders.push(format!("{} {verb}", self.host));
        let key = (self.host.clone(), order.server_id.clone());
        match state.ledger.get(&key) {
            Some((seen, _)) if *seen > order.generation => return Some(Outcome::Superseded),
            Some((seen, outcome)) if *seen == order.generation => return Some(outcome.clone()),
            _ => {}
        }
        let failing = state.failing.get(&self.host).copied();
        let outcome = match &order.order {
            Order::Ensure { spec } | Order::Rebuild { spec, .. } => {
                assert_eq!(spec.generation, order.generation);
                state.specs.insert(order.server_id.clone(), (**spec).clone());
                let guests = state.guests.entry(self.host.clone()).or_default();
                // A failed build may leave something behind.
                let power = match spec.power {
                    WantedPower::Running => PowerState::Running,
                    WantedPower::Stopped => PowerState::Shutdown,
                };
                guests.insert(order.server_id.clone(), power);
                let made = format!("disk {}", state.disks.len());
                state.disks.entry(key.clone()).or_insert(made);
                match failing {
                    Some(retry_elsewhere) => Outcome::Failed {
                        message: "The disk is full.".into(),
                        details: "ENOSPC".into(),
                        retry_elsewhere,
                    },
                    None => Outcome::Done { power },
                }
            }
            Order::Migrate { part } => crate::live_world::part(state, &self.host, order, part)?,
            Order::Nics { spec } if failing.is_none() => {
                let guest = state.guests.get(&self.host).and_then(|g| g.get(&order.server_id)).copied();
                state.specs.insert(order.server_id.clone(), (**spec).clone());
                match guest {
                    Some(power) => Outcome::Done { power },
                    None => Outcome::Failed {
                        message: "There is no such guest.".into(),
                        details: String::new(),
                        retry_elsewhere: false,
                    },
                }
            }
            Order::Destroy => {
                crate::live_world::forget(state, &self.host, &order.server_id);
                let guests = state.guests.entry(self.host.clone()).or_default();
                guests.remove(&order.server_id);
                state.disks.remove(&key);
                state.kept.remove(&key);
                Outcome::Done { power: PowerState::NoState }
            }
            Order::Move { .. } if failing.is_some() => Outcome::Failed {
                message: "The disk cannot be moved.".into(),
                details: "EIO".into(),
                retry_elsewhere: false,
            },
            Order::Move { step } => moved(state, &key, step),
            Order::Snapshot { .. } if failing.is_some() => Outcome::Failed {
                message: "The disk cannot be copied.".into(),
                details: "EIO".into(),
                retry_elsewhere: false,
            },
            Order::Snapshot { .. } if state.slow_snapshots => {
                Outcome::Working { detail: "image_uploading".into() }
            }
            Order::Snapshot { snapshot } => {
                let power = state.guests[&self.host][&order.server_id];
                match state.images.get_mut(&snapshot.image_id) {
                    Some(image) => {
                        image["status"] = json!("active");
                        Outcome::Done { power }
                    }
                    None => Outcome::Failed {
                        message: format!("Image {} could not be found.", snapshot.image_id),
                        details: String::new(),
                        retry_elsewhere: false,
                    },
                }
            }
            Order::Change { change: GuestChange::SetPassword { .. } } if state.no_guest_agent => {
                Outcome::Failed {
                    message: NO_GUEST_AGENT.into(),
                    details: "agent unresponsive".into(),
                    retry_elsewhere: false,
                }
            }
            other => {
                if let Order::Change { change: GuestChange::SetPassword { user, password } } = other {
                    state.passwords.insert(order.server_id.clone(), format!("{user}:{}", password.0));
                }
                if let Order::Change { change: GuestChange::Rescue { rescue } } = other {
                    state.rescues.insert(order.server_id.clone(), (**rescue).clone());
                }
                let power = match (other, verb) {
                    (Order::Stop { .. }, _) | (_, "suspend") => PowerState::Shutdown,
                    (_, "pause") => PowerState::Paused,
                    _ => PowerState::Running,
                };
                let guests = state.guests.entry(self.host.clone()).or_default();
                match guests.get_mut(&order.server_id) {
                    Some(_) if failing.is_some() => Outcome::Failed {
                        message: "The guest does not listen.".into(),
                        details: "EIO".into(),
                        retry_elsewhere: false,
                    },
                    Some(slot) => {
                        *slot = power;
                        Outcome::Done { power }
                    }
                    None => Outcome::Failed {
                        message: "There is no such guest.".into(),
                        details: String::new(),
                        retry_elsewhere: false,
                    },
                }
            }
        };
        if let Order::Rebuild { preserve_ephemeral, .. } = &order.order {
            state.rebuilds.push(format!("{} {preserve_ephemeral}", order.server_id));
        }
        state.ledger.insert(key, (order.generation, outcome.clone()));
        Some(outcome)
    }
}

#[async_trait]
impl Handler for Agent {
    async fn handle(&self, message: Envelope) -> Verdict {
        if message.kind == CacheImages::KIND {
            let wanted: CacheImages = message.open().unwrap();
            let told = wanted.images.iter().map(|i| format!("{} {}", self.host, i.id));
            self.world.state.lock().cached.extend(told);
            return Verdict::Ack;
        }
        let (job_id, server_id, generation, outcome) = if message.kind == AgentInquiry::KIND {
            let asked: AgentInquiry = message.open().unwrap();
            let state = self.world.state.lock();
            if state.mute.contains(&self.host) {
                return Verdict::Ack;
            }
            let outcome = match state.ledger.get(&(self.host.clone(), asked.server_id.clone())) {
                Some((seen, outcome)) if *seen == asked.generation => outcome.clone(),
                Some((seen, _)) if *seen > asked.generation => Outcome::Superseded,
                _ => Outcome::Unknown,
            };
            (asked.job_id, asked.server_id, asked.generation, outcome)
        } else {
            let order: AgentOrder = message.open().unwrap();
            let Some(outcome) = self.obey(&order) else { return Verdict::Ack };
            (order.job_id, order.server_id, order.generation, outcome)
        };
        let answer = AgentAnswer { job_id, server_id, generation, host: self.host.clone(), outcome };
        self.world.tell(&answer).await;
        Verdict::Ack
    }
}
