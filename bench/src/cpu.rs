//! CPU time by the kernel's own accounting.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::failure::{Result, read};

/// The core of what is measured, and of nothing else that this program starts.
pub(crate) const MEASURED: usize = 0;
/// The core of everything else: generator, upstream, STS, Redis, PostgreSQL.
pub(crate) const OTHERS: usize = 1;

/// The unit of times in `/proc` (`USER_HZ`), the same on every Linux of our platforms.
const TICK: Duration = Duration::from_millis(10);

/// Keeps the calling thread, and all that it will start, on one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
        .map_err(|error| format!("core {core}: {error}; two cores are needed").into())
}

/// CPU time of the calling thread so far.
pub(crate) fn of_this_thread() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// CPU time of a process so far.
#[derive(Clone, Debug)]
pub(crate) struct ProcessCpu {
    /// Of each live thread, exact to the nanosecond.
    threads: BTreeMap<u32, Duration>,
    /// Of all threads, ended ones too, in ticks.
    whole: Duration,
}

impl ProcessCpu {
    /// Reads it.
    pub(crate) fn of(process: u32) -> Result<Self> {
        let mut threads = BTreeMap::new();
        for entry in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let entry = entry?;
            let id = entry.file_name().to_string_lossy().parse()?;
            // A thread that has ended in the meantime is in the ticks.
            if let Ok(text) = read(entry.path().join("schedstat")) {
                threads.insert(id, running_time(&text)?);
            }
        }
        let whole = ticks_of_process(&read(format!("/proc/{process}/stat"))?)?;
        Ok(Self { threads, whole })
    }

    /// What was used since an earlier reading: the threads' exact times, or the ticks where those tell clearly more,
    /// because a thread has ended.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let before = |id| earlier.threads.get(id).copied().unwrap_or_default();
        let exact: Duration = self
            .threads
            .iter()
            .map(|(id, time)| time.saturating_sub(before(id)))
            .sum();
        let coarse = self.whole.saturating_sub(earlier.whole);
        exact.max(coarse.saturating_sub(2 * TICK))
    }
}

/// `/proc/<pid>/task/<tid>/schedstat`: time on a core in nanoseconds, time waiting for one, time slices.
fn running_time(text: &str) -> Result<Duration> {
    let first = text.split_ascii_whitespace().next().ok_or("an empty schedstat")?;
    Ok(Duration::from_nanos(first.parse()?))
}

/// `/proc/<pid>/stat`: fields 14 and 15, user and system time. The second field, the name in parentheses, may hold
/// anything.
fn ticks_of_process(text: &str) -> Result<Duration> {
    let (_, after_name) = text.rsplit_once(')').ok_or("a stat without a name")?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = 0;
    for _ in 0..2 {
        ticks += fields.next().ok_or("a short stat")?.parse::<u32>()?;
    }
    Ok(ticks * TICK)
}

/// How long each core has worked and how long it has existed.
#[derive(Clone, Debug)]
pub(crate) struct Cores(BTreeMap<usize, Core>);

#[derive(Clone, Copy, Debug, Default)]
struct Core {
    busy: u64,
    all: u64,
}

impl Cores {
    /// Reads them.
    pub(crate) fn now() -> Result<Self> {
        Ok(Self::parse(&read("/proc/stat")?))
    }

    /// The lines `cpuN user nice system idle iowait irq softirq steal ..`. Guest time is part of user time.
    fn parse(text: &str) -> Self {
        let core = |line: &str| {
            let mut fields = line.strip_prefix("cpu")?.split_ascii_whitespace();
            let number = fields.next()?.parse().ok()?;
            let mut core = Core::default();
            for (at, field) in fields.take(8).enumerate() {
                let ticks: u64 = field.parse().ok()?;
                core.all += ticks;
                if at != 3 && at != 4 {
                    core.busy += ticks;
                }
            }
            Some((number, core))
        };
        // The first line, `cpu `, is the sum.
        let lines = text.lines().filter(|line| !line.starts_with("cpu "));
        Self(lines.filter_map(core).collect())
    }

    /// The share of the time since an earlier reading in which a core worked, for anybody.
    pub(crate) fn busy_since(&self, earlier: &Self, core: usize) -> f64 {
        let (now, then) = (self.core(core), earlier.core(core));
        let all = now.all.saturating_sub(then.all).max(1);
        now.busy.saturating_sub(then.busy) as f64 / all as f64
    }

    fn core(&self, core: usize) -> Core {
        self.0.get(&core).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_begins_with_nanoseconds_on_a_core() {
        assert_eq!(running_time("12345 6 7\n").unwrap(), Duration::from_nanos(12345));
        assert!(running_time("").is_err());
    }

    #[test]
    fn stat_sums_user_and_system_time_behind_any_name() {
        let text = "8175 (a ) R 1) R 2 8171 6478 0 -1 4194304 101 0 0 0 30 12 0 0 20 0 1 0 343404";
        assert_eq!(ticks_of_process(text).unwrap(), Duration::from_millis(420));
        assert!(ticks_of_process("1 (a) R 2 3").is_err());
    }

    fn cpu(threads: &[(u32, u64)], whole_ms: u64) -> ProcessCpu {
        let threads = threads.iter().map(|(id, ms)| (*id, Duration::from_millis(*ms)));
        ProcessCpu {
            threads: threads.collect(),
            whole: Duration::from_millis(whole_ms),
        }
    }

    #[test]
    fn used_time_counts_new_threads_and_the_ticks_of_ended_ones() {
        let before = cpu(&[(1, 100), (2, 50)], 150);
        for (after, expect) in [
            (cpu(&[(1, 103), (2, 54)], 160), 7),
            (cpu(&[(1, 103), (2, 50), (3, 9)], 160), 12),
            (cpu(&[(1, 103)], 850), 680),
        ] {
            assert_eq!(after.since(&before), Duration::from_millis(expect), "{after:?}");
        }
    }

    #[test]
    fn cores_tell_work_from_idleness() {
        let before =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 0 10 100 5 0 1 0 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\nintr 5\n";
        let after = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 40 0 25 140 10 0 6 5 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\n";
        let (before, after) = (Cores::parse(before), Cores::parse(after));
        assert!((after.busy_since(&before, 0) - 0.55).abs() < 1e-9);
        assert!(after.busy_since(&before, 1).abs() < 1e-9);
        assert!(after.busy_since(&before, 7).abs() < 1e-9);
    }

    #[test]
    fn a_process_can_be_read() {
        let cpu = ProcessCpu::of(std::process::id()).unwrap();
        assert!(!cpu.threads.is_empty());
    }
}
