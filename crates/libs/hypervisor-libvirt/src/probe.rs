//! Whether guests can run under KVM, proven by running one.
//!
//! A host may offer KVM that does not work: /dev/kvm opens, a machine can be made, the firmware prints its first
//! lines, and the kernel never starts. So a program of 440 bytes (`probe/payload.S`) is run: it enters 64-bit mode
//! with page tables of its own, computes with SSE registers, takes ten timer interrupts, and only then prints a word
//! on the serial port. The word means KVM works.
//!
//! With a local URI, QEMU is started directly: libvirt takes half a minute to examine a KVM that does not work. With a
//! remote one, or where this process may not open /dev/kvm itself, libvirt runs the same program as a transient
//! domain, from a file in the state directory (which that host shares, as guests' disks are there).

use crate::connection::Connection;
use crate::options::LibvirtOptions;
use crate::xml::capabilities::Capabilities;
use quick_xml::escape::escape;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::Instant;
use virt::sys;

/// The program, a multiboot kernel.
const PAYLOAD: &[u8] = include_bytes!("probe/payload.bin");
/// What it prints.
const WORD: &str = "FERROSTACK-KVM-64";
/// What QEMU says when a machine cannot go on.
const INTERNAL_ERROR: &str = "KVM internal error";
/// It takes a quarter of a second; a loaded host gets more.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a trial showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The program ran.
    Works,
    /// It did not; why.
    Fails(String),
    /// It could not be tried; why.
    Unknown(String),
}

/// A result with what it holds for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cached {
    /// The kernel's start.
    boot: String,
    uri: String,
    emulator: String,
    works: bool,
}

/// Whether the program was seen running under KVM; the result holds until the host starts anew.
pub async fn kvm_works(
    options: &LibvirtOptions,
    connection: &Connection,
    capabilities: &Capabilities,
) -> bool {
    let arch = capabilities.host.cpu.arch.as_str();
    let Some(guest) = capabilities.guest(arch).filter(|g| g.domain.iter().any(|d| d.kind == "kvm")) else {
        tracing::info!(arch, "libvirt offers no KVM: guests are emulated");
        return false;
    };
    if arch != "x86_64" {
        tracing::warn!(
            arch,
            "KVM can be proven on x86_64 only: guests are emulated; virt_type = \"kvm\" overrides"
        );
        return false;
    }
    let file = options.state_dir.join("kvm-proof.json");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let key = |works| Cached {
        boot: boot.trim().to_owned(),
        uri: options.uri.clone(),
        emulator: guest.emulator.clone(),
        works,
    };
    let cached = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Cached>(&bytes).ok());
    if let Some(cached) = cached
        && cached == key(cached.works)
    {
        return cached.works;
    }
    let proof = prove(options, connection, &guest.emulator).await;
    let works = match &proof {
        Proof::Works => {
            tracing::info!("a 64-bit program ran under KVM");
            true
        }
        Proof::Fails(why) => {
            tracing::warn!(why, "KVM is offered but does not run a 64-bit program: guests are emulated");
            false
        }
        Proof::Unknown(why) => {
            tracing::warn!(why, "KVM could not be tried: guests are emulated");
            return false;
        }
    };
    let written = serde_json::to_vec(&key(works)).map_err(std::io::Error::other);
    if let Err(e) = written.and_then(|bytes| std::fs::write(&file, bytes)) {
        tracing::debug!(file = %file.display(), error = %e, "the proof is not kept");
    }
    works
}

async fn prove(options: &LibvirtOptions, connection: &Connection, emulator: &str) -> Proof {
    if options.is_local() {
        let proof = by_qemu(Path::new(emulator), "kvm").await;
        if !matches!(proof, Proof::Unknown(_)) {
            return proof;
        }
    }
    by_libvirt(&options.state_dir, connection, "kvm").await
}

/// Runs the program with QEMU alone, under an accelerator (`kvm`; tests prove the program itself with `tcg`).
pub async fn by_qemu(emulator: &Path, accelerator: &str) -> Proof {
    let temp = match tempfile::NamedTempFile::new()
        .and_then(|file| std::fs::write(file.path(), PAYLOAD).map(|()| file))
    {
        Ok(file) => file,
        Err(e) => return Proof::Unknown(format!("a temporary file: {e}")),
    };
    let mut command = Command::new(emulator);
    command
        .args([
            "-no-user-config",
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
            "-m",
            "16",
            "-machine",
            "q35",
        ])
        .args(["-accel", accelerator, "-cpu", if accelerator == "kvm" { "host" } else { "max" }])
        .args(["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel"])
        .arg(temp.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return Proof::Unknown(format!("starting {}: {e}", emulator.display())),
    };
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Proof::Unknown("QEMU has no output".into());
    };
    // A machine in error stops without ending: what QEMU says of it ends the wait.
    let mut complaints = tokio::spawn(read_until(err, INTERNAL_ERROR));
    let judge = async {
        let words = read_until(out, WORD);
        tokio::pin!(words);
        let (word, complaint) = tokio::select! {
            word = &mut words => {
                if word.contains(WORD) {
                    return Proof::Works;
                }
                (word, (&mut complaints).await.unwrap_or_default())
            }
            complaint = &mut complaints => {
                let complaint = complaint.unwrap_or_default();
                let stuck = complaint.contains(INTERNAL_ERROR);
                (if stuck { String::new() } else { words.await }, complaint)
            }
        };
        if word.contains(WORD) {
            Proof::Works
        } else if complaint.contains("ermission denied") {
            Proof::Unknown("this process may not open /dev/kvm".into())
        } else {
            let line = complaint.lines().find(|l| l.contains("rror")).unwrap_or("no word and no error");
            Proof::Fails(format!("QEMU: {line}"))
        }
    };
    let late = || Proof::Fails(format!("it did not end within {} s", DEADLINE.as_secs()));
    tokio::time::timeout(DEADLINE, judge).await.unwrap_or_else(|_| late())
}

/// What the stream holds until its end, or until `enough` is in it.
async fn read_until(mut stream: impl AsyncRead + Unpin, enough: &str) -> String {
    let (mut text, mut buffer) = (String::new(), [0u8; 1024]);
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        if text.contains(enough) || text.len() > 1 << 16 {
            break;
        }
    }
    text
}

/// Runs the program as a transient domain, which ends with the connection,
/// of the given type (`kvm`; tests prove the way itself with `qemu`).
pub async fn by_libvirt(state_dir: &Path, connection: &Connection, kind: &str) -> Proof {
    let dir = state_dir.join("kvm-proof");
    let (kernel, log) = (dir.join("payload"), dir.join("serial"));
    let made = std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o711)))
        .and_then(|()| std::fs::write(&kernel, PAYLOAD))
        .and_then(|()| std::fs::write(&log, ""));
    if let Err(e) = made {
        return Proof::Unknown(format!("{}: {e}", dir.display()));
    }
    let cpu = if kind == "kvm" { "<cpu mode='host-model'/>" } else { "" };
    let xml = format!(
        "<domain type='{kind}'><name>ferrostack-kvm-proof-{}</name><memory unit='MiB'>16</memory>{cpu}\
         <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{}</kernel></os>\
         <devices><serial type='file'><source path='{}'/></serial><memballoon model='none'/></devices></domain>",
        std::process::id(),
        escape(kernel.to_string_lossy()),
        escape(log.to_string_lossy()),
    );
    let result = connection
        .call("trying KVM", move |connect| {
            let domain = connect.create_domain_xml(&xml, sys::VIR_DOMAIN_START_AUTODESTROY)?;
            let end = Instant::now() + DEADLINE;
            let mut works = false;
            while !works && Instant::now() < end && domain.is_active()? {
                // The file is all that is shared with a host elsewhere: nothing tells of its change.
                std::thread::sleep(Duration::from_millis(50));
                works = std::fs::read_to_string(&log).is_ok_and(|text| text.contains(WORD));
            }
            crate::guests::power_off(&domain)?;
            Ok(works)
        })
        .await;
    // What stays is overwritten by the next trial.
    let _ = std::fs::remove_dir_all(&dir);
    match result {
        Ok(true) => Proof::Works,
        Ok(false) => Proof::Fails("the program printed nothing under libvirt".into()),
        Err(e) if e.kind.retryable() => Proof::Unknown(e.for_log()),
        Err(e) => Proof::Fails(e.for_log()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn qemu() -> Option<&'static Path> {
        let path = Path::new("/usr/bin/qemu-system-x86_64");
        path.exists().then_some(path)
    }

    #[tokio::test]
    async fn the_program_itself_works() {
        let Some(qemu) = qemu() else { return };
        assert_eq!(by_qemu(qemu, "tcg").await, Proof::Works);
    }

    #[tokio::test]
    async fn what_cannot_be_tried_is_not_a_failure() {
        let proof = by_qemu(Path::new("/nowhere/qemu"), "tcg").await;
        assert!(matches!(proof, Proof::Unknown(_)), "{proof:?}");
        let Some(qemu) = qemu() else { return };
        let proof = by_qemu(qemu, "no-such-accelerator").await;
        assert!(matches!(proof, Proof::Fails(_)), "{proof:?}");
    }

    /// Where binutils are installed, the checked-in program is what its source says.
    #[test]
    fn the_program_is_built_from_its_source() {
        let temp = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/probe/payload.S");
        let (object, binary) = (temp.path().join("o"), temp.path().join("bin"));
        let assembled =
            std::process::Command::new("as").args(["--64", "-o"]).arg(&object).arg(source).status();
        let Ok(true) = assembled.map(|status| status.success()) else { return };
        let copied = std::process::Command::new("objcopy")
            .args(["-O", "binary", "-j", ".text"])
            .args([&object, &binary])
            .status();
        assert!(copied.unwrap().success());
        assert_eq!(std::fs::read(binary).unwrap(), PAYLOAD);
    }
}
