//! What is read of `<capabilities>` and of a domain's own XML.

use serde::Deserialize;

/// `<capabilities>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Capabilities {
    /// The host.
    pub host: Host,
    /// Kinds of guests.
    #[serde(default)]
    pub guest: Vec<GuestKind>,
}

/// `<host>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Host {
    /// The host's own id.
    #[serde(default)]
    pub uuid: String,
    /// The CPU.
    #[serde(default)]
    pub cpu: HostCpu,
    /// Security models with the user that QEMU runs as.
    #[serde(default)]
    pub secmodel: Vec<SecModel>,
}

/// `<cpu>` of the host.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct HostCpu {
    /// `x86_64`
    #[serde(default)]
    pub arch: String,
    /// Nearest named model.
    #[serde(default)]
    pub model: String,
    /// `Intel`
    #[serde(default)]
    pub vendor: String,
    /// Sockets and so on.
    #[serde(default)]
    pub topology: Option<HostTopology>,
    /// Features above the model.
    #[serde(default)]
    pub feature: Vec<Named>,
}

/// `<topology>` of the host.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct HostTopology {
    /// Sockets.
    #[serde(rename = "@sockets", default)]
    pub sockets: u32,
    /// Cores.
    #[serde(rename = "@cores", default)]
    pub cores: u32,
    /// Threads.
    #[serde(rename = "@threads", default)]
    pub threads: u32,
}

/// An element with `name`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Named {
    /// Name.
    #[serde(rename = "@name", default)]
    pub name: String,
}

/// `<secmodel>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SecModel {
    /// `dac`, `apparmor`, …
    #[serde(default)]
    pub model: String,
    /// Labels by domain type.
    #[serde(default)]
    pub baselabel: Vec<BaseLabel>,
}

/// `<baselabel type='kvm'>+64055:+108</baselabel>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct BaseLabel {
    /// Domain type.
    #[serde(rename = "@type", default)]
    pub kind: String,
    /// Label.
    #[serde(rename = "$text", default)]
    pub label: String,
}

/// `<guest>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct GuestKind {
    /// `hvm`
    #[serde(default)]
    pub os_type: String,
    /// Architecture.
    #[serde(default)]
    pub arch: GuestArch,
}

/// `<arch name=''>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct GuestArch {
    /// Name.
    #[serde(rename = "@name", default)]
    pub name: String,
    /// Emulator binary.
    #[serde(default)]
    pub emulator: String,
    /// Machine types.
    #[serde(default)]
    pub machine: Vec<Machine>,
    /// Domain types.
    #[serde(default)]
    pub domain: Vec<DomainKind>,
}

/// `<machine maxCpus='255'>pc</machine>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Machine {
    /// Name.
    #[serde(rename = "$text", default)]
    pub name: String,
}

/// `<domain type='kvm'/>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct DomainKind {
    /// Type.
    #[serde(rename = "@type", default)]
    pub kind: String,
}

impl Capabilities {
    /// The emulator for full virtualisation of `arch`.
    pub fn guest(&self, arch: &str) -> Option<&GuestArch> {
        self.guest.iter().find(|g| g.os_type == "hvm" && g.arch.name == arch).map(|g| &g.arch)
    }

    /// User and group ids that QEMU runs as, from the DAC label `+uid:+gid`.
    pub fn qemu_user(&self) -> Option<(u32, u32)> {
        let dac = self.host.secmodel.iter().find(|m| m.model == "dac")?;
        let label = &dac.baselabel.first()?.label;
        let (uid, gid) = label.split_once(':')?;
        Some((uid.trim_start_matches('+').parse().ok()?, gid.trim_start_matches('+').parse().ok()?))
    }
}
