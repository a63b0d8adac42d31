//! How the driver is set up.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// How guests' CPUs are executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VirtType {
    /// KVM if a 64-bit program was seen running under it, else [`Self::Qemu`]; see [`crate::probe`].
    #[default]
    Auto,
    /// Hardware virtualisation, unproven.
    Kvm,
    /// Emulation (TCG).
    Qemu,
}

impl std::str::FromStr for VirtType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Kvm),
            "qemu" => Ok(Self::Qemu),
            other => Err(format!("virt_type is auto, kvm or qemu, not {other:?}")),
        }
    }
}

/// Settings of [`crate::LibvirtHypervisor`].
#[derive(Clone, Debug)]
pub struct LibvirtOptions {
    /// libvirt connection URI: `qemu:///system`, `qemu+unix:///system?socket=PATH`, `qemu+tcp://HOST/system`.
    ///
    /// The agent's files must be at the same path for that libvirtd: it runs on this host, or shares the
    /// directory.
    pub uri: String,
    /// Guests live in `state_dir/instances/<server id>/`. QEMU's user must be able to pass through it.
    pub state_dir: PathBuf,
    /// How guests' CPUs are executed.
    pub virt_type: VirtType,
    /// How many libvirt calls may be under way at once; each blocks a thread.
    pub max_calls: usize,
    /// Machine type of guests whose image does not say; by default `pc` under TCG (it boots faster) and `q35`
    /// under KVM.
    pub machine_type: Option<String>,
    /// Where guests' VNC servers listen.
    pub vnc_listen: IpAddr,
    /// Size in bytes above which a console log is rotated. Keep it above virtlogd's 2 MiB, so that on hosts
    /// with virtlogd only virtlogd rotates.
    pub console_log_bytes: u64,
    /// Rotated console logs kept for a guest, beside the current one.
    pub console_logs_kept: u32,
    /// Whether guests' bridges carry 169.254.169.254. Switch it off on hosts that are themselves guests of a
    /// cloud and need its metadata service.
    pub metadata_address: bool,
    /// Whether guests are kept from forging addresses, with libvirt's filter `clean-traffic` where it is installed.
    pub filters: bool,
    /// How other hosts' libvirtds reach this host's, for guests that come here while they run: `qemu+tls://HOST/system`
    /// or `qemu+ssh://USER@HOST/system`. None: guests do not come here.
    pub migration_uri: Option<String>,
    /// Network namespace (`/run/netns/NAME`) that libvirtd and so the guests' bridges live in, if not ours.
    pub netns: Option<PathBuf>,
}

impl LibvirtOptions {
    /// The defaults with a URI and a state directory.
    pub fn new(uri: impl Into<String>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            uri: uri.into(),
            state_dir: state_dir.into(),
            virt_type: VirtType::Auto,
            max_calls: 8,
            machine_type: None,
            vnc_listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            console_log_bytes: 4 << 20,
            console_logs_kept: 2,
            metadata_address: true,
            filters: true,
            migration_uri: None,
            netns: None,
        }
    }

    /// Whether the URI names no other machine.
    pub fn is_local(&self) -> bool {
        url::Url::parse(&self.uri).is_ok_and(|url| url.host_str().is_none_or(str::is_empty))
    }
}
