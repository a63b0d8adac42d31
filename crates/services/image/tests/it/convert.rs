//! Conversions by the real qemu-img, and how it is confined.

use crate::{corpus, support::eventually};
use ferrostack_image::{
    convert::{Converted, Target, decompress, run},
    inspect::{CheckedImage, Declared, DiskFormat},
};
use ferrostack_model::{Error, ErrorKind, Result};
use ferrostack_settings::ImageConvert;
use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const MIB: u64 = 1 << 20;

pub fn has_qemu_img() -> bool {
    let there = Command::new("qemu-img").arg("--version").output().is_ok();
    if !there {
        eprintln!("qemu-img is not installed: skipped");
    }
    there
}

fn qemu_img(arguments: &[&str]) {
    let done = Command::new("qemu-img").args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn check(path: &Path, disk_format: &str) -> Arc<CheckedImage> {
    let declared = Declared {
        disk_format: disk_format.into(),
        container_format: "bare".into(),
        rules: (1 << 44).into(),
    };
    Arc::new(CheckedImage::check(&File::open(path).unwrap(), &declared).unwrap())
}

/// A disk with data in the middle, 9 MiB.
fn data() -> Vec<u8> {
    let mut data = vec![0_u8; 9 << 20];
    for (i, byte) in data.iter_mut().enumerate().skip(2 << 20).take(3 << 20) {
        *byte = ((i * i) >> 7) as u8;
    }
    data
}

fn raw(dir: &Path, data: &[u8]) -> PathBuf {
    let path = dir.join("disk.raw");
    fs::write(&path, data).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

async fn convert(
    settings: &ImageConvert,
    image: &Arc<CheckedImage>,
    to: Target,
    target: &Path,
) -> Result<Converted> {
    run(settings, image.clone(), to, target, |_| {}, CancellationToken::new()).await
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_becomes_every_target_with_the_same_bytes() {
    if !has_qemu_img() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = data();
    let original = raw(dir.path(), &data);
    for (format, driver, options) in [
        ("raw", "raw", ""),
        ("qcow2", "qcow2", ""),
        ("vmdk", "vmdk", "subformat=monolithicSparse"),
        ("vmdk", "vmdk", "subformat=streamOptimized"),
        ("vhd", "vpc", "subformat=dynamic,force_size=on"),
        ("vhd", "vpc", "subformat=fixed,force_size=on"),
        ("vhdx", "vhdx", ""),
        ("vdi", "vdi", ""),
        ("ploop", "parallels", ""),
    ] {
        let source = dir.path().join("source.img");
        let mut arguments = vec!["convert", "-f", "raw", "-O", driver];
        if !options.is_empty() {
            arguments.extend(["-o", options]);
        }
        arguments.extend([original.to_str().unwrap(), source.to_str().unwrap()]);
        qemu_img(&arguments);
        fs::set_permissions(&source, fs::Permissions::from_mode(0o600)).unwrap();
        let before = fs::metadata(&source).unwrap();
        let image = check(&source, format);
        for to in [
            Target::Raw,
            Target::Qcow2 { compressed: false },
            Target::Qcow2 { compressed: true },
            Target::Vmdk { compressed: false },
            Target::Vmdk { compressed: true },
        ] {
            let target = dir.path().join("made.img");
            let told = Arc::new(Mutex::new(Vec::new()));
            let tell = told.clone();
            let progress = move |percent| tell.lock().unwrap().push(percent);
            let made =
                run(&ImageConvert::default(), image.clone(), to, &target, progress, CancellationToken::new())
                    .await
                    .unwrap_or_else(|e| panic!("{format} {options} to {to:?}: {e:?}"));
            assert_eq!(made.image.virtual_size(), 9 * MIB, "{format} {options} to {to:?}");
            assert_eq!(Some(made.image.format()), DiskFormat::parse(to.disk_format()));
            let about = fs::metadata(&target).unwrap();
            assert_eq!((about.len(), about.mode() & 0o777), (made.image.size(), 0o600));
            assert_eq!(about.uid(), before.uid(), "the result is ours");
            let back = dir.path().join("back.raw");
            qemu_img(&[
                "convert",
                "-f",
                to.disk_format(),
                "-O",
                "raw",
                target.to_str().unwrap(),
                back.to_str().unwrap(),
            ]);
            assert!(fs::read(&back).unwrap() == data, "{format} {options} to {to:?}: other bytes");
            assert_eq!(told.lock().unwrap().last(), Some(&100), "{format} {options} to {to:?}");
            fs::remove_file(&target).unwrap();
            fs::remove_file(&back).unwrap();
        }
        let after = fs::metadata(&source).unwrap();
        assert_eq!(
            (after.gid(), after.mode(), after.nlink()),
            (before.gid(), before.mode(), 1),
            "lent and given back"
        );
        fs::remove_file(&source).unwrap();
        assert_eq!(names(dir.path()), ["disk.raw"], "nothing is left of {format}");
    }
}

/// A program in qemu-img's place: bash that answers `info` rightly and runs `body` for `convert`, on a raw image of
/// 64 KiB. It writes the arguments of every call into `calls`.
struct Fake {
    dir: TempDir,
    settings: ImageConvert,
    image: Arc<CheckedImage>,
    target: PathBuf,
}

const SIZE: usize = 64 << 10;

fn fake(body: &str) -> Fake {
    let dir = tempfile::tempdir().unwrap();
    // Another user runs it and writes there.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["calls", "out"] {
        fs::write(dir.path().join(name), "").unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o666)).unwrap();
    }
    let at = dir.path().display();
    let script = format!(
        "#!/bin/bash\nenvironment=$(tr '\\0' '\\n' </proc/$$/environ)\nprintf '%q ' \"$@\" >>{at}/calls; echo >>{at}/calls\n\
         case $1 in info) echo '{{\"format\":\"raw\",\"virtual-size\":{SIZE}}}' ;; convert)\n{body}\n;; esac\n"
    )
    .replace("OUT", &format!("{at}/out"));
    let program = dir.path().join("qemu-img");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let stores = dir.path().join("store");
    fs::create_dir(&stores).unwrap();
    fs::set_permissions(&stores, fs::Permissions::from_mode(0o700)).unwrap();
    let source = raw(&stores, &vec![7; SIZE]);
    let settings = ImageConvert { qemu_img: program.to_str().unwrap().into(), ..Default::default() };
    Fake { settings, image: check(&source, "raw"), target: stores.join("made"), dir }
}

impl Fake {
    async fn run(&self) -> Result<Converted> {
        convert(&self.settings, &self.image, Target::Raw, &self.target).await
    }
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }
    /// Only the source lies in the store, as it was.
    fn nothing_left(&self) {
        let store = self.target.parent().unwrap();
        assert_eq!(names(store), ["disk.raw"]);
        let about = fs::metadata(store.join("disk.raw")).unwrap();
        assert_eq!((about.mode() & 0o7777, about.nlink()), (0o600, 1));
        assert_eq!(about.gid(), fs::metadata(store).unwrap().gid());
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// M14: what the child may do, seen from within; and every call names its format.
#[tokio::test(flavor = "multi_thread")]
async fn m14_the_child_is_confined() {
    let fake = fake(
        "{ cat /proc/self/limits /proc/self/status; echo \"environment=[$environment]\"; ls -l /proc/$$/fd; pwd; ls -l; \
         cat /proc/net/dev; readlink /proc/$$/fd/0; cat /proc/$$/stat; } >OUT 2>&1\nhead -c 65536 source >target",
    );
    let made = fake.run().await.unwrap();
    assert_eq!(made.image.size(), SIZE as u64);
    let out = fake.read("out");
    for (name, wanted) in [
        ("Max address space", "1073741824"),
        ("Max cpu time", "3600"),
        ("Max open files", "64"),
        ("Max core file size", "0"),
        ("Max file size", "16843776"),
    ] {
        let line = out.lines().find(|l| l.starts_with(name)).unwrap();
        let words: Vec<_> = line[name.len()..].split_whitespace().collect();
        assert_eq!(words[..2], [wanted, wanted], "{line}");
    }
    let status = |name: &str| {
        let line = out.lines().find(|l| l.starts_with(name)).unwrap();
        line[name.len()..].trim().to_owned()
    };
    assert_eq!(status("NoNewPrivs:"), "1");
    if is_root() {
        assert!(status("Uid:").starts_with("65534"), "{out}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(status(set), "0000000000000000", "{set}");
        }
        assert!(["", "65534"].contains(&status("Groups:").as_str()), "no groups beside its own");
        let network: Vec<_> =
            out.lines().filter(|l| l.trim_start().starts_with("lo:") || l.contains("eth")).collect();
        assert_eq!(network.len(), 1, "no network: {network:?}");
    }
    assert!(out.contains("environment=[MALLOC_ARENA_MAX=1]"), "{out}");
    assert!(out.contains("/dev/null"), "standard input: {out}");
    // Bash has its script open, and copies of what is redirected; of ours nothing.
    let store = fake.target.parent().unwrap().to_str().unwrap();
    let ours = |l: &&str| l.contains(" -> ") && l.contains(store) && !l.contains("/.convert-");
    assert_eq!(out.lines().find(ours), None, "inherited descriptors");
    assert!(!out.lines().any(|l| l.contains(" -> socket:") || l.contains("anon_inode:")), "{out}");
    let directory = out.lines().find(|l| l.contains("/.convert-")).unwrap();
    assert!(directory.starts_with(fake.target.parent().unwrap().to_str().unwrap()));
    let calls = fake.read("calls");
    assert_eq!(
        calls.lines().map(str::trim).collect::<Vec<_>>(),
        ["info -f raw --output=json source", "convert -p -f raw -O raw source target"]
    );
    fs::remove_file(&fake.target).unwrap();
    fake.nothing_left();
}

/// M14: input and output format stand in every call for every pair of formats, and nothing but fixed words.
#[tokio::test(flavor = "multi_thread")]
async fn m14_every_call_names_its_formats() {
    if !has_qemu_img() {
        return;
    }
    let real = fake("exit 1");
    let script = real.dir.path().join("qemu-img");
    let calls = real.dir.path().join("calls");
    fs::write(
        &script,
        format!("#!/bin/bash\necho \"$@\" >>{}\nexec /usr/bin/qemu-img \"$@\"\n", calls.display()),
    )
    .unwrap();
    let store = real.target.parent().unwrap();
    let mut runs = 0;
    for (format, driver) in [
        ("raw", "raw"),
        ("qcow2", "qcow2"),
        ("vmdk", "vmdk"),
        ("vhd", "vpc"),
        ("vhdx", "vhdx"),
        ("vdi", "vdi"),
    ] {
        let source = store.join("source.img");
        let options = if driver == "vpc" { "force_size=on" } else { "" };
        let mut arguments = vec!["create", "-f", driver];
        if !options.is_empty() {
            arguments.extend(["-o", options]);
        }
        arguments.extend([source.to_str().unwrap(), "4M"]);
        qemu_img(&arguments);
        let image = check(&source, format);
        for to in [Target::Raw, Target::Qcow2 { compressed: true }] {
            convert(&real.settings, &image, to, &real.target)
                .await
                .unwrap_or_else(|e| panic!("{format} {to:?}: {e:?}"));
            fs::remove_file(&real.target).unwrap();
            runs += 1;
        }
        fs::remove_file(&source).unwrap();
    }
    let calls = real.read("calls");
    assert_eq!(calls.lines().count(), 2 * runs);
    for call in calls.lines() {
        let words: Vec<_> = call.split(' ').collect();
        let input = words.iter().position(|w| *w == "-f").expect(call);
        assert!(["raw", "qcow2", "vmdk", "vpc", "vhdx", "vdi"].contains(&words[input + 1]), "{call}");
        assert!(words[0] == "info" || words.contains(&"-O"), "{call}");
        assert!(!call.contains("--image-opts") && !call.contains('/'), "{call}");
    }
}

/// S-2014-012: no name, however odd, gets into the child's arguments.
#[tokio::test(flavor = "multi_thread")]
async fn s_2014_012_no_text_of_a_user_reaches_the_child() {
    let fake = fake("head -c 65536 source >target");
    let store = fake.target.parent().unwrap().to_owned();
    let odd = [
        "$(touch pwned)",
        "`touch pwned`",
        "; touch pwned",
        "a\ntouch pwned",
        "-rf",
        "--help",
        "|id",
        "&& id",
        "'\"'",
        "a b",
        "*",
        "json:{}",
        "nbd:x",
        "\u{1f4a9}",
        "%s%n",
        "${IFS}",
        "x=1",
        "\\",
        "~",
        "http:",
    ];
    for name in odd {
        let source = store.join(format!("in{name}"));
        fs::copy(store.join("disk.raw"), &source).unwrap();
        let target = store.join(name);
        let made = convert(&fake.settings, &check(&source, "raw"), Target::Raw, &target).await;
        assert_eq!(made.unwrap().image.size(), SIZE as u64, "{name:?}");
        fs::remove_file(&target).unwrap();
        fs::remove_file(&source).unwrap();
    }
    let calls = fake.read("calls");
    assert_eq!(calls.lines().count(), 2 * odd.len());
    for call in calls.lines() {
        let fixed = ["info -f raw --output=json source", "convert -p -f raw -O raw source target"];
        assert!(fixed.contains(&call.trim()), "{call}");
    }
    assert!(!store.join("pwned").exists() && !Path::new("pwned").exists());
    fake.nothing_left();
}

/// S-2013-029: more than the limit is not written, and nothing stays.
#[tokio::test(flavor = "multi_thread")]
async fn s_2013_029_more_than_allowed_is_not_written() {
    let fake = fake("dd if=/dev/zero of=target bs=1M count=400 2>OUT; stat -c %s target >>OUT; exit 1");
    let error = fake.run().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadRequest, "{error:?}");
    // The disk's 64 KiB, a 64th of it, and 16 MiB.
    let written: u64 = fake.read("out").lines().last().unwrap().parse().unwrap_or(0);
    assert!((1..=16_843_776).contains(&written), "{written}");
    fake.nothing_left();
}

/// S-2013-029 and IMG-07: a bomb of compressed clusters, by the real program.
#[tokio::test(flavor = "multi_thread")]
async fn img_07_bombs_end_at_the_limit() {
    if !has_qemu_img() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let big = dir.path().join("big.raw");
    let file = File::create(&big).unwrap();
    for i in 0..128 {
        std::io::Write::write_all(&mut &file, &vec![b'A' + i % 3; 1 << 20]).unwrap();
    }
    let bomb = dir.path().join("bomb.qcow2");
    qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", big.to_str().unwrap(), bomb.to_str().unwrap()]);
    fs::remove_file(&big).unwrap();
    assert!(fs::metadata(&bomb).unwrap().len() < MIB, "a bomb is small");
    let image = check(&bomb, "qcow2");
    let target = dir.path().join("made");
    for (most, to) in [
        (100, Target::Raw),
        (50, Target::Qcow2 { compressed: false }),
        (50, Target::Vmdk { compressed: false }),
    ] {
        let settings = ImageConvert { max_output_bytes: most * MIB, ..Default::default() };
        let error = convert(&settings, &image, to, &target).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadRequest, "{to:?}: {error:?}");
        assert_eq!(names(dir.path()), ["bomb.qcow2"], "{to:?}");
    }
    // Compressed again it stays small, and passes.
    let settings = ImageConvert { max_output_bytes: 50 * MIB, ..Default::default() };
    convert(&settings, &image, Target::Qcow2 { compressed: true }, &target).await.unwrap();
    // A disk of 64 GiB in a few hundred KiB does not become a raw file.
    let wide = dir.path().join("wide.qcow2");
    qemu_img(&["create", "-f", "qcow2", wide.to_str().unwrap(), "64G"]);
    let settings = ImageConvert { max_output_bytes: 1 << 30, ..Default::default() };
    let error = convert(&settings, &check(&wide, "qcow2"), Target::Raw, &dir.path().join("wide.raw"))
        .await
        .unwrap_err();
    assert!(error.public.contains("larger than the limit"), "{error:?}");
}

/// S-2016-012 and IMG-08: a child that eats time is ended with all its children, while others are served.
#[tokio::test(flavor = "multi_thread")]
async fn s_2016_012_a_child_that_does_not_end_is_ended() {
    let mut fake = fake("sleep 1000 & echo $! $$ >OUT; while :; do :; done");
    fake.settings.timeout_seconds = 1;
    let begun = Instant::now();
    let error = fake.run().await.unwrap_err();
    assert!(error.public.contains("too long"), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    gone(&fake.read("out")).await;
    fake.nothing_left();
}

/// S-2016-012: CPU time is limited beside the clock's.
#[tokio::test(flavor = "multi_thread")]
async fn s_2016_012_cpu_time_is_limited() {
    let mut fake = fake("while :; do :; done");
    fake.settings.cpu_seconds = 1;
    fake.settings.timeout_seconds = 300;
    let error = fake.run().await.unwrap_err();
    assert!(error.public.contains("too long") || error.public.contains("more time"), "{error:?}");
    fake.nothing_left();
}

/// S-2016-012: a look at an image has 2 s of CPU and 1 GiB, upstream's figures.
#[tokio::test(flavor = "multi_thread")]
async fn s_2016_012_a_look_has_upstreams_limits() {
    let fake = fake("exit 1");
    let script = fake.dir.path().join("qemu-img");
    fs::write(
        &script,
        format!("#!/bin/bash\ncat /proc/self/limits >{}/out; exit 1\n", fake.dir.path().display()),
    )
    .unwrap();
    assert_eq!(fake.run().await.unwrap_err().kind, ErrorKind::BadRequest);
    let out = fake.read("out");
    let limit = |name: &str| {
        let line = out.lines().find(|l| l.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(
        (limit("Max cpu time"), limit("Max address space"), limit("Max file size")),
        ("2".into(), "1073741824".into(), "65536".into())
    );
    fake.nothing_left();
}

async fn gone(pids: &str) {
    for pid in pids.split_whitespace() {
        let dead = async || match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        eventually(&format!("{pid} is gone"), dead).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_or_dropped_it_ends_and_leaves_nothing() {
    let fake = fake("echo $$ >OUT; sleep 1000");
    let running = async || !fake.read("out").trim().is_empty();
    let cancel = CancellationToken::new();
    let (settings, image, target, token) =
        (fake.settings.clone(), fake.image.clone(), fake.target.clone(), cancel.clone());
    let task = tokio::spawn(async move { run(&settings, image, Target::Raw, &target, |_| {}, token).await });
    eventually("it runs", running).await;
    cancel.cancel();
    assert_eq!(task.await.unwrap().unwrap_err().kind, ErrorKind::Conflict);
    gone(&fake.read("out")).await;
    fake.nothing_left();

    fs::write(fake.dir.path().join("out"), "").unwrap();
    let (settings, image, target) = (fake.settings.clone(), fake.image.clone(), fake.target.clone());
    let task = tokio::spawn(async move {
        run(&settings, image, Target::Raw, &target, |_| {}, CancellationToken::new()).await
    });
    eventually("it runs", running).await;
    task.abort();
    gone(&fake.read("out")).await;
    eventually("nothing is left", async || names(fake.target.parent().unwrap()) == ["disk.raw"]).await;
}

/// Not a test: converts until it is killed, for the one below.
#[tokio::test(flavor = "multi_thread")]
async fn convert_until_killed() {
    let Ok(program) = std::env::var("IT_CONVERT_PROGRAM") else { return };
    let store = PathBuf::from(std::env::var("IT_CONVERT_STORE").unwrap());
    let settings = ImageConvert { qemu_img: program, ..Default::default() };
    let image = check(&store.join("disk.raw"), "raw");
    let _ = convert(&settings, &image, Target::Raw, &store.join("made")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m14_the_child_dies_with_a_killed_process() {
    let fake = fake("echo $$ >OUT; exec sleep 1000");
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["convert::convert_until_killed", "--exact"])
        .env("IT_CONVERT_PROGRAM", &fake.settings.qemu_img)
        .env("IT_CONVERT_STORE", fake.target.parent().unwrap())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("it runs", async || !fake.read("out").trim().is_empty()).await;
    process.kill().unwrap();
    process.wait().unwrap();
    gone(&fake.read("out")).await;
}

/// What was made is looked at again: the disk of a sound qcow2 may begin with another image's header (IMG-12).
#[tokio::test(flavor = "multi_thread")]
async fn img_12_what_comes_out_is_inspected() {
    if !has_qemu_img() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for inner in [
        corpus::qcow2_backed(corpus::CANARY),
        corpus::vmdk_text("monolithicFlat", "RW 1 FLAT \"/etc/hostname\" 0", "").into_bytes(),
    ] {
        let mut disk = inner;
        disk.resize(1 << 20, 0);
        let inner = raw(dir.path(), &disk);
        let outer = dir.path().join("outer.qcow2");
        qemu_img(&["convert", "-f", "raw", "-O", "qcow2", inner.to_str().unwrap(), outer.to_str().unwrap()]);
        fs::remove_file(&inner).unwrap();
        let target = dir.path().join("made");
        let error = convert(&ImageConvert::default(), &check(&outer, "qcow2"), Target::Raw, &target)
            .await
            .unwrap_err();
        assert!(error.public.starts_with("The converted image is refused"), "{error:?}");
        assert_eq!(names(dir.path()), ["outer.qcow2"]);
        fs::remove_file(&outer).unwrap();
    }
}

/// L16: other results than files of their own, other sizes and silent failures are refused.
#[tokio::test(flavor = "multi_thread")]
async fn odd_results_are_refused() {
    for body in [
        "ln -s /etc/hostname target",
        "ln source target",
        "mkdir target",
        "mkfifo target",
        "true",
        ": >target",
        "head -c 65535 source >target",
        "head -c 65536 source >target; echo >>target; head -c 1000 source >>target",
        "exit 3",
        "kill -9 $$",
        "head -c 100000 /dev/zero >&2; exit 1",
        "yes | head -c 10000000; exit 1",
    ] {
        let fake = fake(body);
        let error: Error = fake.run().await.map(drop).expect_err(body);
        assert!(error.public.len() < 400, "{body}: {error:?}");
        fake.nothing_left();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_tools_nothing_runs() {
    let mut fake = fake("head -c 65536 source >target");
    let plain = fake.target.with_file_name("disk.raw");
    let plain = plain.to_str().unwrap();
    for program in ["/nonexistent/qemu-img", "no-such-program-at-all", "./qemu-img", plain, "", "/"] {
        fake.settings.qemu_img = program.into();
        assert_eq!(fake.run().await.unwrap_err().kind, ErrorKind::Unavailable, "{program}");
    }
    fake.nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_there_is_never_touched() {
    let fake = fake("head -c 65536 source >target");
    fs::write(&fake.target, "mine").unwrap();
    assert!(fake.run().await.is_err());
    assert_eq!(fs::read_to_string(&fake.target).unwrap(), "mine");
}

#[test]
fn img_07_decompression_ends_at_its_limit() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let packed = dir.path().join("image.gz");
    let target = dir.path().join("image");
    let cancel = CancellationToken::new();
    let pack = |data: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    };
    let unpack = |bytes: &[u8], limit: u64| {
        fs::write(&packed, bytes).unwrap();
        let result = decompress(&File::open(&packed).unwrap(), &target, limit, &cancel);
        let made = result.map(|_| fs::read(&target).unwrap());
        let _ = fs::remove_file(&target);
        assert_eq!(names(dir.path()), ["image.gz"]);
        made
    };
    let data: Vec<u8> = (0..1_000_000_u32).map(|i| (i >> 3) as u8).collect();
    assert_eq!(unpack(&pack(&data), 1_000_000).unwrap(), data);
    assert_eq!(unpack(&pack(&data), 999_999).unwrap_err().kind, ErrorKind::BadRequest);
    let two = [pack(b"one"), pack(b"two")].concat();
    assert_eq!(unpack(&two, 100).unwrap(), b"onetwo");
    let bomb = pack(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(unpack(&bomb, 1 << 20).unwrap_err().kind, ErrorKind::BadRequest);
    let whole = pack(&data);
    for cut in [0, 1, 5, 10, 100, whole.len() - 9, whole.len() - 1] {
        assert_eq!(unpack(&whole[..cut], 1 << 30).unwrap_err().kind, ErrorKind::BadRequest, "cut at {cut}");
    }
    let mut wrong = whole.clone();
    let last = wrong.len() - 6;
    wrong[last] ^= 1;
    assert!(unpack(&wrong, 1 << 30).is_err(), "a wrong checksum");
    assert!(unpack(&[whole, b"junk".to_vec()].concat(), 1 << 30).is_err(), "junk after the end");
    cancel.cancel();
    let error = decompress(&File::open(&packed).unwrap(), &target, 1 << 30, &cancel).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert_eq!(names(dir.path()), ["image.gz"]);
}
