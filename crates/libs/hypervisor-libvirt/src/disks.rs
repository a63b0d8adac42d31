//! Disk files: the overlay on the base image, ephemeral and swap disks, config drive, kernel and ramdisk.
//!
//! Every external tool runs with limits, explicit formats, and arguments that no user chose: sizes are numbers,
//! paths are ours.

use crate::files::GuestFiles;
use crate::hardware::Hardware;
use ferrostack_hypervisor::{BaseImage, Guest};
use ferrostack_model::{Error, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Bytes of a GiB.
pub(crate) const GIB: u64 = 1 << 30;
/// Bytes of a MiB.
const MIB: u64 = 1 << 20;
/// Largest disk, bytes: what raw files reach on ext4 is less; this only keeps arithmetic sane.
pub(crate) const LARGEST: u64 = 1 << 52;

/// Makes what of a guest's disks is missing; what is there is kept.
///
/// # Errors
/// `BadRequest` if the flavor's disk is smaller than the image; else says which file and tool failed.
pub async fn ensure(guest: &Guest, files: &GuestFiles, hardware: &Hardware) -> Result<()> {
    let flavor = &guest.spec.flavor;
    let base = guest.base.as_ref().ok_or_else(|| Error::internal("the guest has no base image file"))?;
    let size = match hardware.cdrom {
        // A CD is as large as it is; the flavor's disk must hold it all the same.
        Some(_) => root_size(flavor.root_gb, base).map(|_| base.virtual_size)?,
        None => root_size(flavor.root_gb, base)?,
    };
    if !files.root_disk().exists() {
        overlay(base, size, files, &files.root_disk()).await?;
    }
    if flavor.ephemeral_gb > 0 && !files.ephemeral().exists() {
        let bytes = bytes_of(flavor.ephemeral_gb, GIB)?;
        let format: Option<(&str, &[&str])> = Some((
            "mkfs.ext4",
            &["-q", "-F", "-L", "ephemeral0", "-E", "lazy_itable_init=1,lazy_journal_init=1"],
        ));
        // Windows would not know ext4, and formats a blank disk itself.
        blank(files, &files.ephemeral(), bytes, if hardware.windows { None } else { format }).await?;
    }
    if flavor.swap_mb > 0 && !files.swap().exists() {
        let bytes = bytes_of(flavor.swap_mb, MIB)?;
        blank(files, &files.swap(), bytes, Some(("mkswap", &["-L", "swap"]))).await?;
    }
    if let Some(drive) = &guest.config_drive {
        files.copy(drive, &files.config_drive())?;
    }
    if let Some(kernel) = &guest.kernel {
        files.link(kernel, &files.kernel())?;
    }
    if let Some(ramdisk) = &guest.ramdisk {
        files.link(ramdisk, &files.ramdisk())?;
    }
    Ok(())
}

fn bytes_of(count: u64, unit: u64) -> Result<u64> {
    count
        .checked_mul(unit)
        .filter(|bytes| *bytes <= LARGEST)
        .ok_or_else(|| Error::bad_request("The flavor's disk is larger than any disk can be."))
}

/// Bytes of the root disk: the flavor's, or the image's own where the flavor says 0.
///
/// # Errors
/// `BadRequest` with Nova's text if the flavor's disk is smaller than the image: a guest on a cut disk does not boot.
pub fn root_size(root_gb: u64, base: &BaseImage) -> Result<u64> {
    if root_gb == 0 {
        return Ok(base.virtual_size);
    }
    let size = bytes_of(root_gb, GIB)?;
    if size < base.virtual_size {
        return Err(Error::bad_request(format!(
            "Flavor's disk is too small for requested image. Flavor disk is {size} bytes, image is {} bytes.",
            base.virtual_size
        )));
    }
    Ok(size)
}

/// Makes an overlay of `size` bytes on `base` at `target`.
pub(crate) async fn overlay(base: &BaseImage, size: u64, files: &GuestFiles, target: &Path) -> Result<()> {
    let format = match base.format.as_str() {
        "qcow2" => "qcow2",
        "raw" => "raw",
        other => return Err(Error::internal(format!("base image format {other:?} cannot be used as it is"))),
    };
    let base = base
        .path
        .canonicalize()
        .map_err(|e| Error::internal(format!("the base image {}: {e}", base.path.display())))?;
    let command = overlay_command(&base, format, &crate::files::part(target), size);
    run(command, "qemu-img create", Some(64 * MIB)).await?;
    finish(files, target)
}

/// Makes a root disk: both formats are said, paths are absolute and so no options.
fn overlay_command(base: &Path, format: &str, part: &Path, size: u64) -> Command {
    let mut command = tool("qemu-img");
    command
        .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
        .arg(base)
        .arg(part)
        .arg(size.to_string());
    command
}

/// A sparse raw file, formatted by a tool if there is one.
async fn blank(files: &GuestFiles, target: &Path, bytes: u64, format: Option<(&str, &[&str])>) -> Result<()> {
    let part = crate::files::part(target);
    let fail = |e| Error::internal(format!("making {}: {e}", target.display()));
    std::fs::File::create(&part).and_then(|file| file.set_len(bytes)).map_err(fail)?;
    if let Some((program, arguments)) = format {
        if find(program).is_some() {
            let mut command = tool(program);
            command.args(arguments).arg(&part);
            run(command, program, None).await?;
        } else {
            tracing::warn!(program, "not installed: a guest's disk stays unformatted");
        }
    }
    finish(files, target)
}

/// The file made under its temporary name becomes the real one, readable by its owner only.
fn finish(files: &GuestFiles, target: &Path) -> Result<()> {
    files.make(target, |part| {
        std::fs::set_permissions(part, std::fs::Permissions::from_mode(0o600))?;
        std::fs::File::open(part)?.sync_all()
    })
}

/// Where a program is; administrators' directories count although a user's PATH lacks them.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A tool with nothing of our environment.
pub(crate) fn tool(program: &str) -> Command {
    let mut command = Command::new(find(program).unwrap_or_else(|| program.into()));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C").current_dir("/");
    command
}

/// Runs a tool for a short work: see [`run_within`].
async fn run(command: Command, what: &str, file_bytes: Option<u64>) -> Result<()> {
    let wall = Some(Duration::from_secs(300));
    run_within(
        command,
        what,
        Limits { file_bytes, memory_bytes: GIB, cpu_seconds: 60, wall, dies_with_us: false },
    )
    .await
}

/// What a tool may use.
pub(crate) struct Limits {
    /// Largest file it writes.
    pub file_bytes: Option<u64>,
    /// Address space.
    pub memory_bytes: u64,
    /// Seconds of CPU.
    pub cpu_seconds: u64,
    /// Time; none: as long as it takes.
    pub wall: Option<Duration>,
    /// Whether it is killed when this process dies.
    pub dies_with_us: bool,
}

/// Runs a tool within `limits` (a crafted image must not take the host along: CVE-2015-5162).
pub(crate) async fn run_within(mut command: Command, what: &str, limits: Limits) -> Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let Limits { file_bytes, memory_bytes, cpu_seconds, wall, dies_with_us } = limits;
    // SAFETY: between fork and exec only setrlimit(2) and prctl(2) are called, which are async-signal-safe; nothing is
    // allocated.
    unsafe {
        command.pre_exec(move || {
            setrlimit(Resource::RLIMIT_AS, memory_bytes, memory_bytes)?;
            setrlimit(Resource::RLIMIT_CPU, cpu_seconds, cpu_seconds)?;
            setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
            if let Some(bytes) = file_bytes {
                setrlimit(Resource::RLIMIT_FSIZE, bytes, bytes)?;
            }
            if dies_with_us {
                nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            }
            Ok(())
        });
    }
    let child = command.spawn().map_err(|e| Error::internal(format!("starting {what}: {e}")))?;
    let output = match wall {
        Some(wall) => tokio::time::timeout(wall, child.wait_with_output())
            .await
            .map_err(|_| Error::unavailable(format!("{what} did not end within {} s", wall.as_secs())))?,
        None => child.wait_with_output().await,
    };
    let output = output.map_err(|e| Error::internal(format!("{what}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text: String = String::from_utf8_lossy(&output.stderr).chars().take(2000).collect();
    Err(Error::internal(format!("{what} failed ({}): {}", output.status, text.trim())))
}

/// The cache mode for disks in `dir`: `none` needs O_DIRECT, which some file systems lack.
pub fn cache_mode(dir: &Path) -> &'static str {
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    let probe = dir.join(".o_direct");
    let flags = OFlag::O_DIRECT | OFlag::O_CREAT | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let direct = open(&probe, flags, Mode::S_IRUSR | Mode::S_IWUSR).is_ok();
    // What is left of a failed removal is an empty file that the next start uses again.
    let _ = std::fs::remove_file(&probe);
    if direct { "none" } else { "writeback" }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn base(virtual_size: u64) -> BaseImage {
        BaseImage { path: "/nowhere".into(), format: "raw".into(), virtual_size }
    }

    #[test]
    fn a_disk_is_never_smaller_than_its_image() {
        assert_eq!(root_size(0, &base(5 * GIB + 1)).unwrap(), 5 * GIB + 1);
        assert_eq!(root_size(5, &base(5 * GIB)).unwrap(), 5 * GIB);
        let error = root_size(5, &base(5 * GIB + 1)).unwrap_err();
        assert_eq!(error.kind.http(), 400);
        assert!(error.public.contains("too small"), "{}", error.public);
        assert!(root_size(u64::MAX, &base(1)).is_err(), "no overflow");
    }

    #[tokio::test]
    async fn tools_are_held_to_their_limits() {
        let mut command = tool("sh");
        command.args(["-c", "ulimit -v; ulimit -t; exit 3"]);
        let error = run(command, "sh", None).await.unwrap_err();
        assert!(error.for_log().contains("exit status: 3"), "{}", error.for_log());
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("big");
        let mut command = tool("dd");
        command.args(["if=/dev/zero", "bs=1M", "count=8"]).arg(format!("of={}", file.display()));
        assert!(run(command, "dd", Some(MIB)).await.is_err(), "a file above the limit is refused");
        assert!(std::fs::metadata(&file).unwrap().len() <= MIB);
    }

    /// OSSA-2016-012, M14: what every tool of ours runs with.
    #[tokio::test]
    async fn ossa_2016_012_m14_tools_have_limits_and_nothing_of_ours() {
        let secret = tempfile::Builder::new().prefix("held-open-by-us").tempfile().unwrap();
        let mut command = tool("sh");
        command.args([
            "-c",
            "test $(ulimit -v) = 1048576 && test $(ulimit -t) = 60 && test $(ulimit -c) = 0 \
             && test -z \"$HOME$USER$CARGO_PKG_NAME$RUST_BACKTRACE$http_proxy\" && test $(pwd) = / \
             && test -z \"$(cat)\" && ! ls -l /proc/self/fd | grep -q held-open-by-us",
        ]);
        assert!(
            std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .flatten()
                .any(|fd| { std::fs::read_link(fd.path()).is_ok_and(|to| to == secret.path()) })
        );
        run(command, "sh", None).await.map_err(|e| e.for_log()).unwrap();
    }

    /// M14, OSSA-2026-002: nothing is left to be probed, nothing of a user's is an option.
    #[test]
    fn m14_qemu_img_is_told_every_format() {
        let command = overlay_command("/cache/--object".as_ref(), "raw", "/guests/-b/disk.part".as_ref(), 7);
        let command = command.as_std();
        let arguments: Vec<&str> = command.get_args().map(|a| a.to_str().unwrap()).collect();
        assert_eq!(
            arguments,
            [
                "create",
                "-q",
                "-f",
                "qcow2",
                "-F",
                "raw",
                "-b",
                "/cache/--object",
                "/guests/-b/disk.part",
                "7"
            ]
        );
        let names: Vec<_> = command.get_envs().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["LC_ALL", "PATH"]);
        assert_eq!(command.get_current_dir(), Some(Path::new("/")));
    }

    /// Bytes that a directory takes on the disk.
    fn used(dir: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let files = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().metadata().unwrap());
        files.map(|meta| meta.blocks() * 512).sum()
    }

    /// IMG-07: a file of a few hundred KiB that is a GiB inside is not expanded, whatever the flavor.
    #[tokio::test]
    async fn ossa_2013_029_a_compressed_image_is_not_expanded() {
        use crate::files::Instances;
        use crate::hardware::{Hardware, HostTraits, Offers};
        if find("qemu-img").is_none() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let (zeros, bomb) = (temp.path().join("zeros"), temp.path().join("bomb"));
        std::fs::File::create(&zeros).unwrap().set_len(GIB).unwrap();
        // With -S 0 the zeros are kept and compressed, not left out.
        let made = std::process::Command::new("qemu-img")
            .args(["convert", "-c", "-S", "0", "-f", "raw", "-O", "qcow2"])
            .args([&zeros, &bomb])
            .status();
        assert!(made.unwrap().success());
        std::fs::remove_file(zeros).unwrap();
        let packed = std::fs::metadata(&bomb).unwrap().len();
        assert!(packed < 4 * MIB, "{packed}");
        let instances = Instances::open(&temp.path().join("state")).unwrap();
        let traits = HostTraits {
            kvm: false,
            arch: "x86_64".into(),
            machine: "pc".into(),
            offers: Offers::default(),
            disk_cache: "none",
            vnc_listen: "127.0.0.1".parse().unwrap(),
            filters: false,
        };
        for (root_gb, inside, fits) in
            [(0, GIB, true), (1, GIB, true), (1, GIB + 1, false), (1, 64 * GIB, false)]
        {
            let id = uuid::Uuid::new_v4().to_string();
            let mut guest = ferrostack_hypervisor::fake::sample_guest(&id, 1);
            guest.spec.flavor.root_gb = root_gb;
            guest.base = Some(BaseImage { path: bomb.clone(), format: "qcow2".into(), virtual_size: inside });
            let files = instances.guest(&id).unwrap();
            files.prepare().unwrap();
            let hardware = Hardware::of(&guest.spec, &traits).map_err(|e| e.for_log()).unwrap();
            let done = ensure(&guest, &files, &hardware).await.map_err(|e| e.public);
            assert_eq!(done.is_ok(), fits, "{root_gb} {inside}: {done:?}");
            assert_eq!(files.root_disk().exists(), fits);
            assert!(used(files.dir()) < MIB, "{} bytes were written", used(files.dir()));
        }
        assert_eq!(std::fs::metadata(&bomb).unwrap().len(), packed, "the base is as it was");
    }

    /// OSSA-2012-008, 2012-011: nothing of a guest is ever mounted or attached to the host, in any of our sources.
    #[test]
    fn ossa_2012_008_2012_011_nothing_of_a_guest_is_mounted() {
        fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, found);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    found.push(path);
                }
            }
        }
        let mut sources = Vec::new();
        for from in ["../..", "../../services"] {
            let top = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
            for name in ["hypervisor-libvirt", "hypervisor", "compute-agent", "image"] {
                for base in [top.join(name).join("src"), top.join("libs").join(name).join("src")] {
                    if base.is_dir() {
                        walk(&base, &mut sources);
                    }
                }
            }
        }
        assert!(sources.len() > 40, "{}", sources.len());
        let words =
            ["qemu-nbd", "guestmount", "libguestfs", "losetup", "kpartx", "mount::mount", "\"mount\""];
        for path in sources {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in words {
                assert!(!text.contains(word), "{} has {word}", path.display());
            }
        }
    }
}
