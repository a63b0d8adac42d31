//! `<domain>`: <https://libvirt.org/formatdomain.html>.

use super::metadata::Metadata;
use serde::Serialize;

/// An element that only says it is there: `<acpi/>`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Empty {}

/// An element with a `unit` and a number.
#[derive(Clone, Debug, Serialize)]
pub struct Quantity {
    /// `MiB`
    #[serde(rename = "@unit")]
    pub unit: &'static str,
    /// How many.
    #[serde(rename = "$text")]
    pub value: u64,
}

/// `<domain>`
#[derive(Clone, Debug, Serialize)]
#[serde(rename = "domain")]
pub struct Domain {
    /// `kvm` or `qemu`.
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// Unique name on the host.
    pub name: String,
    /// The server id.
    pub uuid: String,
    /// What is ours.
    pub metadata: Metadata,
    /// RAM.
    pub memory: Quantity,
    /// Virtual CPUs.
    pub vcpu: u32,
    /// SMBIOS strings.
    pub sysinfo: SysInfo,
    /// Boot.
    pub os: Os,
    /// ACPI and so on.
    pub features: Features,
    /// CPU model and topology.
    pub cpu: Cpu,
    /// Clock.
    pub clock: Clock,
    /// `destroy`
    pub on_poweroff: &'static str,
    /// `restart`
    pub on_reboot: &'static str,
    /// `destroy`
    pub on_crash: &'static str,
    /// The devices.
    pub devices: Devices,
}

/// `<sysinfo type='smbios'>`
#[derive(Clone, Debug, Serialize)]
pub struct SysInfo {
    /// `smbios`
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// Type 1 of SMBIOS.
    pub system: SysInfoSystem,
}

/// The entries of SMBIOS type 1.
#[derive(Clone, Debug, Serialize)]
pub struct SysInfoSystem {
    /// Name and value pairs.
    pub entry: Vec<Entry>,
}

/// `<entry name=''>`
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Name.
    #[serde(rename = "@name")]
    pub name: &'static str,
    /// Value.
    #[serde(rename = "$text")]
    pub value: String,
}

/// `<os>`
#[derive(Clone, Debug, Serialize)]
pub struct Os {
    /// `efi`: libvirt chooses the firmware's files.
    #[serde(rename = "@firmware", skip_serializing_if = "Option::is_none")]
    pub firmware: Option<&'static str>,
    /// `hvm` with machine and architecture.
    #[serde(rename = "type")]
    pub kind: OsType,
    /// Direct boot: the kernel file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Direct boot: the initial ramdisk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initrd: Option<String>,
    /// Direct boot: the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// What the firmware must have.
    #[serde(rename = "firmware", skip_serializing_if = "Option::is_none")]
    pub firmware_features: Option<Firmware>,
    /// Boot order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boot: Vec<Dev>,
    /// Whether the firmware asks what to boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootmenu: Option<Enable>,
    /// Where the SMBIOS strings come from.
    pub smbios: Mode,
}

/// `<firmware>` of `<os>`
#[derive(Clone, Debug, Serialize)]
pub struct Firmware {
    /// Features.
    pub feature: Vec<FirmwareFeature>,
}

/// `<feature enabled='' name=''>`
#[derive(Clone, Debug, Serialize)]
pub struct FirmwareFeature {
    /// `yes` or `no`.
    #[serde(rename = "@enabled")]
    pub enabled: &'static str,
    /// `secure-boot`
    #[serde(rename = "@name")]
    pub name: &'static str,
}

/// An element with `enable`.
#[derive(Clone, Debug, Serialize)]
pub struct Enable {
    /// `yes` or `no`.
    #[serde(rename = "@enable")]
    pub enable: &'static str,
}

/// `<type arch='' machine=''>hvm</type>`
#[derive(Clone, Debug, Serialize)]
pub struct OsType {
    /// Architecture.
    #[serde(rename = "@arch")]
    pub arch: String,
    /// Machine type.
    #[serde(rename = "@machine")]
    pub machine: String,
    /// `hvm`
    #[serde(rename = "$text")]
    pub kind: &'static str,
}

/// An element with `dev`.
#[derive(Clone, Debug, Serialize)]
pub struct Dev {
    /// Device.
    #[serde(rename = "@dev")]
    pub dev: &'static str,
}

/// An element with `mode`.
#[derive(Clone, Debug, Serialize)]
pub struct Mode {
    /// Mode.
    #[serde(rename = "@mode")]
    pub mode: &'static str,
}

/// `<features>`
#[derive(Clone, Debug, Serialize)]
pub struct Features {
    /// ACPI: power button.
    pub acpi: Empty,
    /// APIC.
    pub apic: Empty,
    /// Hints for Windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hyperv: Option<HyperV>,
    /// KVM only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kvm: Option<KvmFeatures>,
    /// Whether the guest may count CPU events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pmu: Option<State>,
    /// Emulation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcg: Option<Tcg>,
}

/// `<kvm>`
#[derive(Clone, Debug, Serialize)]
pub struct KvmFeatures {
    /// The guest does not see that it is one.
    pub hidden: State,
}

/// `<hyperv>`
#[derive(Clone, Debug, Serialize)]
pub struct HyperV {
    /// No watchdog time-outs.
    pub relaxed: State,
    /// Virtual APIC.
    pub vapic: State,
    /// Spin lock hints.
    pub spinlocks: Spinlocks,
}

/// An element with `state`.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// `on`
    #[serde(rename = "@state")]
    pub state: &'static str,
}

/// `<spinlocks>`
#[derive(Clone, Debug, Serialize)]
pub struct Spinlocks {
    /// `on`
    #[serde(rename = "@state")]
    pub state: &'static str,
    /// Attempts before the hypervisor is told.
    #[serde(rename = "@retries")]
    pub retries: u32,
}

/// `<tcg>`
#[derive(Clone, Debug, Serialize)]
pub struct Tcg {
    /// Translation cache; QEMU's default takes up to 1 GiB.
    #[serde(rename = "tb-cache")]
    pub tb_cache: Quantity,
}

/// `<cpu>`
#[derive(Clone, Debug, Serialize)]
pub struct Cpu {
    /// `host-model` or `maximum`.
    #[serde(rename = "@mode")]
    pub mode: &'static str,
    /// Sockets, cores, threads.
    pub topology: Topology,
}

/// `<topology>`
#[derive(Clone, Debug, Serialize)]
pub struct Topology {
    /// Sockets.
    #[serde(rename = "@sockets")]
    pub sockets: u32,
    /// Cores of a socket.
    #[serde(rename = "@cores")]
    pub cores: u32,
    /// Threads of a core.
    #[serde(rename = "@threads")]
    pub threads: u32,
}

/// `<clock>`
#[derive(Clone, Debug, Serialize)]
pub struct Clock {
    /// `utc` or `localtime`.
    #[serde(rename = "@offset")]
    pub offset: &'static str,
    /// Timers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timer: Vec<Timer>,
}

/// `<timer>`
#[derive(Clone, Debug, Serialize)]
pub struct Timer {
    /// Name.
    #[serde(rename = "@name")]
    pub name: &'static str,
    /// What happens to missed ticks.
    #[serde(rename = "@tickpolicy", skip_serializing_if = "Option::is_none")]
    pub tickpolicy: Option<&'static str>,
    /// `yes` or `no`.
    #[serde(rename = "@present", skip_serializing_if = "Option::is_none")]
    pub present: Option<&'static str>,
}

/// `<devices>`
#[derive(Clone, Debug, Serialize)]
pub struct Devices {
    /// Disks in order.
    pub disk: Vec<Disk>,
    /// Controllers.
    pub controller: Vec<Controller>,
    /// Interfaces in order.
    pub interface: Vec<Interface>,
    /// Serial ports; the first is the console.
    pub serial: Vec<Serial>,
    /// The console on it.
    pub console: Console,
    /// Guest agent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channel: Vec<Channel>,
    /// TPM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<Tpm>,
    /// Keyboard and pointer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub input: Vec<Input>,
    /// VNC.
    pub graphics: Graphics,
    /// Video card.
    pub video: Video,
    /// What happens to a guest that hangs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Watchdog>,
    /// Entropy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rng: Option<Rng>,
    /// Balloon.
    pub memballoon: Balloon,
}

/// `<tpm model=''>`
#[derive(Clone, Debug, Serialize)]
pub struct Tpm {
    /// `tpm-tis`
    #[serde(rename = "@model")]
    pub model: &'static str,
    /// What stands behind it.
    pub backend: TpmBackend,
}

/// `<backend type='emulator' version=''>`
#[derive(Clone, Debug, Serialize)]
pub struct TpmBackend {
    /// `emulator`
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// `2.0`
    #[serde(rename = "@version")]
    pub version: &'static str,
}

/// `<watchdog model='' action=''>`
#[derive(Clone, Debug, Serialize)]
pub struct Watchdog {
    /// `i6300esb`
    #[serde(rename = "@model")]
    pub model: &'static str,
    /// `reset`
    #[serde(rename = "@action")]
    pub action: &'static str,
}

/// `<disk>`
#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    /// `file`
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// `disk` or `cdrom`.
    #[serde(rename = "@device")]
    pub device: &'static str,
    /// Format: always given, never probed.
    pub driver: DiskDriver,
    /// The file.
    pub source: FileSource,
    /// Device name and bus.
    pub target: DiskTarget,
    /// The guest cannot write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readonly: Option<Empty>,
    /// Its place among what is booted from, where devices say so one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootOrder>,
}

/// `<boot order=''/>` of a device.
#[derive(Clone, Debug, Serialize)]
pub struct BootOrder {
    /// From 1.
    #[serde(rename = "@order")]
    pub order: u32,
}

/// `<driver>` of a disk.
#[derive(Clone, Debug, Serialize)]
pub struct DiskDriver {
    /// `qemu`
    #[serde(rename = "@name")]
    pub name: &'static str,
    /// `qcow2` or `raw`.
    #[serde(rename = "@type")]
    pub format: &'static str,
    /// `none` where the file system knows O_DIRECT, else `writeback`.
    #[serde(rename = "@cache")]
    pub cache: &'static str,
    /// `unmap` gives freed blocks back.
    #[serde(rename = "@discard", skip_serializing_if = "Option::is_none")]
    pub discard: Option<&'static str>,
}

/// `<source file=''>`
#[derive(Clone, Debug, Serialize)]
pub struct FileSource {
    /// Path.
    #[serde(rename = "@file")]
    pub file: String,
}

/// `<target>` of a disk.
#[derive(Clone, Debug, Serialize)]
pub struct DiskTarget {
    /// `vda`
    #[serde(rename = "@dev")]
    pub dev: String,
    /// `virtio`
    #[serde(rename = "@bus")]
    pub bus: &'static str,
}

/// `<controller>`
#[derive(Clone, Debug, Serialize)]
pub struct Controller {
    /// `pci`, `usb`, `scsi`, …
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// Number among its kind.
    #[serde(rename = "@index")]
    pub index: u32,
    /// Model.
    #[serde(rename = "@model")]
    pub model: &'static str,
}

/// `<interface type='network'>`
#[derive(Clone, Debug, Serialize)]
#[serde(rename = "interface")]
pub struct Interface {
    /// `network`
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// MAC address.
    pub mac: Mac,
    /// The libvirt network.
    pub source: NetworkSource,
    /// Card.
    pub model: Model,
    /// Its queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Queues>,
    /// Largest packet.
    pub mtu: Size,
    /// What the guest may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filterref: Option<FilterRef>,
}

/// `<driver queues=''>` of an interface
#[derive(Clone, Debug, Serialize)]
pub struct Queues {
    /// How many.
    #[serde(rename = "@queues")]
    pub queues: u32,
}

/// `<filterref filter=''>`
#[derive(Clone, Debug, Serialize)]
pub struct FilterRef {
    /// Name of the filter.
    #[serde(rename = "@filter")]
    pub filter: &'static str,
    /// Its parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameter: Vec<Parameter>,
}

/// `<parameter name='' value=''>`
#[derive(Clone, Debug, Serialize)]
pub struct Parameter {
    /// Name.
    #[serde(rename = "@name")]
    pub name: &'static str,
    /// Value.
    #[serde(rename = "@value")]
    pub value: String,
}

/// `<mac address=''>`
#[derive(Clone, Debug, Serialize)]
pub struct Mac {
    /// Address.
    #[serde(rename = "@address")]
    pub address: String,
}

/// `<source network=''>`
#[derive(Clone, Debug, Serialize)]
pub struct NetworkSource {
    /// Name of the libvirt network.
    #[serde(rename = "@network")]
    pub network: String,
}

/// An element with `type`.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// Type.
    #[serde(rename = "@type")]
    pub kind: &'static str,
}

/// An element with `size`.
#[derive(Clone, Debug, Serialize)]
pub struct Size {
    /// Bytes.
    #[serde(rename = "@size")]
    pub size: u32,
}

/// `<serial type='pty'>`
#[derive(Clone, Debug, Serialize)]
pub struct Serial {
    /// `pty`
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// Everything the guest writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// Port.
    pub target: Port,
}

/// `<log file='' append=''>`
#[derive(Clone, Debug, Serialize)]
pub struct Log {
    /// Path.
    #[serde(rename = "@file")]
    pub file: String,
    /// `on`: kept over restarts, and truncation by us is safe.
    #[serde(rename = "@append")]
    pub append: &'static str,
}

/// An element with `port`.
#[derive(Clone, Debug, Serialize)]
pub struct Port {
    /// Number.
    #[serde(rename = "@port")]
    pub port: u32,
}

/// `<console type='pty'>`
#[derive(Clone, Debug, Serialize)]
pub struct Console {
    /// `pty`
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// The serial port behind it.
    pub target: ConsoleTarget,
}

/// `<target>` of a console.
#[derive(Clone, Debug, Serialize)]
pub struct ConsoleTarget {
    /// `serial`
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// Number.
    #[serde(rename = "@port")]
    pub port: u32,
}

/// `<channel type='unix'>`
#[derive(Clone, Debug, Serialize)]
pub struct Channel {
    /// `unix`: libvirt chooses the path.
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// Name that the guest sees.
    pub target: ChannelTarget,
}

/// `<target>` of a channel.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelTarget {
    /// `virtio`
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// `org.qemu.guest_agent.0`
    #[serde(rename = "@name")]
    pub name: &'static str,
}

/// `<input>`
#[derive(Clone, Debug, Serialize)]
pub struct Input {
    /// `tablet` or `keyboard`.
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// `usb` or `virtio`.
    #[serde(rename = "@bus")]
    pub bus: &'static str,
}

/// `<graphics type='vnc'>`
#[derive(Clone, Debug, Serialize)]
pub struct Graphics {
    /// `vnc`
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// -1: libvirt chooses.
    #[serde(rename = "@port")]
    pub port: i32,
    /// `yes`
    #[serde(rename = "@autoport")]
    pub autoport: &'static str,
    /// Address.
    #[serde(rename = "@listen")]
    pub listen: String,
}

/// `<video>`
#[derive(Clone, Debug, Serialize)]
pub struct Video {
    /// Card.
    pub model: VideoModel,
}

/// `<model type='' vram=''>`
#[derive(Clone, Debug, Serialize)]
pub struct VideoModel {
    /// Card.
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// KiB of video memory.
    #[serde(rename = "@vram", skip_serializing_if = "Option::is_none")]
    pub vram: Option<u64>,
}

/// `<rng model='virtio'>`
#[derive(Clone, Debug, Serialize)]
pub struct Rng {
    /// `virtio`
    #[serde(rename = "@model")]
    pub model: &'static str,
    /// What the guest may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RngRate>,
    /// Source.
    pub backend: RngBackend,
}

/// `<rate bytes='' period=''>`
#[derive(Clone, Debug, Serialize)]
pub struct RngRate {
    /// Bytes of a period.
    #[serde(rename = "@bytes")]
    pub bytes: u64,
    /// Milliseconds.
    #[serde(rename = "@period")]
    pub period: u64,
}

/// `<backend model='random'>`
#[derive(Clone, Debug, Serialize)]
pub struct RngBackend {
    /// `random`
    #[serde(rename = "@model")]
    pub model: &'static str,
    /// Device.
    #[serde(rename = "$text")]
    pub device: &'static str,
}

/// `<memballoon>`
#[derive(Clone, Debug, Serialize)]
pub struct Balloon {
    /// `virtio`
    #[serde(rename = "@model")]
    pub model: &'static str,
    /// How often the guest tells its memory use.
    pub stats: Period,
}

/// An element with `period`.
#[derive(Clone, Debug, Serialize)]
pub struct Period {
    /// Seconds.
    #[serde(rename = "@period")]
    pub period: u32,
}
