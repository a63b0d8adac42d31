//! `[image.formats]` and `[image.convert]`: what image data may be, and how it is converted.

use serde::{Deserialize, Serialize};

/// `[image.formats]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageFormats {
    /// Data that is not what the image's `disk_format` and `container_format` say is refused. Data that is
    /// dangerous in itself is refused in any case, and what was not declared rightly is never converted.
    pub require_match: bool,
    /// VMDK types that are accepted; of these only `streamOptimized` and `monolithicSparse` are in one file, and
    /// no other can be allowed.
    pub vmdk_allowed_types: Vec<String>,
    /// Checks of a partition table that do not refuse an image; `mbr` is the one there is.
    pub gpt_safety_checks_nonfatal: Vec<String>,
}

impl Default for ImageFormats {
    fn default() -> Self {
        Self {
            require_match: true,
            vmdk_allowed_types: vec!["streamOptimized".into(), "monolithicSparse".into()],
            gpt_safety_checks_nonfatal: Vec::new(),
        }
    }
}

/// `[image.convert]`: the limits of `qemu-img`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageConvert {
    /// The program; without a slash it is looked for in PATH.
    pub qemu_img: String,
    /// User it runs as, where this process is root.
    pub user: String,
    /// Address space, bytes.
    pub memory_bytes: u64,
    /// CPU time of a conversion, seconds.
    pub cpu_seconds: u64,
    /// CPU time of the look at an image before that, seconds.
    pub info_cpu_seconds: u64,
    /// Seconds after which a conversion is ended.
    pub timeout_seconds: u64,
    /// Largest file a conversion or decompression may make, bytes.
    pub max_output_bytes: u64,
}

impl Default for ImageConvert {
    fn default() -> Self {
        Self {
            qemu_img: "qemu-img".into(),
            user: "nobody".into(),
            memory_bytes: 1 << 30,
            cpu_seconds: 3600,
            info_cpu_seconds: 2,
            timeout_seconds: 2 * 3600,
            max_output_bytes: 1 << 40,
        }
    }
}
