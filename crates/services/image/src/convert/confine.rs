//! How a child that reads what users sent is held.
//!
//! Arguments are a list, never a shell; the environment has nothing of ours, standard input is null, the working
//! directory is the conversion's own. Limits of memory, CPU, files and time; no new privileges, no capabilities; where
//! this process is root a user of its own and no network, where it is not no network if the system lets users make
//! namespaces. It dies with the thread that made it, and its whole group is killed at every end.
//! All that is done by the tools of util-linux, so that nothing here needs `unsafe`. Without them nothing runs.

use ferrostack_model::{Error, Result};
use ferrostack_settings::ImageConvert;
use nix::{sys::signal, unistd};
use std::{
    env, fs,
    io::{self, Read},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Open files of a child.
const FILES: u32 = 64;
/// Most bytes of a child's output that are kept.
const OUTPUT: usize = 64 << 10;
/// Longest text of a child that its image's owner is shown, characters.
const TEXT: usize = 200;
/// How often a running child is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Where tools are looked for beside PATH.
const PLACES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Who the child is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

/// What one run may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// CPU time.
    pub cpu_seconds: u64,
    /// Length of a file it writes.
    pub file_bytes: u64,
    /// Time by the clock.
    pub seconds: u64,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well; its standard output.
    Done(String),
    /// Not well; what it said, short and without paths of ours.
    Failed(String),
    /// It used up its time.
    TooLong,
    /// It was cancelled.
    Cancelled,
}

/// The tools, found, and the user.
pub struct Confined {
    settings: ImageConvert,
    program: PathBuf,
    prlimit: PathBuf,
    setpriv: PathBuf,
    /// With its arguments; `None` where namespaces are not to be had.
    unshare: Option<Vec<String>>,
    user: Option<User>,
}

impl Confined {
    /// Finds the tools. 503 if one is missing.
    pub fn new(settings: &ImageConvert) -> Result<Self> {
        let user = match unistd::geteuid().is_root() {
            false => None,
            true => Some(find_user(&settings.user)?),
        };
        Ok(Self {
            program: find(&settings.qemu_img)?,
            prlimit: find("prlimit")?,
            setpriv: find("setpriv")?,
            unshare: namespaces(user.is_some()),
            settings: settings.clone(),
            user,
        })
    }

    /// The child's user, if it is another one.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The settings.
    pub fn settings(&self) -> &ImageConvert {
        &self.settings
    }

    /// The whole list: namespaces, then privileges, then limits, then the program.
    fn arguments(&self, arguments: &[&str], limits: &Limits) -> Vec<String> {
        let mut all: Vec<String> = self.unshare.clone().unwrap_or_default();
        let mut push = |parts: &[&str]| all.extend(parts.iter().map(|p| (*p).to_owned()));
        push(&[&self.setpriv.to_string_lossy(), "--no-new-privs", "--pdeathsig=KILL"]);
        if let Some(user) = &self.user {
            let (uid, gid) = (format!("--reuid={}", user.uid), format!("--regid={}", user.gid));
            push(&[&uid, &gid, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]);
        }
        push(&["--", &self.prlimit.to_string_lossy()]);
        for (name, value) in [
            ("as", self.settings.memory_bytes),
            ("cpu", limits.cpu_seconds),
            ("fsize", limits.file_bytes),
            ("nofile", u64::from(FILES)),
            ("core", 0),
        ] {
            push(&[&format!("--{name}={value}")]);
        }
        push(&["--", &self.program.to_string_lossy()]);
        push(arguments);
        all
    }

    /// Runs the program in `directory` and waits for its end.
    pub fn run(
        &self,
        arguments: &[&str],
        directory: &Path,
        limits: &Limits,
        mut progress: impl FnMut(u8),
        cancel: &CancellationToken,
    ) -> Result<Outcome> {
        let all = self.arguments(arguments, limits);
        tracing::info!(arguments = ?all, "running qemu-img");
        let begun = Instant::now();
        let mut child = Command::new(&all[0])
            .args(&all[1..])
            .env_clear()
            // Each arena reserves 64 MiB of the address space that is limited: its many threads would use it up.
            .env("MALLOC_ARENA_MAX", "1")
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map(Group)
            .map_err(|e| Error::internal(format!("starting {}: {e}", all[0])))?;
        let (told, tell) = std::sync::mpsc::channel();
        let output = child.0.stdout.take().map(|pipe| thread::spawn(move || listen(pipe, &told)));
        let errors = child.0.stderr.take().map(|pipe| thread::spawn(move || keep(pipe)));
        let mut early = None;
        let status = loop {
            if let Some(status) = child.0.try_wait().map_err(lost)? {
                break status;
            }
            for percent in tell.try_iter() {
                progress(percent);
            }
            let over = begun.elapsed() > Duration::from_secs(limits.seconds);
            if early.is_none() && (over || cancel.is_cancelled()) {
                early = Some(if over { Outcome::TooLong } else { Outcome::Cancelled });
                child.kill();
            }
            thread::sleep(LOOK);
        };
        // Whatever it has left running holds the pipes open.
        child.kill();
        let gather = |reader: Option<thread::JoinHandle<String>>| {
            reader.and_then(|r| r.join().ok()).unwrap_or_default()
        };
        let (output, errors) = (gather(output), gather(errors));
        for percent in tell.try_iter() {
            progress(percent);
        }
        Ok(early.unwrap_or_else(|| ended(status, output, &errors)))
    }
}

fn lost(error: io::Error) -> Error {
    Error::internal(format!("waiting for qemu-img: {error}"))
}

fn ended(status: ExitStatus, output: String, errors: &str) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    match (status.success(), status.signal().and_then(|s| signal::Signal::try_from(s).ok())) {
        (true, _) => Outcome::Done(output),
        (_, Some(signal::Signal::SIGXCPU)) => Outcome::TooLong,
        // With equal soft and hard limits the kernel kills at once.
        (_, Some(signal::Signal::SIGKILL)) => {
            Outcome::Failed("it needs more time or memory than allowed".into())
        }
        (_, Some(signal::Signal::SIGXFSZ)) => Outcome::Failed("it becomes larger than allowed".into()),
        (_, Some(other)) => Outcome::Failed(format!("qemu-img ended by {other}")),
        _ => Outcome::Failed(short(errors)),
    }
}

/// The last line a program said, without what might be strange in it.
fn short(errors: &str) -> String {
    let line = errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("qemu-img failed");
    line.chars().filter(|c| !c.is_control()).take(TEXT).collect()
}

/// A child and all its children.
struct Group(Child);

impl Group {
    fn kill(&self) {
        if let Ok(id) = i32::try_from(self.0.id()) {
            // Nobody left: fine.
            let _ = signal::killpg(unistd::Pid::from_raw(id), signal::Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let _ = self.0.wait();
    }
}

/// Reads to the end and keeps the beginning.
fn keep(mut pipe: impl Read) -> String {
    let mut kept = Vec::new();
    let _ = pipe.by_ref().take(OUTPUT as u64).read_to_end(&mut kept);
    let _ = io::copy(&mut pipe, &mut io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

/// As [`keep`], and tells what looks like progress: `    (42.00/100%)`, each after a carriage return.
fn listen(mut pipe: ChildStdout, told: &std::sync::mpsc::Sender<u8>) -> String {
    let (mut kept, mut line, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
    loop {
        let read = match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let part = &buffer[..read];
        kept.extend_from_slice(&part[..read.min(OUTPUT.saturating_sub(kept.len()))]);
        for byte in part {
            if *byte == b')' || line.len() > 64 {
                if let Some(percent) = percent(&line) {
                    let _ = told.send(percent);
                }
                line.clear();
            } else {
                line.push(*byte);
            }
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn percent(line: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(line).ok()?;
    let number = text.rsplit('(').next()?.strip_suffix("/100%")?.split('.').next()?;
    number.trim().parse().ok().filter(|n| *n <= 100)
}

/// An absolute path of a program that may be run. 503 if there is none.
fn find(name: &str) -> Result<PathBuf> {
    let runs =
        |path: &Path| fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        let path = PathBuf::from(name);
        return if path.is_absolute() && runs(&path) { Ok(path) } else { Err(missing(name)) };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(PLACES.iter().map(PathBuf::from));
    places.filter(|p| p.is_absolute()).map(|p| p.join(name)).find(|p| runs(p)).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Error {
    Error::unavailable(format!("{name} is not installed: images cannot be converted"))
}

fn find_user(name: &str) -> Result<User> {
    let unknown = || Error::unavailable(format!("image.convert.user: there is no user {name}"));
    let user = unistd::User::from_name(name).ok().flatten().ok_or_else(unknown)?;
    if user.uid.is_root() {
        return Err(Error::unavailable("image.convert.user must not be root"));
    }
    Ok(User { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
}

/// The command that leaves network and messages behind, tried once: containers often forbid it.
fn namespaces(root: bool) -> Option<Vec<String>> {
    static FOUND: OnceLock<Option<Vec<String>>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let unshare = find("unshare").ok()?.to_string_lossy().into_owned();
            let kinds: &[&str] = if root { &["--net", "--ipc"] } else { &["--user", "--net", "--ipc"] };
            let mut command = vec![unshare];
            command.extend(kinds.iter().chain(&["--"]).map(|k| (*k).to_owned()));
            let tried = Command::new(&command[0])
                .args(&command[1..])
                .arg(find("true").ok()?)
                .env_clear()
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if !tried.is_ok_and(|status| status.success()) {
                tracing::warn!("no namespaces here: qemu-img shares this process's network");
                return None;
            }
            Some(command)
        })
        .clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn progress_is_read_and_nothing_else() {
        for (text, wanted) in [
            (&b"    (0.00/100%"[..], Some(0)),
            (b"\r    (42.99/100%", Some(42)),
            (b"(100.00/100%", Some(100)),
            (b"(101.00/100%", None),
            (b"(-1/100%", None),
            (b"(x/100%", None),
            (b"", None),
            (b"\xff(1.0/100%", None),
        ] {
            assert_eq!(percent(text), wanted, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_a_child_says_is_cut_and_stays_one_line() {
        let long = format!("first\nqemu-img: \u{1b}[31m{}\n\n", "x".repeat(1000));
        let text = short(&long);
        assert!(text.starts_with("qemu-img: [31mxx") && text.chars().count() == TEXT);
        assert_eq!(short(""), "qemu-img failed");
    }
}
