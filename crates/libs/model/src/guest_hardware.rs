//! The virtual hardware that a flavor and an image ask for together, with Nova's rules for where they disagree
//! (`nova/virt/hardware.py`).

use crate::{
    Error, Result,
    guest::GuestFlavor,
    image_properties::{ImageProperties, truth},
};
use std::collections::BTreeMap;

/// What nobody limited.
const UNLIMITED: i64 = 65_536;
/// Serial ports that a PC has.
pub const MAX_SERIAL_PORTS: u32 = 4;

/// Sockets, cores of each, threads of each core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Sockets.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
}

/// A TPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tpm {
    /// `1.2` or `2.0`.
    pub version: &'static str,
    /// `tpm-tis` or `tpm-crb`.
    pub model: &'static str,
}

/// A source of entropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entropy {
    /// Bytes that the guest may take in each period of milliseconds; without limit if none.
    pub rate: Option<(u64, u64)>,
}

/// The hardware of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestHardware {
    /// The image's properties.
    pub properties: ImageProperties,
    /// Serial ports, at least one.
    pub serial_ports: u32,
    /// Whether virtio NICs have a queue for each CPU.
    pub multiqueue: bool,
    /// Whether the firmware shows a boot menu.
    pub boot_menu: bool,
    /// What the watchdog does; `None` without one.
    pub watchdog: Option<&'static str>,
    /// Entropy; `None` where the flavor forbids it.
    pub entropy: Option<Entropy>,
    /// A TPM.
    pub tpm: Option<Tpm>,
    /// Whether the firmware must check what it boots.
    pub secure_boot: bool,
    /// Whether the guest's memory must be encrypted.
    pub memory_encryption: bool,
    /// Whether the guest may count CPU events; the hypervisor's choice if none.
    pub pmu: Option<bool>,
    vcpus: u32,
    preferred: [i64; 3],
    limits: [i64; 3],
    video_ram_max: i64,
}

fn conflict(name: &str, flavor: &str, image: &str) -> Error {
    let cut = |text: &str| text.chars().take(64).collect::<String>();
    Error::bad_request(format!(
        "Conflicting values for {name} found in the flavor ({}) and the image ({}).",
        cut(flavor),
        cut(image)
    ))
}

struct Specs<'a>(&'a BTreeMap<String, String>);

impl Specs<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.text(key).map(truth)
    }

    /// 0 where it is not set.
    fn number(&self, key: &str) -> Result<i64> {
        let Some(text) = self.text(key) else { return Ok(0) };
        text.trim().parse().map_err(|_| {
            let text: String = text.chars().take(64).collect();
            Error::bad_request(format!(
                "Invalid flavor extra spec. Error: invalid literal for int() with base 10: '{text}'"
            ))
        })
    }

    /// One of `known`.
    fn choice(&self, key: &str, known: &[&'static str]) -> Result<Option<&'static str>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        known.iter().copied().find(|k| *k == text).map(Some).ok_or_else(|| {
            let text: String = text.chars().take(64).collect();
            Error::bad_request(format!("Invalid flavor extra spec. Error: {key} cannot be '{text}'"))
        })
    }
}

/// What both ask for: they must not differ.
fn unique(
    name: &str,
    flavor: Option<&'static str>,
    image: Option<&'static str>,
) -> Result<Option<&'static str>> {
    match (flavor, image) {
        (Some(flavor), Some(image)) if flavor != image => Err(conflict(name, flavor, image)),
        (flavor, image) => Ok(flavor.or(image)),
    }
}

fn unique_flag(name: &str, flavor: Option<bool>, image: Option<bool>) -> Result<Option<bool>> {
    match (flavor, image) {
        (Some(flavor), Some(image)) if flavor != image => {
            Err(conflict(name, &flavor.to_string(), &image.to_string()))
        }
        (flavor, image) => Ok(flavor.or(image)),
    }
}

const PARTS: [&str; 3] = ["sockets", "cores", "threads"];

/// Numbers of sockets, cores and threads: the flavor's and the image's.
fn parts(specs: &Specs<'_>, properties: &ImageProperties, prefix: &str) -> Result<([i64; 3], [i64; 3])> {
    let (mut flavor, mut image) = ([0; 3], [0; 3]);
    for (i, part) in PARTS.iter().enumerate() {
        flavor[i] = specs.number(&format!("hw:{prefix}{part}"))?;
        image[i] = properties.number(&format!("hw_{prefix}{part}")).unwrap_or(0);
    }
    Ok((flavor, image))
}

fn list(parts: [i64; 3]) -> String {
    format!("{}:{}:{}", parts[0], parts[1], parts[2])
}

/// What is preferred, and the limits.
fn topology(specs: &Specs<'_>, properties: &ImageProperties) -> Result<([i64; 3], [i64; 3])> {
    let over = |a: [i64; 3], b: [i64; 3]| a.iter().zip(b).any(|(a, b)| b > 0 && *a > b);
    let (flavor_max, image_max) = parts(specs, properties, "cpu_max_")?;
    if over(image_max, flavor_max) {
        return Err(Error::bad_request(format!(
            "Image vCPU topology limits (sockets={}, cores={}, threads={}) exceeds the limits of the flavor (sockets={}, cores={}, threads={})",
            image_max[0], image_max[1], image_max[2], flavor_max[0], flavor_max[1], flavor_max[2]
        )));
    }
    let limits = [0, 1, 2].map(|i| match (image_max[i], flavor_max[i]) {
        (image, _) if image > 0 => image,
        (_, flavor) if flavor > 0 => flavor,
        _ => UNLIMITED,
    });
    let (mut flavor, image) = parts(specs, properties, "cpu_")?;
    if over(flavor, limits) {
        flavor = [0; 3];
    }
    if over(image, limits) {
        return Err(Error::bad_request(format!(
            "Image vCPU topology (sockets={}, cores={}, threads={}) exceeds the limits of the flavor or image (sockets={}, cores={}, threads={})",
            image[0], image[1], image[2], limits[0], limits[1], limits[2]
        )));
    }
    Ok((if image.iter().any(|n| *n != 0) { image } else { flavor }, limits))
}

fn serial_ports(specs: &Specs<'_>, properties: &ImageProperties) -> Result<u32> {
    let text = specs.text("hw:serial_port_count");
    let flavor = match text.map(|text| text.trim().parse::<i64>()) {
        None => 0,
        Some(Ok(count)) => count,
        Some(Err(_)) => {
            let text: String = text.unwrap_or_default().chars().take(64).collect();
            return Err(Error::bad_request(format!(
                "Number of serial ports specified in flavor is invalid: expected an integer, got '{text}'"
            )));
        }
    };
    let image = properties.number("hw_serial_port_count").unwrap_or(0);
    if flavor > 0 && image > flavor {
        return Err(Error::bad_request(
            "Forbidden to exceed flavor value of number of serial ports passed in image meta.",
        ));
    }
    let count = if image > 0 { image } else { flavor };
    Ok(u32::try_from(count.max(1)).unwrap_or(u32::MAX))
}

fn tpm(specs: &Specs<'_>, properties: &ImageProperties) -> Result<Option<Tpm>> {
    let flavor = specs.choice("hw:tpm_version", &["1.2", "2.0"])?;
    let Some(version) = unique("tpm_version", flavor, properties.choice("hw_tpm_version"))? else {
        return Ok(None);
    };
    let flavor = specs.choice("hw:tpm_model", &["tpm-tis", "tpm-crb"])?;
    let model = unique("tpm_model", flavor, properties.choice("hw_tpm_model"))?.unwrap_or("tpm-tis");
    if model == "tpm-crb" && version != "2.0" {
        return Err(Error::bad_request("TPM model CRB is only valid with TPM version 2.0."));
    }
    Ok(Some(Tpm { version, model }))
}

fn secure_boot(specs: &Specs<'_>, properties: &ImageProperties) -> Result<bool> {
    let flavor = specs.choice("os:secure_boot", &["required", "disabled", "optional"])?;
    let image = properties.choice("os_secure_boot");
    match (flavor, image) {
        (Some("required"), Some("disabled")) | (Some("disabled"), Some("required")) => {
            Err(conflict("os_secure_boot", flavor.unwrap_or(""), image.unwrap_or("")))
        }
        _ => Ok(flavor == Some("required") || image == Some("required")),
    }
}

impl GuestHardware {
    /// What `flavor` and an image with these properties ask for.
    ///
    /// # Errors
    /// `BadRequest` in Nova's words: a value that cannot be, or one that the flavor does not allow.
    pub fn of(flavor: &GuestFlavor, properties: &BTreeMap<String, String>) -> Result<Self> {
        let specs = Specs(&flavor.extra_specs);
        let properties = ImageProperties::read(properties)?;
        let (preferred, limits) = topology(&specs, &properties)?;
        let either = |name: &str, key: &str| properties.flag(name).or(specs.flag(key)).unwrap_or(false);
        let actions = &["none", "pause", "poweroff", "reset", "disabled"];
        let watchdog =
            properties.choice("hw_watchdog_action").or(specs.choice("hw:watchdog_action", actions)?);
        let rate_bytes = specs.number("hw_rng:rate_bytes")?;
        let rate_period = specs.number("hw_rng:rate_period")?;
        let positive = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
        let rate = positive(rate_bytes).map(|bytes| (bytes, positive(rate_period).unwrap_or(1000)));
        let multiqueue = unique_flag(
            "vif_multiqueue_enabled",
            specs.flag("hw:vif_multiqueue_enabled"),
            properties.flag("hw_vif_multiqueue_enabled"),
        )?;
        Ok(Self {
            serial_ports: serial_ports(&specs, &properties)?,
            multiqueue: multiqueue.unwrap_or(false),
            boot_menu: either("hw_boot_menu", "hw:boot_menu"),
            watchdog: watchdog.filter(|action| *action != "disabled"),
            entropy: specs.flag("hw_rng:allowed").unwrap_or(true).then_some(Entropy { rate }),
            tpm: tpm(&specs, &properties)?,
            secure_boot: secure_boot(&specs, &properties)?,
            memory_encryption: either("hw_mem_encryption", "hw:mem_encryption"),
            pmu: unique_flag("hw_pmu", specs.flag("hw:pmu"), properties.flag("hw_pmu"))?,
            vcpus: flavor.vcpus,
            preferred,
            limits,
            video_ram_max: specs.number("hw_video:ram_max_mb")?,
            properties,
        })
    }

    /// The topology nearest to the preferred one; else few threads and many sockets.
    ///
    /// # Errors
    /// `BadRequest` if no topology within the limits has the flavor's number of CPUs.
    pub fn topology(&self) -> Result<Topology> {
        let vcpus = i64::from(self.vcpus);
        let most = self.limits.map(|limit| limit.min(vcpus).min(UNLIMITED));
        let mut best = None;
        for sockets in (1..=most[0]).filter(|n| vcpus % n == 0) {
            for cores in (1..=most[1]).filter(|n| (vcpus / sockets) % n == 0) {
                let threads = vcpus / sockets / cores;
                if threads > most[2] {
                    continue;
                }
                let found = [sockets, cores, threads];
                let score = found.iter().zip(self.preferred).filter(|(a, b)| **a == *b).count();
                best = best.max(Some((score, sockets * cores, sockets, threads)));
            }
        }
        let number = |n: i64| u32::try_from(n).unwrap_or(1);
        best.map(|(_, product, sockets, threads)| Topology {
            sockets: number(sockets),
            cores: number(product / sockets),
            threads: number(threads),
        })
        .ok_or_else(|| {
            Error::bad_request(format!(
                "Requested vCPU limits {} are impossible to satisfy for vcpus count {vcpus}",
                list(most)
            ))
        })
    }

    /// MiB of video memory, where the flavor allows a choice.
    ///
    /// # Errors
    /// `BadRequest` above what the flavor allows.
    pub fn video_ram(&self) -> Result<Option<u64>> {
        let wanted = self.properties.number("hw_video_ram").unwrap_or(0);
        if wanted > self.video_ram_max {
            return Err(Error::bad_request(format!(
                "The requested amount of video memory {wanted} is higher than the maximum allowed by flavor {}.",
                self.video_ram_max
            )));
        }
        Ok(u64::try_from(wanted).ok().filter(|mib| *mib > 0))
    }

    /// Whether the guest is a Windows.
    pub fn is_windows(&self) -> bool {
        self.properties.choice("os_type") == Some("windows")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    fn of(vcpus: u32, specs: &[(&str, &str)], properties: &[(&str, &str)]) -> Result<GuestHardware> {
        let flavor = GuestFlavor {
            name: "m1".into(),
            vcpus,
            ram_mb: 64,
            root_gb: 1,
            ephemeral_gb: 0,
            swap_mb: 0,
            extra_specs: map(specs),
        };
        GuestHardware::of(&flavor, &map(properties))
    }

    fn shape(vcpus: u32, specs: &[(&str, &str)], properties: &[(&str, &str)]) -> String {
        match of(vcpus, specs, properties).and_then(|h| h.topology()) {
            Ok(t) => format!("{}:{}:{}", t.sockets, t.cores, t.threads),
            Err(e) => e.public,
        }
    }

    #[test]
    fn topologies_are_novas() {
        assert_eq!(shape(8, &[], &[]), "8:1:1");
        assert_eq!(shape(8, &[], &[("hw_cpu_sockets", "2")]), "2:4:1");
        assert_eq!(shape(8, &[], &[("hw_cpu_cores", "4"), ("hw_cpu_threads", "2")]), "1:4:2");
        assert_eq!(shape(8, &[], &[("hw_cpu_max_sockets", "2")]), "2:4:1");
        assert_eq!(shape(8, &[("hw:cpu_max_sockets", "1")], &[("hw_cpu_max_cores", "2")]), "1:2:4");
        assert_eq!(
            shape(7, &[], &[("hw_cpu_sockets", "3")]),
            "7:1:1",
            "what cannot be had is not insisted on"
        );
        assert_eq!(shape(8, &[("hw:cpu_cores", "8")], &[("hw_cpu_sockets", "4")]), "4:2:1", "the image wins");
        let four = [("hw_cpu_max_sockets", "1"), ("hw_cpu_max_cores", "2"), ("hw_cpu_max_threads", "1")];
        assert_eq!(
            shape(8, &[], &four),
            "Requested vCPU limits 1:2:1 are impossible to satisfy for vcpus count 8"
        );
        assert!(
            shape(8, &[("hw:cpu_max_cores", "2")], &[("hw_cpu_max_cores", "4")])
                .contains("exceeds the limits")
        );
        assert!(
            shape(8, &[("hw:cpu_max_cores", "2")], &[("hw_cpu_cores", "4")]).contains("exceeds the limits")
        );
        assert!(shape(8, &[("hw:cpu_max_cores", "x")], &[]).contains("Invalid flavor extra spec"));
    }

    #[test]
    fn the_image_never_gets_more_than_the_flavor_allows() {
        let ports = |flavor: &str, image: &str| {
            of(1, &[("hw:serial_port_count", flavor)], &[("hw_serial_port_count", image)])
                .map(|h| h.serial_ports)
                .map_err(|e| e.public)
        };
        assert_eq!(ports("3", "2"), Ok(2));
        assert_eq!(ports("3", "0"), Ok(3));
        assert!(ports("2", "3").unwrap_err().starts_with("Forbidden to exceed flavor value"));
        assert!(ports("many", "1").unwrap_err().contains("expected an integer, got 'many'"));
        let ram = |max: &str, wanted: &str| {
            of(1, &[("hw_video:ram_max_mb", max)], &[("hw_video_ram", wanted)]).unwrap().video_ram()
        };
        assert_eq!(ram("64", "32").unwrap(), Some(32));
        assert_eq!(
            ram("64", "65").unwrap_err().public,
            "The requested amount of video memory 65 is higher than the maximum allowed by flavor 64."
        );
        assert!(
            of(1, &[], &[("hw_video_ram", "1")]).unwrap().video_ram().is_err(),
            "the flavor says nothing"
        );
        assert_eq!(
            of(1, &[("hw_rng:allowed", "False")], &[("hw_rng_model", "virtio")]).unwrap().entropy,
            None
        );
    }

    #[test]
    fn what_contradicts_is_refused() {
        let said = |specs: &[(&str, &str)], properties: &[(&str, &str)]| {
            of(2, specs, properties).map(drop).map_err(|e| e.public)
        };
        assert_eq!(
            said(&[("hw:tpm_version", "1.2")], &[("hw_tpm_version", "2.0")]).unwrap_err(),
            "Conflicting values for tpm_version found in the flavor (1.2) and the image (2.0)."
        );
        assert_eq!(
            said(&[], &[("hw_tpm_version", "1.2"), ("hw_tpm_model", "tpm-crb")]).unwrap_err(),
            "TPM model CRB is only valid with TPM version 2.0."
        );
        assert!(said(&[("os:secure_boot", "disabled")], &[("os_secure_boot", "required")]).is_err());
        assert!(
            said(&[("hw:vif_multiqueue_enabled", "false")], &[("hw_vif_multiqueue_enabled", "yes")]).is_err()
        );
        assert!(said(&[("hw:pmu", "false")], &[("hw_pmu", "yes")]).is_err());
        assert_eq!(said(&[("hw:tpm_version", "2.0")], &[("hw_tpm_version", "2.0")]), Ok(()));
    }

    #[test]
    fn the_image_goes_before_the_flavor() {
        let action = |flavor: &str, image: &str| {
            of(1, &[("hw:watchdog_action", flavor)], &[("hw_watchdog_action", image)]).unwrap().watchdog
        };
        assert_eq!(action("reset", "pause"), Some("pause"));
        assert_eq!(action("reset", "disabled"), None);
        let rate = [("hw_rng:rate_bytes", "100"), ("hw_rng:rate_period", "50")];
        assert_eq!(of(1, &rate, &[]).unwrap().entropy, Some(Entropy { rate: Some((100, 50)) }));
        let tpm = of(1, &[], &[("hw_tpm_version", "2.0")]).unwrap().tpm;
        assert_eq!(tpm, Some(Tpm { version: "2.0", model: "tpm-tis" }));
    }

    proptest! {
        #[test]
        fn a_topology_has_the_flavors_cpus(vcpus in 1u32..300, wish in prop::array::uniform6(-2i64..20)) {
            let names = ["hw_cpu_sockets", "hw_cpu_cores", "hw_cpu_threads", "hw_cpu_max_sockets",
                "hw_cpu_max_cores", "hw_cpu_max_threads"];
            let texts = wish.map(|n| n.to_string());
            let properties: Vec<_> = names.into_iter().zip(texts.iter().map(String::as_str)).collect();
            if let Ok(t) = of(vcpus, &[], &properties).and_then(|h| h.topology()) {
                prop_assert_eq!(t.sockets * t.cores * t.threads, vcpus);
                for (got, limit) in [t.sockets, t.cores, t.threads].into_iter().zip(&wish[3..]) {
                    prop_assert!(*limit <= 0 || i64::from(got) <= *limit);
                }
            }
        }
    }
}
