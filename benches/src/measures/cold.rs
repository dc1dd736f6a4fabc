//! The first hand-out of a new sandbox of 128 MB, which has 7.2 % of a processor; over TLS.

use std::path::{Path, PathBuf};

use crate::Failure;
use crate::callgrind::instructions;
use crate::measures::start::{median, milliseconds};
use crate::programs::{ON_DEFAULTS, text};
use crate::report::{Row, count};
use crate::runtime_api::{Function, Launch};
use crate::world::{Way, World};

/// The share of a processor: so many microseconds of each period.
const QUOTA: u32 = 1440;
/// A period.
const PERIOD: u32 = 20_000;
/// How often each program is started; they take turns.
const TIMES: usize = 5;
/// Where programs look for trusted roots.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What the first hand-out may take of what it takes on defaults.
const RATIO: f64 = 0.15;

/// Measures.
pub async fn measure(world: &World) -> Result<Vec<Row>, Failure> {
    let id = world.authorize(true).await?;
    let event = world.hand_out(&id)?;
    let ours = world.launch(&text("token"), "token", Way::Tls);
    let theirs = world.launch(&text(ON_DEFAULTS), "token", Way::Tls);
    let mut rows = Vec::new();

    let (ours_counted, theirs_counted) = (trusting(world, &ours, None)?, trusting(world, &theirs, None)?);
    let (ours_idle, theirs_idle) = (instructions(&ours_counted, &event, 0).await?, instructions(&theirs_counted, &event, 0).await?);
    let idle = world.tls.take().handshakes;
    let ours_whole = instructions(&ours_counted, &event, 1).await?;
    let opened = world.tls.take().handshakes;
    let theirs_whole = instructions(&theirs_counted, &event, 1).await?;
    rows.push(Row::ratio("from the start to the first hand-out, over TLS", "instructions", ours_whole, theirs_whole, RATIO));
    rows.push(Row::told("of these, up to the first request for an event", "instructions", ours_idle, Some(theirs_idle)));
    rows.push(Row::told(
        "of these, from the event to the answer",
        "instructions",
        ours_whole - ours_idle,
        Some(theirs_whole - theirs_idle),
    ));
    rows.push(Row::told(
        "TLS connections of both starts; of our start with the first hand-out",
        "connections",
        count(idle),
        Some(count(opened)),
    ));

    let Some(quota) = Quota::new() else {
        rows.push(Row::told("a CPU quota cannot be set here: the first hand-out is not timed", "", f64::NAN, None));
        return Ok(rows);
    };
    let launches = [trusting(world, &ours, Some(&quota))?, trusting(world, &theirs, Some(&quota))?];
    let (mut whole, mut invoked) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..TIMES {
        for (at, launch) in launches.iter().enumerate() {
            let mut function = Function::start(launch).await?;
            let answer = function.invoke(&event).await?;
            answer.body(200)?;
            let all = answer.at - function.began();
            whole[at].push(all);
            invoked[at].push(all.saturating_sub(function.started_in()));
            function.stop().await?;
        }
    }
    let [ours, theirs] = whole.map(|times| milliseconds(median(times)));
    rows.push(Row::ratio("from the start to the first hand-out at 7.2 % of a processor", "ms", ours, theirs, RATIO));
    let [ours, theirs] = invoked.map(|times| milliseconds(median(times)));
    rows.push(Row::told("of these, from the event to the answer", "ms", ours, Some(theirs)));
    Ok(rows)
}

/// The same launch where the stand-in's authority is trusted beside the system's, and perhaps under a quota. Both are the system's
/// own means (a mount namespace, a control group), as the functions take no such wish from their environment.
pub fn trusting(world: &World, launch: &Launch, quota: Option<&Quota>) -> Result<Launch, Failure> {
    let bundle = std::env::current_dir()?.join("target/budgets-roots.pem");
    let system = std::fs::read_to_string(ROOTS)?;
    std::fs::write(&bundle, format!("{system}\n{}", world.authority.pem))?;
    let mount = format!("mount --bind '{}' {ROOTS}", bundle.display());
    let join = quota.map(|quota| format!("\necho $$ > {}/cgroup.procs", quota.group.display())).unwrap_or_default();
    let user = if is_root() { "-m" } else { "-rm" };
    Ok(Launch { before: mount + &join, within: vec!["unshare".to_owned(), user.to_owned()], ..launch.clone() })
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t")))
}

/// A control group with a CPU quota.
pub struct Quota {
    group: PathBuf,
}

impl Quota {
    /// A group of its own, if this machine lets us make one: control groups of version 2, or else of version 1.
    fn new() -> Option<Self> {
        let name = format!("mandate-budgets-{}", std::process::id());
        let of = |root: &str| {
            let quota = Self { group: Path::new(root).join(&name) };
            std::fs::create_dir(&quota.group).ok().map(|()| quota)
        };
        if std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|has| has.split(' ').any(|one| one.trim() == "cpu")) {
            let quota = of("/sys/fs/cgroup")?;
            std::fs::write(quota.group.join("cpu.max"), format!("{QUOTA} {PERIOD}")).ok()?;
            return Some(quota);
        }
        // A folder of this name that is no control group has no such file, and would be given one.
        if !Path::new("/sys/fs/cgroup/cpu/cgroup.procs").exists() {
            return None;
        }
        let quota = of("/sys/fs/cgroup/cpu")?;
        std::fs::write(quota.group.join("cpu.cfs_period_us"), PERIOD.to_string()).ok()?;
        std::fs::write(quota.group.join("cpu.cfs_quota_us"), QUOTA.to_string()).ok()?;
        Some(quota)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // It goes as soon as nothing runs in it any more; an empty group that stays costs nothing.
        let _ = std::fs::remove_dir(&self.group);
    }
}
