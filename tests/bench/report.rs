//! The figures as a person reads them: one row for each size, goals beside figures, and what was missed.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use crate::{
    audit::Request,
    bound::{Run, Sample},
    settings::Settings,
    system::Memory,
};

/// Time to all patched, in times of the bound, up to a size: what has to be read first shows most where little is patched.
const RATIO: [(usize, f64); 2] = [(100, 1.5), (usize::MAX, 1.2)];
/// How long one change takes at a size, in times of what it takes at the smallest.
const GROWTH: f64 = 1.5;
/// Resident memory in MiB, by size.
const MEMORY: [(usize, f64); 2] = [(1_000, 40.0), (10_000, 64.0)];

/// One round of the system under test.
pub struct Round {
    /// From the manifest to the last patch.
    pub seconds: f64,
    pub requests: Vec<Request>,
    /// At rest before the manifest was there: all Deployments listed, none patched.
    pub listed: Memory,
    /// At rest afterwards.
    pub memory: Memory,
    /// What API server and etcd have spent, in seconds.
    pub server_cpu: f64,
    /// What the system itself has spent.
    pub cpu: f64,
}

/// Everything at one size.
pub struct Row {
    pub size: usize,
    /// The runs of the lower bound by requests in flight.
    pub bounds: BTreeMap<usize, Vec<Run>>,
    pub rounds: Vec<Round>,
    /// Seconds until it was at rest, what it asked for, and its memory.
    pub restart: (f64, Vec<Request>, Memory),
    /// Seconds that one Deployment takes.
    pub probes: Vec<f64>,
}

impl Row {
    pub fn new(size: usize) -> Self {
        Self { size, bounds: BTreeMap::new(), rounds: Vec::new(), restart: Default::default(), probes: Vec::new() }
    }

    /// The best number in flight, and its seconds.
    pub fn bound(&self) -> Option<(usize, f64)> {
        let medians = self.bounds.iter().map(|(in_flight, runs)| (*in_flight, median(runs.iter().map(|run| run.seconds))));
        medians.min_by(|one, other| one.1.total_cmp(&other.1))
    }

    fn seconds(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.seconds))
    }

    fn ratio(&self) -> f64 {
        self.seconds() / self.bound().map_or(f64::NAN, |(_, seconds)| seconds)
    }

    fn writes(&self) -> usize {
        self.rounds.iter().map(|round| count(&round.requests, is_write)).max().unwrap_or_default()
    }

    fn reads(&self) -> usize {
        self.rounds.iter().map(|round| count(&round.requests, Request::is_read)).max().unwrap_or_default()
    }

    /// How often the same kind is read in the same namespace, at most.
    fn repeated_reads(&self) -> usize {
        let repeated = self.rounds.iter().map(|round| {
            let mut reads: BTreeMap<(&str, &str), usize> = BTreeMap::new();
            for request in round.requests.iter().filter(|request| request.is_read()) {
                *reads.entry((&request.resource, &request.namespace)).or_default() += 1;
            }
            reads.into_values().max().unwrap_or_default()
        });
        repeated.max().unwrap_or_default()
    }

    /// Writes that came too late, and had to be made again.
    fn conflicts(&self) -> usize {
        let all = self.rounds.iter().map(|round| count(&round.requests, |request| request.code == 409));
        all.max().unwrap_or_default()
    }

    fn own_cpu(&self) -> f64 {
        self.each(median(self.rounds.iter().map(|round| round.cpu)))
    }

    /// The most that any process of the system has had.
    fn peak(&self) -> f64 {
        self.rounds.iter().map(|round| round.memory.peak).fold(self.restart.2.peak, f64::max)
    }

    fn idle(&self) -> f64 {
        self.rounds.iter().map(|round| round.memory.now).fold(self.restart.2.now, f64::max)
    }

    fn ratio_goal(&self) -> f64 {
        RATIO.iter().find(|(size, _)| self.size <= *size).unwrap_or(&RATIO[1]).1
    }

    fn memory_goal(&self) -> f64 {
        MEMORY.iter().find(|(size, _)| self.size <= *size).unwrap_or(&MEMORY[1]).1
    }

    /// Milliseconds for each target.
    fn each(&self, seconds: f64) -> f64 {
        seconds * 1000.0 / precise(self.size)
    }
}

fn is_write(request: &Request) -> bool {
    request.resource == "deployments" && !request.is_read()
}

fn count(requests: &[Request], of: impl Fn(&Request) -> bool) -> usize {
    requests.iter().filter(|request| of(request)).count()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (lower, upper) = (values.get(values.len().saturating_sub(1) / 2), values.get(values.len() / 2));
    lower.zip(upper).map_or(f64::NAN, |(lower, upper)| f64::midpoint(*lower, *upper))
}

/// Counts are far below what a float can hold.
#[allow(clippy::cast_precision_loss)]
const fn precise(count: usize) -> f64 {
    count as f64
}

/// Requests by verb and resource, the most frequent first.
fn kinds(requests: &[Request]) -> String {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for request in requests {
        let failed = if request.code < 300 { String::new() } else { format!(" ({})", request.code) };
        *kinds.entry(format!("{} {}{failed}", request.verb, request.resource)).or_default() += 1;
    }
    let mut kinds: Vec<(usize, String)> = kinds.into_iter().map(|(kind, count)| (count, kind)).collect();
    kinds.sort_by(|one, other| other.cmp(one));
    let kinds: Vec<String> = kinds.into_iter().map(|(count, kind)| format!("{count} {kind}")).collect();
    kinds.join(", ")
}

pub struct Report {
    rounds: usize,
    patch: usize,
    start: String,
    pub rows: Vec<Row>,
}

impl Report {
    pub fn new(settings: &Settings, sample: &Sample) -> Self {
        let start = settings.start.rsplit('/').next().unwrap_or_default().to_owned();
        Self { rounds: settings.rounds, patch: sample.size(), start, rows: Vec::new() }
    }

    /// How much longer one change takes than at the smallest size.
    fn growth(&self, row: &Row) -> f64 {
        let first = self.rows.first().unwrap_or(row);
        median(row.probes.iter().copied()) / median(first.probes.iter().copied())
    }

    /// What has been counted and must never be, however slow the machine is.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for row in &self.rows {
            let again = count(&row.restart.1, is_write);
            if row.writes() > row.size {
                wrong.push(format!("N={}: {} writes", row.size, row.writes()));
            }
            if again > 0 {
                wrong.push(format!("N={}: {again} writes after a restart", row.size));
            }
        }
        wrong
    }

    fn missed(&self) -> Vec<String> {
        let mut missed = self.wrong();
        for row in &self.rows {
            let mut goal = |met: bool, what: String| {
                if !met {
                    missed.push(format!("N={}: {what}", row.size));
                }
            };
            goal(row.ratio() <= row.ratio_goal(), format!("{:.2} times the bound, not {}", row.ratio(), row.ratio_goal()));
            let repeated = row.repeated_reads();
            goal(repeated <= 1, format!("one kind is read {repeated} times in a namespace, not once"));
            goal(row.conflicts() == 0, format!("{} answers 409", row.conflicts()));
            let growth = self.growth(row);
            goal(growth <= GROWTH, format!("one change takes {growth:.2} times as long as at N={}", self.rows[0].size));
            goal(row.peak() <= row.memory_goal(), format!("{:.0} MiB at the peak, not {}", row.peak(), row.memory_goal()));
        }
        missed
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let Self { rounds, patch, start, rows } = self;
        writeln!(f, "{start}: {cores} cores, medians of {rounds}, a patch of {patch} bytes, zero replicas; goals in [ ]")?;
        if cfg!(debug_assertions) {
            writeln!(f, "Not optimized: shows that the benchmark works; its figures mean nothing.")?;
        }

        writeln!(f, "\nFrom the LogSidecar until the last of N Deployments is patched, and what that takes")?;
        writeln!(
            f,
            "       N  system s  bound s  ratio [<= {}, {}]  writes a target [1]  reads [1 a kind]  409 answers [0]  own CPU ms a patch  peak MiB  restart until at rest s",
            RATIO[0].1, RATIO[1].1
        )?;
        for row in rows {
            writeln!(
                f,
                "{:8} {:9.2} {:8.2} {:19.2} {:20.3} {:17} {:16} {:19.2} {:9.1} {:24.2}",
                row.size,
                row.seconds(),
                row.bound().unwrap_or_default().1,
                row.ratio(),
                precise(row.writes()) / precise(row.size),
                row.reads(),
                row.conflicts(),
                row.own_cpu(),
                row.peak(),
                row.restart.0,
            )?;
        }

        writeln!(f, "\nThe best number of requests in flight for the bound, and the processor time of API server and etcd")?;
        writeln!(f, "       N  in flight   server CPU ms a patch: system, bound")?;
        for row in rows {
            let (in_flight, _) = row.bound().unwrap_or_default();
            let server = row.each(median(row.rounds.iter().map(|round| round.server_cpu)));
            let runs = row.bounds.get(&in_flight).map(Vec::as_slice).unwrap_or_default();
            let server_bound = row.each(median(runs.iter().map(|run| run.server_cpu)));
            writeln!(f, "{:8} {in_flight:10} {server:31.2} {server_bound:7.2}", row.size)?;
        }

        for row in rows.iter().filter(|row| row.bounds.len() > 1) {
            let curve = row
                .bounds
                .iter()
                .map(|(in_flight, runs)| format!("{in_flight}: {:.2}", median(runs.iter().map(|run| run.seconds))));
            writeln!(f, "The bound at N={} by requests in flight: {}", row.size, curve.collect::<Vec<_>>().join(", "))?;
        }

        writeln!(f, "\nRequests until at rest; above, writes are to Deployments, and reads of anything")?;
        for row in rows {
            let most = row.rounds.iter().max_by_key(|round| round.requests.len());
            let all = most.map(|round| kinds(&round.requests)).unwrap_or_default();
            writeln!(f, "{:8}   {all}", row.size)?;
        }

        writeln!(f, "\nAfter a restart, until at rest")?;
        writeln!(f, "       N   writes [0]   seconds   all requests")?;
        for row in rows {
            let (seconds, requests, _) = &row.restart;
            writeln!(f, "{:8} {:12} {seconds:9.2}   {}", row.size, count(requests, is_write), kinds(requests))?;
        }

        writeln!(f, "\nOne Deployment more: milliseconds from the answer to its creation until a watch shows the patch")?;
        writeln!(f, "       N   median   worst   ratio to the first [<= {GROWTH}]")?;
        for row in rows {
            let worst = row.probes.iter().copied().fold(0.0, f64::max);
            let middle = median(row.probes.iter().copied());
            writeln!(f, "{:8} {:8.1} {:7.1} {:12.2}", row.size, middle * 1e3, worst * 1e3, self.growth(row))?;
        }

        writeln!(f, "\nResident memory of the system, MiB")?;
        writeln!(f, "       N   peak [goal]   idle   of the peak, listing   after a restart: peak, idle")?;
        for row in rows {
            let listed = row.rounds.iter().map(|round| round.listed.peak).fold(0.0, f64::max);
            let (_, _, restart) = &row.restart;
            writeln!(
                f,
                "{:8} {:6.1} [{:4}] {:6.1} {listed:22.1} {:23.1} {:6.1}",
                row.size,
                row.peak(),
                row.memory_goal(),
                row.idle(),
                restart.peak,
                restart.now,
            )?;
        }

        let missed = self.missed();
        writeln!(
            f,
            "\n{}",
            if missed.is_empty() { "Every goal is met.".to_owned() } else { format!("Missed:\n  {}", missed.join("\n  ")) }
        )
    }
}
