//! `cargo xtask bench image`: uploads and downloads beside what the machine can do, memory, lists.

use super::{
    image_stage::{ImageStage, id, mark_memory, memory},
    limit,
    load::{self, Figure, processor_time, request},
    transfer::{Target, at_once},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use std::{
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Parallel transfers.
const AT_ONCE: usize = 8;

/// Measures the image service on SQLite and a file store.
#[derive(Debug, clap::Args)]
pub struct Image {
    /// MiB of the image
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Rounds of uploads, downloads and the machine's own limit; medians count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each list's measurement
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Numbers of images in the lists
    #[arg(long, value_delimiter = ',', default_values_t = [500, 100_000])]
    images: Vec<u32>,
    /// Where image data and the copies are written (default: the temporary directory)
    #[arg(long, value_name = "DIRECTORY")]
    place: Option<PathBuf>,
    /// Measures the binaries of this directory instead of building some
    #[arg(long, value_name = "DIRECTORY")]
    built: Option<PathBuf>,
    /// Also writes the figures there, as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Image {
    /// Builds, measures, prints a table and then one line of JSON.
    pub fn run(&self) -> Result<()> {
        let target = self.built.clone().map_or_else(build, Ok)?;
        let runtime = tokio::runtime::Runtime::new()?;
        let figures = runtime.block_on(self.measure(&target))?;
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let report = json!({"mib": self.mib, "rounds": self.rounds, "cpus": cpus, "figures": figures});
        println!("{report}");
        if let Some(file) = &self.out {
            std::fs::write(file, format!("{report}\n")).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    async fn measure(&self, target: &Path) -> Result<Value> {
        let place = match &self.place {
            Some(place) => tempfile::tempdir_in(place)?,
            None => tempfile::tempdir()?,
        };
        let stage = ImageStage::start(target, place.path()).await?;
        let mut table = Table::default();
        println!("{} MiB, {} rounds, load average {}", self.mib, self.rounds, limit::load_average());
        self.transfers(&stage, place.path(), &mut table)?;
        let mut first = 1;
        for count in &self.images {
            stage.fill(first, count + 1).await?;
            first = count + 1;
            self.lists(&stage, *count, &mut table)?;
        }
        table.0.insert("load_average_after".into(), json!(limit::load_average()));
        Ok(Value::Object(table.0))
    }

    fn transfers(&self, stage: &ImageStage, place: &Path, table: &mut Table) -> Result<()> {
        let (pid, size) = (stage.service().pid, self.mib << 20);
        let (source, part) = (place.join("source"), place.join("part"));
        write_random(&source, size)?;
        write_random(&part, size / AT_ONCE as u64)?;
        let target = Target { address: stage.address, token: stage.token.clone() };
        // Once outside of the account: code and page cache are warm for all.
        let warm = stage.create()?;
        target.upload(&warm, &part)?;
        stage.delete(&warm)?;
        let (before, _) = memory(pid)?;
        mark_memory(pid)?;

        let mut times = Times::default();
        for round in 0..self.rounds {
            times.add("machine's own limit", limit::hash_and_write(&source, &place.join("copy"))?);
            let image = stage.create()?;
            let cpu = processor_time(pid)?;
            times.add("upload", target.upload(&image, &source)?);
            times.cpu("upload", processor_time(pid)? - cpu);
            let cpu = processor_time(pid)?;
            times.add("download", target.download(&image, None, size)?);
            times.cpu("download", processor_time(pid)? - cpu);
            times.add("download by ranges of 8 MiB", target.ranges(&image, &pieces(size, 8 << 20), size)?);
            times.add(
                "download, 8 at once",
                at_once(AT_ONCE, |n| {
                    let each = size / AT_ONCE as u64;
                    let from = each * n as u64;
                    target.download(&image, Some(from..from + each), size)
                })?,
            );
            if round == 0 {
                self.check(stage, &image, &source)?;
            }
            stage.delete(&image)?;
            times.add("upload, 8 at once", {
                let images = (0..AT_ONCE).map(|_| stage.create()).collect::<Result<Vec<_>>>()?;
                let took = at_once(AT_ONCE, |n| target.upload(&images[n], &part))?;
                images.iter().try_for_each(|image| stage.delete(image))?;
                took
            });
            times.add("upload by curl -T", curl(stage, &source)?);
        }
        times.print(self.mib, table);
        let (_, most) = memory(pid)?;
        println!("  {:<40} {before:>10.1} MiB before, {most:.1} MiB at most during", "memory");
        table.0.insert("memory_mib".into(), json!({"before": before, "most": most, "more": most - before}));
        Ok(())
    }

    /// What was stored is what was sent.
    fn check(&self, stage: &ImageStage, image: &str, source: &Path) -> Result<()> {
        let done = Command::new("sha512sum").arg(source).output()?;
        let text = String::from_utf8_lossy(&done.stdout);
        let expected = text.split(' ').next().unwrap_or_default();
        let shown = stage.show(image)?;
        ensure!(shown["os_hash_value"] == expected && !expected.is_empty(), "another hash: {shown}");
        Ok(())
    }

    fn lists(&self, stage: &ImageStage, count: u32, table: &mut Table) -> Result<()> {
        let time = Duration::from_secs(self.seconds);
        // Newest first: the last page ends with number 1.
        let marker = |back: u32| id(back.min(count));
        for (name, path) in [
            ("first page", "/v2/images".to_owned()),
            ("last page", format!("/v2/images?marker={}", marker(26))),
            ("limit=1000", "/v2/images?limit=1000".to_owned()),
            ("limit=1000, last page", format!("/v2/images?limit=1000&marker={}", marker(1001))),
            ("by name, from the end", "/v2/images?sort=name:desc&limit=25".to_owned()),
        ] {
            let requests = [request("GET", &path, &[("X-Auth-Token", &stage.token)], "")];
            let figure = load::run(stage.service(), 1, time, 200, &requests)?;
            table.figure(&format!("{count} images, {name}"), &figure);
        }
        Ok(())
    }
}

/// `size` as ranges of `each`.
fn pieces(size: u64, each: u64) -> Vec<Range<u64>> {
    (0..size.div_ceil(each)).map(|n| n * each..size.min((n + 1) * each)).collect()
}

fn write_random(path: &Path, size: u64) -> Result<()> {
    let mut file = std::fs::File::create(path)?;
    let random = std::fs::File::open("/dev/urandom")?;
    std::io::copy(&mut std::io::Read::take(random, size), &mut file)?;
    file.flush()?;
    // What is still to be written must not disturb the first round.
    file.sync_all()?;
    Ok(())
}

fn curl(stage: &ImageStage, source: &Path) -> Result<Duration> {
    let image = stage.create()?;
    let begun = std::time::Instant::now();
    let done = Command::new("curl")
        .args(["--silent", "--fail", "--noproxy", "*", "-H", "Content-Type: application/octet-stream", "-H"])
        .arg(format!("X-Auth-Token: {}", stage.token))
        .arg("-T")
        .arg(source)
        .arg(format!("http://{}/v2/images/{image}/file", stage.address))
        .status();
    let took = begun.elapsed();
    ensure!(done.context("curl")?.success(), "curl failed");
    stage.delete(&image)?;
    Ok(took)
}

/// Builds what is measured; the directory it is in.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let what = ["build", "--release", "-p", "ferrostack-identity", "-p", "ferrostack-image"];
    ensure!(Command::new(&cargo).args(what).status()?.success(), "cargo {} failed", what.join(" "));
    let target = std::env::var("CARGO_TARGET_DIR")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    Ok(target.join("release"))
}

/// Times of each kind, and processor time of the service.
#[derive(Default)]
struct Times(Vec<(&'static str, Vec<Duration>, Vec<u64>)>);

impl Times {
    fn of(&mut self, name: &'static str) -> &mut (&'static str, Vec<Duration>, Vec<u64>) {
        let at = self.0.iter().position(|(n, ..)| *n == name).unwrap_or_else(|| {
            self.0.push((name, Vec::new(), Vec::new()));
            self.0.len() - 1
        });
        &mut self.0[at]
    }
    fn add(&mut self, name: &'static str, took: Duration) {
        self.of(name).1.push(took);
    }
    fn cpu(&mut self, name: &'static str, microseconds: u64) {
        self.of(name).2.push(microseconds);
    }

    fn print(mut self, mib: u64, table: &mut Table) {
        let median = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        let rate = |time: Duration| mib as f64 / time.as_secs_f64();
        let limit = self.0.first_mut().map_or(Duration::MAX, |(_, times, _)| median(times));
        for (name, mut times, mut cpu) in self.0 {
            let middle = median(&mut times);
            let (best, worst) = (times[0], times[times.len() - 1]);
            cpu.sort_unstable();
            let cpu = cpu.get(cpu.len() / 2).map(|us| *us as f64 / 1e6);
            let share = rate(middle) / rate(limit);
            let shown = cpu.map_or_else(String::new, |s| format!("   {s:.2} s CPU"));
            println!(
                "  {name:<40} {:>10.1} MiB/s   {share:>5.2} of the limit   {:.1} to {:.1} MiB/s{shown}",
                rate(middle),
                rate(worst),
                rate(best)
            );
            table.0.insert(
                name.into(),
                json!({"mib_s": rate(middle), "of_limit": share, "worst": rate(worst), "best": rate(best), "cpu_s": cpu}),
            );
        }
    }
}

#[derive(Default)]
struct Table(Map<String, Value>);

impl Table {
    fn figure(&mut self, name: &str, figure: &Figure) {
        println!(
            "  {name:<40} {:>10.1}/s   p50 {:>8.3} ms   p99 {:>8.3} ms   {:>8.1} us CPU",
            figure.per_second, figure.p50_ms, figure.p99_ms, figure.cpu_us
        );
        self.0.insert(name.into(), json!(figure));
    }
}
