//! Compute API microversions: the number and the table of named features.

use std::{fmt, str::FromStr};

/// A compute API version `2.N`; ordered by N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion(pub u16);

impl Microversion {
    /// What a request without a version header gets.
    pub const MIN: Self = Self(1);
    /// The advertised maximum: nothing that exists in the project is missing below it.
    pub const MAX: Self = Self(104);

    /// Whether this version includes `feature`.
    pub fn has(self, feature: Feature) -> bool {
        self.0 >= feature.0 && feature.1.is_none_or(|last| self.0 <= last)
    }
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.0)
    }
}

/// The text is not of the form `2.N` without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMicroversion;

impl FromStr for Microversion {
    type Err = BadMicroversion;
    fn from_str(text: &str) -> Result<Self, BadMicroversion> {
        let minor = text.strip_prefix("2.").ok_or(BadMicroversion)?;
        let plain = minor.len() <= 4
            && minor.bytes().all(|b| b.is_ascii_digit())
            && (minor == "0" || !minor.starts_with('0'));
        if plain { minor.parse().map(Self).map_err(|_| BadMicroversion) } else { Err(BadMicroversion) }
    }
}

/// A change of the API: the first version that has it and, if it was taken away, the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature(pub u16, pub Option<u16>);

/// A feature that every version from `2.minor` on has.
pub const fn since(minor: u16) -> Feature {
    Feature(minor, None)
}
/// A feature that only versions through `2.minor` have.
pub const fn until(minor: u16) -> Feature {
    Feature(1, Some(minor))
}

/// The named features. Source of each: the microversion history of Nova 34.
pub mod feature {
    use super::{Feature, since, until};

    /// Keypairs have a `type`; create answers 201 and delete 204.
    pub const KEYPAIR_TYPE: Feature = since(2);
    /// Extended server attributes: hostname, reservation id, launch index, kernel and ramdisk id, root device, user data.
    pub const SERVER_EXTENDED_ATTRIBUTES: Feature = since(3);
    /// `ip6` is a list filter for all users.
    pub const IP6_FILTER: Feature = since(5);
    /// Fixed IP `reserved` field (nova-network; gone).
    pub const REMOTE_CONSOLES: Feature = since(6);
    /// `locked` in server views.
    pub const SERVER_LOCKED: Feature = since(9);
    /// Keypairs of other users (admin), `user_id` in requests.
    pub const KEYPAIR_USER_ID: Feature = since(10);
    /// Server groups tell their project and user.
    pub const GROUP_OWNER: Feature = since(13);
    /// `host_status` in server views.
    pub const SERVER_HOST_STATUS: Feature = since(16);
    /// `description` of servers.
    pub const SERVER_DESCRIPTION: Feature = since(19);
    /// Instance actions of deleted servers are readable.
    pub const ACTIONS_OF_DELETED: Feature = since(21);
    /// `migration_type` and links of migrations.
    pub const MIGRATION_TYPE: Feature = since(23);
    /// `GET /servers/{id}/migrations`.
    pub const SERVER_MIGRATIONS: Feature = since(23);
    /// `force_complete` of live migrations.
    pub const LIVE_MIGRATION_FORCE_COMPLETE: Feature = since(22);
    /// Live migrations are aborted.
    pub const LIVE_MIGRATION_ABORT: Feature = since(24);
    /// Those too that have not begun to copy.
    pub const LIVE_MIGRATION_ABORT_QUEUED: Feature = since(65);
    /// The host of a live migration is taken without the scheduler: there is no `force` yet.
    pub const LIVE_MIGRATE_UNFORCED_NEVER: Feature = until(29);
    /// Live migrations are checked after the answer.
    pub const LIVE_MIGRATE_ASYNC: Feature = since(34);
    /// `onSharedStorage` and an answer with `adminPass`.
    pub const EVACUATE_ADMIN_PASS: Feature = until(13);
    /// The host of an evacuation is taken without the scheduler: there is no `force` yet.
    pub const EVACUATE_UNFORCED_NEVER: Feature = until(28);
    /// Evacuated servers stay off.
    pub const EVACUATE_STOPPED: Feature = since(95);
    /// Volumes are attached to and detached from shelved servers.
    pub const SHELVED_VOLUMES: Feature = since(20);
    /// `addFixedIp` and `removeFixedIp`.
    pub const FIXED_IP_ACTIONS: Feature = until(43);
    /// Device tags of interfaces and volumes are shown.
    pub const ATTACHMENT_TAG_SHOWN: Feature = since(70);
    /// The NUMA topology of servers.
    pub const SERVER_TOPOLOGY: Feature = since(78);
    /// Attachments of volumes are changed without a swap.
    pub const VOLUME_ATTACHMENT_UPDATE: Feature = since(85);
    /// Server tags.
    pub const SERVER_TAGS: Feature = since(26);
    /// Hypervisors' `cpu_info` is an object.
    pub const HYPERVISOR_CPU_INFO_OBJECT: Feature = since(28);
    /// Hypervisors page with limit and marker.
    pub const HYPERVISOR_PAGING: Feature = since(33);
    /// Keypairs page with limit and marker.
    pub const KEYPAIR_PAGING: Feature = since(35);
    /// Proxies to image, network and volume services are gone; network quotas and limits too.
    pub const NO_PROXIES: Feature = since(36);
    /// `networks` is required in server create; `auto` and `none`.
    pub const NETWORKS_REQUIRED: Feature = since(37);
    /// Unknown `status` filters of the server list are a 400.
    pub const SERVER_STATUS_FILTER_STRICT: Feature = since(38);
    /// Image metadata quota proxies are gone.
    pub const NO_IMAGE_META_PROXY: Feature = since(39);
    /// Aggregates show their UUID.
    pub const AGGREGATE_UUID: Feature = since(41);
    /// `createImage` and `createBackup` answer a body with `image_id`.
    pub const CREATE_IMAGE_BODY: Feature = since(45);
    /// `x-openstack-request-id` as in every other service.
    pub const REQUEST_ID_HEADER: Feature = since(46);
    /// Server views embed the flavor.
    pub const FLAVOR_EMBEDDED: Feature = since(47);
    /// Diagnostics have the same form whatever the hypervisor.
    pub const DIAGNOSTICS_STANDARD: Feature = since(48);
    /// Quota sets without network quotas; server group quotas shown.
    pub const QUOTA_NO_NETWORK: Feature = since(50);
    /// Instance action events visible to the owner.
    pub const ACTION_EVENTS_FOR_OWNER: Feature = since(51);
    /// Services and hypervisors are named by UUID.
    pub const SERVICE_UUID: Feature = since(53);
    /// `key_name` in `rebuild` and its answer.
    pub const REBUILD_KEY: Feature = since(54);
    /// `description` of flavors.
    pub const FLAVOR_DESCRIPTION: Feature = since(55);
    /// File injection (`personality`) exists only through 2.56.
    pub const PERSONALITY: Feature = until(56);
    /// Injected-file quotas and limits exist only through 2.56.
    pub const INJECTED_FILE_QUOTA: Feature = until(56);
    /// `user_data` in `rebuild` and its answer.
    pub const REBUILD_USER_DATA: Feature = since(57);
    /// `migrate` names a host.
    pub const MIGRATE_HOST: Feature = since(56);
    /// Instance actions page, `changes-since`, `updated_at`.
    pub const ACTION_PAGING: Feature = since(58);
    /// Migrations page, `changes-since`, `uuid`.
    pub const MIGRATION_PAGING: Feature = since(59);
    /// Flavor views embed extra specs.
    pub const FLAVOR_EXTRA_SPECS: Feature = since(61);
    /// Events have `host` and `hostId`.
    pub const ACTION_EVENT_HOST: Feature = since(62);
    /// Trusted image certificates.
    pub const TRUSTED_CERTIFICATES: Feature = since(63);
    /// Server groups have one `policy` and `rules` instead of `policies` and `metadata`.
    pub const GROUP_POLICY: Feature = since(64);
    /// `changes-before` filters.
    pub const CHANGES_BEFORE: Feature = since(66);
    /// Partial server views while a cell is down.
    pub const DOWN_CELL: Feature = since(69);
    /// `server_groups` in server show.
    pub const SERVER_GROUPS: Feature = since(71);
    /// `locked_reason`.
    pub const LOCKED_REASON: Feature = since(73);
    /// Boot on a named host or hypervisor.
    pub const BOOT_ON_HOST: Feature = since(74);
    /// Unknown query and body members are refused; `swap` is 0 instead of "".
    pub const STRICT_INPUT: Feature = since(75);
    /// `PUT` of a server answers the whole server.
    pub const SERVER_FULL_UPDATE: Feature = since(75);
    /// `availability_zone` in `unshelve`.
    pub const UNSHELVE_ZONE: Feature = since(77);
    /// `user_id` and `project_id` of migrations.
    pub const MIGRATION_OWNER: Feature = since(80);
    /// Images are cached on the hosts of an aggregate.
    pub const AGGREGATE_IMAGES: Feature = since(81);
    /// More list filters for all users.
    pub const MORE_FILTERS: Feature = since(83);
    /// Events have `details`.
    pub const ACTION_EVENT_DETAILS: Feature = since(84);
    /// Extra specs are validated.
    pub const EXTRA_SPECS_VALIDATED: Feature = since(86);
    /// Hypervisors lose usage fields and gain `uptime`.
    pub const HYPERVISOR_NO_USAGE: Feature = since(88);
    /// `hostname` may be given.
    pub const SERVER_HOSTNAME: Feature = since(90);
    /// `host` in `unshelve`, and null as its zone.
    pub const UNSHELVE_HOST: Feature = since(91);
    /// No server-side keypair generation.
    pub const KEYPAIR_IMPORT_ONLY: Feature = since(92);
    /// `hostname` may be a full domain name.
    pub const SERVER_FQDN: Feature = since(94);
    /// `pinned_availability_zone` in server views.
    pub const PINNED_AZ: Feature = since(96);
    /// The image in server views has `properties`.
    pub const IMAGE_PROPERTIES: Feature = since(98);
    /// `scheduler_hints` in server views.
    pub const SCHEDULER_HINTS: Feature = since(100);
    /// `PUT` of a server may take its pinned availability zone away.
    pub const PINNED_AZ_UPDATE: Feature = since(104);
    /// Flavors are found by name, and lose `rxtx_factor` and `OS-FLV-DISABLED:disabled`.
    pub const FLAVOR_NAME_FILTER: Feature = since(102);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_plain_versions() {
        assert_eq!("2.47".parse(), Ok(Microversion(47)));
        for bad in ["2", "2.", "2.047", "3.1", "2.-1", "2.99999", "latest", "2.1 "] {
            assert_eq!(bad.parse::<Microversion>(), Err(BadMicroversion), "{bad}");
        }
    }

    #[test]
    fn features_have_windows() {
        assert!(!Microversion(46).has(feature::FLAVOR_EMBEDDED));
        assert!(Microversion(47).has(feature::FLAVOR_EMBEDDED));
        assert!(Microversion(56).has(feature::PERSONALITY));
        assert!(!Microversion(57).has(feature::PERSONALITY));
    }
}
