//! The sections of the settings file.

use crate::Notifications;
use ferrostack_model::snapshot::SnapshotFormat;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A `tracing` filter: `info`, `debug,sqlx=warn`.
    pub level: String,
    /// Human or JSON.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info,actix_server=warn".into(), format: LogFormat::Human }
    }
}

/// `[database]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:DIRECTORY` or `postgres://user:password@host/database`.
    pub url: String,
    /// Connections a service may hold.
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: "sqlite:/var/lib/ferrostack/db".into(), max_connections: 10 }
    }
}

/// `[bus]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bus {
    /// `local:` (all in one process) or `amqp://user:password@host:port/vhost`.
    pub url: String,
}

impl Default for Bus {
    fn default() -> Self {
        Self { url: "local:".into() }
    }
}

/// `[credentials]`: this process as a user of the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Credentials {
    /// The identity service, `http://127.0.0.1:5000/v3`.
    pub auth_url: String,
    /// User in the domain Default, with the role service in the project service.
    pub username: String,
    /// File with the password, mode 0600.
    pub password_file: PathBuf,
    /// Project of the service users.
    pub project_name: String,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            auth_url: "http://127.0.0.1:5000/v3".into(),
            username: "ferrostack".into(),
            password_file: "/etc/ferrostack/service-password".into(),
            project_name: "service".into(),
        }
    }
}

/// `[tokens]`: how the services verify tokens locally.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Milliseconds between polls of the revocation feed.
    pub feed_poll_ms: u64,
    /// A feed older than this many seconds is not trusted: identity is asked instead.
    pub feed_max_age_seconds: u64,
    /// Verified tokens kept in memory.
    pub cache_entries: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { feed_poll_ms: 500, feed_max_age_seconds: 30, cache_entries: 100_000 }
    }
}

/// How limits of projects relate to those of their domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitModel {
    /// Not at all.
    #[default]
    Flat,
    /// Projects lie directly below domains, and no project's limit exceeds its domain's.
    StrictTwoLevel,
}

/// `[identity]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Address and port.
    pub listen: SocketAddr,
    /// HTTP worker threads.
    pub workers: usize,
    /// Region of the bootstrapped catalog.
    pub region: String,
    /// Host (and scheme) of the bootstrapped catalog's URLs, `http://127.0.0.1`.
    pub public_base: String,
    /// Directory of the token signing keys, mode 0700.
    pub key_directory: PathBuf,
    /// Seconds a new key is published before it signs. Replicas with copies of the directory must have it by then.
    pub key_maturity_seconds: i64,
    /// Lifetime of tokens, seconds.
    pub token_ttl_seconds: i64,
    /// Seconds that the time of a signed EC2 request may be off, either way.
    pub ec2_auth_ttl_seconds: i64,
    /// One-time passwords of so many earlier 30-second windows are taken too.
    pub totp_included_previous_windows: u8,
    /// Lifetime of the receipt for a part of the methods that a user's rules ask for, seconds.
    pub receipt_ttl_seconds: i64,
    /// Application credentials a user may have; -1: any number.
    pub application_credential_user_limit: i64,
    /// How many times a trust can be handed on.
    pub max_redelegation_count: i64,
    /// Whether a token for a project or domain can be exchanged for one of another scope.
    pub allow_rescope_scoped_token: bool,
    /// Application credentials and trusts are made only with a token whose login is not older than so many seconds;
    /// 0: any age.
    pub delegation_max_token_age_seconds: i64,
    /// Seconds after its expiry in which a token is still shown to services that ask with allow_expired.
    pub allow_expired_window_seconds: i64,
    /// Whether the API v2.0 of old SDKs is there. Without it: in `ferrostack up`, and nowhere else.
    pub v2_api: Option<bool>,
    /// bcrypt cost of new password hashes.
    pub bcrypt_cost: u32,
    /// Password hashes computed at once, on threads of low priority; more wait. 0: as many as CPUs.
    pub hash_parallelism: usize,
    /// How limits of projects relate to those of their domain: `flat` or `strict_two_level`.
    pub limit_model: LimitModel,
    /// Password hashes that wait; more are answered 503.
    pub hash_queue: usize,
    /// Overrides of policy rules.
    pub policy_file: Option<PathBuf>,
    /// Whether a token of a scope that a rule is not for is refused, whatever its roles.
    pub enforce_scope: bool,
    /// File with the password of the bootstrapped user admin; nothing is bootstrapped without it.
    pub admin_password_file: Option<PathBuf>,
    /// Rules for passwords and logins.
    pub security: crate::Security,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            listen: local(5000),
            workers: 2,
            region: "RegionOne".into(),
            public_base: "http://127.0.0.1".into(),
            key_directory: "/var/lib/ferrostack/token-keys".into(),
            key_maturity_seconds: 60,
            token_ttl_seconds: 3600,
            ec2_auth_ttl_seconds: 900,
            totp_included_previous_windows: 1,
            receipt_ttl_seconds: 300,
            application_credential_user_limit: -1,
            max_redelegation_count: 3,
            allow_rescope_scoped_token: true,
            delegation_max_token_age_seconds: 0,
            allow_expired_window_seconds: 172_800,
            v2_api: None,
            bcrypt_cost: 12,
            hash_parallelism: 0,
            limit_model: LimitModel::Flat,
            hash_queue: 256,
            policy_file: None,
            enforce_scope: true,
            admin_password_file: None,
            security: crate::Security::default(),
        }
    }
}

/// `[image]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Image {
    /// Address and port.
    pub listen: SocketAddr,
    /// HTTP worker threads.
    pub workers: usize,
    /// Directory of the file store, if `storage` names no stores.
    pub store_directory: PathBuf,
    /// Largest image, bytes.
    pub max_image_bytes: u64,
    /// Largest disk inside an image, bytes.
    pub max_virtual_bytes: u64,
    /// An upload whose process says nothing for so long counts as dead, seconds.
    pub upload_lease_seconds: i64,
    /// Milliseconds between looks for dead uploads.
    pub reconcile_ms: u64,
    /// Bounds of uploads and downloads.
    pub transfers: crate::ImageTransfers,
    /// Overrides of policy rules.
    pub policy_file: Option<PathBuf>,
    /// Whether the Image API v1 is served, which Glance had until Queens; `up` does, separate services do not.
    pub v1_api: Option<bool>,
    /// Glance's `property_protection_file`: who may create, read, update and delete which custom properties.
    pub property_protection_file: Option<PathBuf>,
    /// What that file names: roles, or rules of the policy.
    pub property_protection_rule_format: crate::PropertyProtectionFormat,
    /// What may be fetched from elsewhere.
    pub fetch: crate::ImageFetch,
    /// Stores, and what clients are told about them.
    pub storage: crate::ImageStorage,
    /// Metadata definitions.
    pub metadefs: crate::ImageMetadefs,
    /// What image data may be.
    pub formats: crate::ImageFormats,
    /// How images are converted.
    pub convert: crate::ImageConvert,
    /// How images are imported.
    pub import: crate::ImageImport,
    /// Whether the limits of projects registered with the identity service count: image_size_total and
    /// image_stage_total (MiB), image_count_total, image_count_uploading. One that is not registered is 0.
    pub use_keystone_limits: bool,
    /// Bytes of images a project may have, with B, KB, MB, GB or TB if wanted; 0: any number. Without effect where
    /// the limits of the identity service count.
    pub user_storage_quota: String,
    /// How quotas are kept.
    pub quota: crate::ImageQuota,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            listen: local(9292),
            workers: 2,
            store_directory: "/var/lib/ferrostack/images".into(),
            max_image_bytes: 1 << 40,
            max_virtual_bytes: 16 << 40,
            upload_lease_seconds: 15,
            reconcile_ms: 5000,
            transfers: crate::ImageTransfers::default(),
            policy_file: None,
            v1_api: None,
            property_protection_file: None,
            property_protection_rule_format: crate::PropertyProtectionFormat::default(),
            fetch: crate::ImageFetch::default(),
            storage: crate::ImageStorage::default(),
            metadefs: crate::ImageMetadefs::default(),
            formats: Default::default(),
            convert: Default::default(),
            import: crate::ImageImport::default(),
            use_keystone_limits: false,
            user_storage_quota: "0".into(),
            quota: crate::ImageQuota::default(),
        }
    }
}

/// Default quotas of a project; -1 is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Servers.
    pub instances: i64,
    /// Virtual CPUs.
    pub cores: i64,
    /// MiB.
    pub ram: i64,
    /// Metadata items of a server.
    pub metadata_items: i64,
    /// Injected files.
    pub injected_files: i64,
    /// Bytes of an injected file.
    pub injected_file_content_bytes: i64,
    /// Bytes of an injected file's path.
    pub injected_file_path_bytes: i64,
    /// Keypairs of a user.
    pub key_pairs: i64,
    /// Server groups.
    pub server_groups: i64,
    /// Members of a server group.
    pub server_group_members: i64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            instances: 10,
            cores: 20,
            ram: 51_200,
            metadata_items: 128,
            injected_files: 5,
            injected_file_content_bytes: 10_240,
            injected_file_path_bytes: 255,
            key_pairs: 100,
            server_groups: 10,
            server_group_members: 10,
        }
    }
}

/// `[compute]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compute {
    /// Address and port.
    pub listen: SocketAddr,
    /// HTTP worker threads.
    pub workers: usize,
    /// The image service; from the catalog if not given.
    pub image_url: Option<String>,
    /// The network service; from the catalog if not given.
    pub network_url: Option<String>,
    /// CPU overcommit.
    pub cpu_allocation_ratio: f64,
    /// Memory overcommit.
    pub ram_allocation_ratio: f64,
    /// Disk overcommit.
    pub disk_allocation_ratio: f64,
    /// A host silent for longer is down, seconds.
    pub service_down_time: i64,
    /// Hosts tried for a server.
    pub max_attempts: i64,
    /// Largest list page.
    pub max_limit: i64,
    /// Zone of hosts that name none.
    pub default_availability_zone: String,
    /// Jobs run at once by this replica.
    pub parallel_jobs: usize,
    /// Seconds an agent has for a build before it is asked what became of it.
    pub build_inquiry_seconds: i64,
    /// Seconds a guest has to shut down before the plug is pulled.
    pub shutdown_timeout_seconds: u32,
    /// Seconds that a shelved server stays on its host: 0 leaves it at once, a negative time never by itself.
    pub shelved_offload_time: i64,
    /// Seconds a deleted server can be restored before it is gone; 0: it is gone at once.
    pub reclaim_instance_interval: i64,
    /// Guests that went down with their host are started again when it is back.
    pub resume_guests_state_on_host_boot: bool,
    /// Whether a resize may choose the host the server is on.
    pub allow_resize_to_same_host: bool,
    /// Seconds after which a resize that was neither confirmed nor reverted is confirmed; 0: never.
    pub resize_confirm_window: i64,
    /// Format of the images that `createImage` and `createBackup` make: qcow2 or raw.
    pub snapshot_image_format: SnapshotFormat,
    /// Properties of the image a server was made of that images of the server do not get.
    pub non_inheritable_image_properties: Vec<String>,
    /// Make some flavors at the first start of a new cloud.
    pub default_flavors: bool,
    /// Default quotas.
    pub quota: Quota,
    /// Notifications for others.
    pub notifications: Notifications,
    /// Overrides of policy rules.
    pub policy_file: Option<PathBuf>,
}

impl Default for Compute {
    fn default() -> Self {
        Self {
            listen: local(8774),
            workers: 2,
            image_url: None,
            network_url: None,
            cpu_allocation_ratio: 4.0,
            ram_allocation_ratio: 1.0,
            disk_allocation_ratio: 1.0,
            service_down_time: 60,
            max_attempts: 3,
            max_limit: 1000,
            default_availability_zone: "nova".into(),
            parallel_jobs: 64,
            build_inquiry_seconds: 30,
            shutdown_timeout_seconds: 60,
            shelved_offload_time: 0,
            reclaim_instance_interval: 0,
            resume_guests_state_on_host_boot: true,
            allow_resize_to_same_host: true,
            resize_confirm_window: 0,
            snapshot_image_format: SnapshotFormat::default(),
            non_inheritable_image_properties: vec!["cache_in_nova".into(), "bittorrent".into()],
            default_flavors: true,
            quota: Quota::default(),
            notifications: Notifications::default(),
            policy_file: None,
        }
    }
}

/// `[scheduler]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scheduler {
    /// Address and port of `/healthcheck` and `/metrics`.
    pub listen: SocketAddr,
    /// Filters in order.
    pub enabled_filters: Vec<String>,
    /// Multiplier by weigher; metadata of an aggregate (`ram_weight_multiplier`, …) goes before it on its hosts.
    /// `RAMWeigher`, `CPUWeigher`, `DiskWeigher`, `IoOpsWeigher`, `NumInstancesWeigher`,
    /// `ServerGroupSoftAffinityWeigher`, `ServerGroupSoftAntiAffinityWeigher`.
    pub weight_multipliers: BTreeMap<String, f64>,
    /// NumInstancesFilter: so many servers are enough for a host.
    pub max_instances_per_host: i64,
    /// IoOpsFilter: so many servers being worked on are enough for a host.
    pub max_io_ops_per_host: i64,
    /// IsolatedHostsFilter: hosts for the isolated images.
    pub isolated_hosts: Vec<String>,
    /// IsolatedHostsFilter: ids of images that start on isolated hosts only.
    pub isolated_images: Vec<String>,
    /// IsolatedHostsFilter: whether other images are kept off the isolated hosts.
    pub restrict_isolated_hosts_to_isolated_images: bool,
    /// AggregateImagePropertiesIsolation: only metadata keys that begin with this and the separator count.
    pub aggregate_image_properties_isolation_namespace: Option<String>,
    /// AggregateImagePropertiesIsolation: between that and the rest of a key.
    pub aggregate_image_properties_isolation_separator: String,
    /// A host is drawn from this many best ones.
    pub host_subset_size: usize,
    /// Alternates named with each choice.
    pub alternates: usize,
    /// A host silent for longer is down, seconds.
    pub service_down_time: i64,
}

impl Default for Scheduler {
    fn default() -> Self {
        let filters = [
            "RetryFilter",
            "ComputeFilter",
            "AvailabilityZoneFilter",
            "RamFilter",
            "CoreFilter",
            "DiskFilter",
            "ComputeCapabilitiesFilter",
            "ImagePropertiesFilter",
            "ServerGroupAntiAffinityFilter",
            "ServerGroupAffinityFilter",
            "SameHostFilter",
            "DifferentHostFilter",
        ];
        let weights = [
            ("RAMWeigher", 1.0),
            ("CPUWeigher", 1.0),
            ("DiskWeigher", 1.0),
            ("IoOpsWeigher", -1.0),
            ("NumInstancesWeigher", 0.0),
            ("ServerGroupSoftAffinityWeigher", 1.0),
            ("ServerGroupSoftAntiAffinityWeigher", 1.0),
        ];
        Self {
            listen: local(8778),
            enabled_filters: filters.map(Into::into).into(),
            weight_multipliers: weights.map(|(n, m)| (n.to_owned(), m)).into(),
            max_instances_per_host: 50,
            max_io_ops_per_host: 8,
            isolated_hosts: Vec::new(),
            isolated_images: Vec::new(),
            restrict_isolated_hosts_to_isolated_images: true,
            aggregate_image_properties_isolation_namespace: None,
            aggregate_image_properties_isolation_separator: ".".into(),
            host_subset_size: 1,
            alternates: 2,
            service_down_time: 60,
        }
    }
}

/// `[network]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Address and port.
    pub listen: SocketAddr,
    /// HTTP worker threads.
    pub workers: usize,
    /// Address range of the bootstrapped shared network `private`.
    pub private_cidr: String,
    /// Name servers of its subnet.
    pub dns_nameservers: Vec<std::net::IpAddr>,
    /// Default quotas.
    pub quota: NetworkQuota,
    /// Overrides of policy rules.
    pub policy_file: Option<PathBuf>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            listen: local(9696),
            workers: 2,
            private_cidr: "192.168.233.0/24".into(),
            dns_nameservers: Vec::new(),
            quota: NetworkQuota::default(),
            policy_file: None,
        }
    }
}

/// `[network.quota]`: default quotas of a project; -1 is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkQuota {
    /// Networks.
    pub network: i64,
    /// Subnets.
    pub subnet: i64,
    /// Ports.
    pub port: i64,
}

impl Default for NetworkQuota {
    fn default() -> Self {
        Self { network: 100, subnet: 100, port: 500 }
    }
}
